"""Which URLs this project fetches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc3986_uri import is_https_url


@pytest.mark.parametrize("url", ["https://as.example", "https://[::1]:8443/a?b=c", "https://localhost:1/", "HTTPS://a"])
def test_https_urls(url: str) -> None:
    assert is_https_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "https://", "https:///path", "https:as.example", "http://as.example", "ftp://as.example", "as.example",
        "https://user@as.example", "https://user:pw@as.example", "https://as.example#", "https://as.example/#f",
        "https://as.example:0", "https://as.example:99999", "https://as.example:x", "https://[::1",
        " https://as.example",
        "https://as.example/ ", "https://as.\nexample", "https://é.example", "https://a/" + "a" * 2048, None, 1,
        b"https://a",
    ],
)  # fmt: skip
def test_others_are_not(url: object) -> None:
    """Other schemes, no host, user information, fragments, white space, absurd ports and lengths."""
    assert not is_https_url(url)


@given(st.text(max_size=30).map("https://".__add__) | st.text(max_size=30))
def test_never_raises(url: str) -> None:
    assert is_https_url(url) in {True, False}
