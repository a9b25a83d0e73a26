"""Base64url has one spelling for each value."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64, decode_base64url, encode_base64url


@given(st.binary(max_size=100))
def test_round_trip(data: bytes) -> None:
    """What is encoded is decoded, from text and from bytes."""
    text = encode_base64url(data)
    assert decode_base64url(text) == decode_base64url(text.encode()) == data


@pytest.mark.parametrize(
    "text", ["A", "AB=", "AA==", "AB", "AAB", "AA A", "AA\n", "+/AA", "AAé", "AAAAA", "....", "٣٣٣٣"]
)
def test_refuses_every_other_spelling(text: str) -> None:
    """Padding, white space, the other alphabet, unused bits and impossible lengths (RFC 4648 §3.5)."""
    with pytest.raises(Base64URLError):
        decode_base64url(text)


@given(st.text(max_size=20) | st.binary(max_size=20))
def test_accepts_only_what_it_would_write(text: str | bytes) -> None:
    """Whatever is decoded encodes to the same text; all else is `Base64URLError`."""
    try:
        data = decode_base64url(text)
    except Base64URLError:
        return
    assert encode_base64url(data) == (text if isinstance(text, str) else text.decode())


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert decode_base64(b64encode(data)) == data


@pytest.mark.parametrize("text", ["A", "AA", "AB==", "AA=", "AA===", "AAA==", "AA==\n", "AA==AA==", "-_AA", "é", "="])
def test_base64_refuses_every_other_spelling(text: str) -> None:
    """Missing and excess padding, white space, the other alphabet, unused bits."""
    with pytest.raises(Base64URLError):
        decode_base64(text)
