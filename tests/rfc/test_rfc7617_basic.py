"""Basic credentials: the vectors of RFC 7617 and RFC 6749, and what is refused."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7617_basic import BasicCredentials, BasicError, parse_basic


def basic(pair: bytes | str) -> str:
    """A header of these octets."""
    octets = pair.encode() if isinstance(pair, str) else pair
    return "Basic " + base64.b64encode(octets).decode()


@pytest.mark.parametrize(
    ("header", "client_id", "secret"),
    [
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),  # RFC 7617 §2
        ("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW", "s6BhdRkqt3", "gX1fBat3bV"),  # RFC 6749 §2.3.1
        ("bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ== ", "Aladdin", "open sesame"),
        (basic("a:b:c"), "a", "b:c"),
        (basic("https%3A%2F%2Fc.example%2Fa%2Bb:%3A"), "https://c.example/a+b", ":"),
        (basic("a+b:c+d%20e"), "a b", "c d e"),
        (basic("%C3%A9:%e2%82%ac"), "é", "€"),
        (basic("é:€"), "é", "€"),
    ],
)
def test_name_and_secret_are_form_values(header: str, client_id: str, secret: str) -> None:
    """RFC 6749 §2.3.1 and appendix B: `+` and percent-encoding within the pair."""
    assert parse_basic(header) == BasicCredentials(client_id=client_id, client_secret=secret)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        "Basic QWxh ZGRpbjpvcGVuIHNlc2FtZQ==",
        "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        basic("nocolon"),
        basic(":secret"),
        basic("name:"),
        basic("a%:b"),
        basic("a:%zz"),
        basic("a:%4"),
        basic(b"a:\xff"),
        basic("a:%FF"),
        basic("a%00:b"),
        basic("a:" + "b" * 4_000),
        "Basic QQ==\u00e9",
    ],
)
def test_what_is_no_pair_is_an_error(header: str) -> None:
    with pytest.raises(BasicError):
        parse_basic(header)


def test_the_secret_is_not_shown() -> None:
    """Neither in a representation nor in an error."""
    assert "sesame" not in repr(parse_basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="))


@given(st.text() | st.binary(max_size=60).map(basic))
def test_no_header_raises_anything_else(header: str) -> None:
    with contextlib.suppress(BasicError):
        parse_basic(header)
