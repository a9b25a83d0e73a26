"""How requests carry tokens, and challenges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc6750_bearer import BearerError, MalformedBearerRequest, bearer_token, challenge


@pytest.mark.parametrize("value", [b"Bearer a.b-c_d~+/9==", b"bearer a.b-c_d~+/9==", b"BEARER   a.b-c_d~+/9== "])
def test_token_of_the_header(value: bytes) -> None:
    """The scheme's name is case-insensitive (RFC 9110 §11.1), its value a b64token (RFC 6750 §2.1)."""
    assert bearer_token([value], b"page=1&scope=access_token") == "a.b-c_d~+/9=="


@pytest.mark.parametrize("values", [[], [b""], [b"Basic YTpi"], [b"DPoP abc"], [b"Bearerx y"], [b"bear"]])
def test_no_token(values: list[bytes]) -> None:
    """Without the scheme there is no token, and nothing to complain about (RFC 6750 §3.1)."""
    assert bearer_token(values, b"") is None


@pytest.mark.parametrize(
    "values",
    [
        [b"Bearer"], [b"Bearer "], [b"Bearer a b"], [b"Bearer a, Bearer b"], [b"Bearer a,b"], [b"Bearer\ta"],
        [b"Bearer =a"], [b"Bearer \xe9"], [b"Bearer a\nb"], [b"bearer,"], [b"Bearer a", b"Bearer a"],
        [b"Basic a", b"Bearer b"],
    ],
)  # fmt: skip
def test_malformed_header(values: list[bytes]) -> None:
    """No token, several, one with foreign characters, a repeated header: `invalid_request` (RFC 6750 §3.1)."""
    with pytest.raises(MalformedBearerRequest):
        bearer_token(values, b"")


@pytest.mark.parametrize("query", [b"access_token=a", b"x=1&access_token", b"access%5Ftoken=a", b"%61ccess_token=a&"])
@pytest.mark.parametrize("values", [[], [b"Bearer a"]])
def test_token_in_the_query(query: bytes, values: list[bytes]) -> None:
    """Never accepted, alone or beside the header, however it is spelt (RFC 6750 §2.3, §3.1; RFC 9700 §4.3.2)."""
    with pytest.raises(MalformedBearerRequest, match="query"):
        bearer_token(values, query)


@given(
    st.lists(st.binary(max_size=30) | st.binary(max_size=20).map(b"Bearer ".__add__), max_size=3),
    st.binary(max_size=30),
)
def test_only_its_error_escapes(values: list[bytes], query: bytes) -> None:
    try:
        token = bearer_token(values, query)
    except MalformedBearerRequest:
        return
    assert token is None or (token.isascii() and " " not in token)


def test_challenges() -> None:
    """RFC 6750 §3: the bare challenge, and one with all attributes."""
    assert challenge() == "Bearer"
    assert (
        challenge(error=BearerError.INSUFFICIENT_SCOPE, description="No.", scope=["a", "b"])
        == 'Bearer error="insufficient_scope", error_description="No.", scope="a b"'
    )


@pytest.mark.parametrize("text", ['"', "\\", "\n", "é", "\0"])
def test_challenges_cannot_be_broken_out_of(text: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        challenge(description=text)
