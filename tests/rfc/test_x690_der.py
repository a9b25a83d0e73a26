"""The DER reader takes what X.690 §10 and §11 allow, and nothing that only BER does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc import x690_der as der
from tests.authority import encode_oid, tlv


def test_reads_elements_that_fill_the_input() -> None:
    """Tag, content and whole encoding of each element, in order."""
    first, second = der.read_elements(b"\x02\x01\x05\x04\x02ab", limit=2)
    assert (first.tag, first.content, first.encoding) == (0x02, b"\x05", b"\x02\x01\x05")
    assert (second.tag, second.content) == (0x04, b"ab")


def test_reads_long_lengths() -> None:
    """Lengths of 128 and more take the long form."""
    assert der.read_element(tlv(0x04, b"x" * 70_000)).content == b"x" * 70_000


@pytest.mark.parametrize(
    "encoding",
    [
        b"",
        b"\x04",
        b"\x04\x02a",
        b"\x04\x01ab",
        b"\x04\x80ab\x00\x00",
        b"\x04\x81\x01a",
        b"\x04\x82\x00\x81" + b"a" * 129,
        b"\x04\x81",
        b"\x04\x85\x00\x00\x00\x00\x01a",
        b"\x1f\x81\x01\x00",
        b"\x04\xff" + b"a" * 127,
    ],
    ids=str,
)
def test_refuses_what_is_not_one_der_element(encoding: bytes) -> None:
    """Indefinite, padded and cut-off lengths, high tags and trailing bytes are errors (X.690 §10.1)."""
    with pytest.raises(der.DERError):
        der.read_element(encoding)


def test_counts_elements() -> None:
    """A limit holds before the elements are kept."""
    with pytest.raises(der.DERError, match="more than 3"):
        der.read_elements(b"\x05\x00" * 4, limit=3)


@pytest.mark.parametrize("dotted", ["2.5.4.3", "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25", "2.999.1", "0.0"])
def test_object_identifiers_are_read_and_known_by_their_form(dotted: str) -> None:
    """Dotted and encoded form stand for each other (X.690 §8.19)."""
    assert der.read_object_identifier(der.read_element(encode_oid(dotted))) == dotted
    assert der.is_object_identifier(dotted)


@pytest.mark.parametrize(
    "text", ["", "1", "3.1", "1.40", "01.2", "1.2.", "1.02", "1.2.a", "1.2." + "9" * 41, "\u0661.2"]
)
def test_other_texts_are_no_object_identifiers(text: str) -> None:
    """Leading zeros, arcs out of range and other digits are not in the canonical form."""
    assert not der.is_object_identifier(text)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x01", b"\x55\x80\x01", b"\x55\x84", b"\x55" + b"\xff" * 20 + b"\x7f", b"\x55" * 129],
    ids=["empty", "padded", "padded arc", "cut off", "absurd arc", "too long"],
)
def test_absurd_object_identifiers_are_refused(content: bytes) -> None:
    """An arc of thousands of digits costs nothing, since it is never converted."""
    with pytest.raises(der.DERError):
        der.read_object_identifier(der.read_element(tlv(0x06, content)))


@pytest.mark.parametrize(("content", "value"), [(b"\x00", 0), (b"\x7f", 127), (b"\x00\x80", 128), (b"\xff", -1)])
def test_integers(content: bytes, value: int) -> None:
    """Two's complement (X.690 §8.3)."""
    assert der.read_integer(der.read_element(tlv(0x02, content))) == value


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\xff\x80"])
def test_padded_integers_are_refused(content: bytes) -> None:
    """The shortest form is the only one (X.690 §8.3.2)."""
    with pytest.raises(der.DERError):
        der.read_integer(der.read_element(tlv(0x02, content)))


def test_booleans() -> None:
    """00 and ff, and no other octet (X.690 §11.1)."""
    assert der.read_boolean(der.read_element(b"\x01\x01\xff")) is True
    assert der.read_boolean(der.read_element(b"\x01\x01\x00")) is False
    with pytest.raises(der.DERError):
        der.read_boolean(der.read_element(b"\x01\x01\x01"))


def test_named_bits() -> None:
    """Bit 0 is the most significant of the first octet (X.690 §8.6.2)."""
    assert der.read_named_bits(der.read_element(b"\x03\x02\x05\xa0"), limit=2) == {0, 2}
    assert der.read_named_bits(der.read_element(b"\x03\x03\x07\x00\x80"), limit=2) == {8}
    assert der.read_named_bits(der.read_element(b"\x03\x01\x00"), limit=2) == frozenset()


@pytest.mark.parametrize("content", [b"", b"\x08\x00", b"\x01", b"\x01\x01", b"\x00abc"])
def test_malformed_bit_strings_are_refused(content: bytes) -> None:
    """Unused bits are at most seven and zero (X.690 §11.2.1); long strings are not read."""
    with pytest.raises(der.DERError):
        der.read_named_bits(der.read_element(tlv(0x03, content)), limit=2)


@given(st.binary(max_size=64))
def test_hostile_bytes_raise_the_one_error(data: bytes) -> None:
    """Whatever comes in: elements that add up to the input, or `DERError`."""
    try:
        elements = der.read_elements(data, limit=8)
    except der.DERError:
        return
    assert b"".join(element.encoding for element in elements) == data
    for element in elements:
        for read in (der.read_object_identifier, der.read_integer, der.read_boolean):
            try:
                read(element)
            except der.DERError:
                continue
