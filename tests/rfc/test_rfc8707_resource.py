"""RFC 8707 §2: a resource identifier is an absolute URI without fragment."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc8707_resource import ResourceError, parse_resource


@pytest.mark.parametrize(
    "text",
    [
        "https://api.example",
        "https://api.example:8445/v1?tenant=a%20b",
        "http://[::1]:8080/",
        "urn:example:reports",
        "HTTPS://api.example/",
    ],
)
def test_an_absolute_uri_is_taken_as_it_is(text: str) -> None:
    """Nothing is normalised, so that no two readers disagree."""
    assert parse_resource(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://api.example/#part", "fragment"),
        ("https://api.example#", "fragment"),
        ("/reports", "absolute"),
        ("api.example/reports", "absolute"),
        ("", "absolute"),
        ("https:", "absolute"),
        ("https://api.example/ä", "absolute"),
        ("https://api.example/a b", "absolute"),
        ("https://api.example/%zz", "absolute"),
        ("https://api.example/\n", "absolute"),
        ("https:///reports", "host"),
        ("https://:8443/reports", "host"),
        ("https:reports", "host"),
        ("https://user@api.example", "user"),
        ("https://api.example/" + "a" * 2048, "2048"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text: str, reason: str) -> None:
    """The message says what is wrong, and does not quote the text."""
    with pytest.raises(ResourceError, match=reason):
        parse_resource(text)


@given(st.text() | st.from_regex(r"https?:[/a-z@:#\[\]%0-9]*", fullmatch=True))
def test_no_text_raises_anything_else(text: str) -> None:
    """A parser of hostile input raises its own error alone."""
    with contextlib.suppress(ResourceError):
        assert parse_resource(text) == text
