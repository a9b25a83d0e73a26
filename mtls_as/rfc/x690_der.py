"""ITU-T X.690, DER: the one reader of encodings that somebody else made.

It reads what names and certificate extensions need, flat: no recursion, so depth costs nothing. Everything that BER
allows and DER does not (indefinite or padded lengths, trailing bytes) is an error.
"""

import re
from dataclasses import dataclass
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
SEQUENCE: Final = 0x30
SET: Final = 0x31

# An arc of 128 bits is the largest in use (UUIDs, ITU-T X.667). The bounds keep the decimal form of hostile ones cheap.
_MAX_OID_BYTES: Final = 128
_MAX_ARC_BITS: Final = 133
_HIGH_TAG_NUMBER: Final = 0x1F
_DOTTED: Final = re.compile(r"(?:[01]\.[1-3]?[0-9]|2\.(?:0|[1-9][0-9]{0,39}))(?:\.(?:0|[1-9][0-9]{0,39})){0,62}")


class DERError(Exception):
    """The bytes are not the DER encoding of what was asked for."""


@dataclass(frozen=True, slots=True)
class Element:
    """One type-length-value triple."""

    tag: int
    """The identifier octet: class, constructed bit and number (X.690 §8.1.2)."""
    content: bytes
    encoding: bytes
    """The whole triple."""


def read_elements(data: bytes, *, limit: int) -> list[Element]:
    """Read the elements that fill `data` exactly, `limit` at most. Raises `DERError`."""
    elements: list[Element] = []
    position = 0
    while position < len(data):
        if len(elements) == limit:
            raise DERError(f"more than {limit} elements")
        start, end = _content_bounds(data, position)
        elements.append(Element(data[position], data[start:end], data[position:end]))
        position = end
    return elements


def read_element(data: bytes, tag: int | None = None) -> Element:
    """Read the single element that fills `data` exactly, of the given tag if one is given. Raises `DERError`."""
    elements = read_elements(data, limit=1)
    if not elements:
        raise DERError("an element is missing")
    return expect(elements[0], tag) if tag is not None else elements[0]


def read_sequence(data: bytes, *, limit: int) -> list[Element]:
    """Read the elements inside the SEQUENCE that fills `data` exactly. Raises `DERError`."""
    return read_elements(read_element(data, SEQUENCE).content, limit=limit)


def expect(element: Element, tag: int) -> Element:
    """Return the element if it has the tag. Raises `DERError`."""
    if element.tag != tag:
        raise DERError(f"tag 0x{element.tag:02x} stands where 0x{tag:02x} is expected")
    return element


def read_object_identifier(element: Element) -> str:
    """The dotted form of an OBJECT IDENTIFIER (X.690 §8.19). Raises `DERError`."""
    content = expect(element, OBJECT_IDENTIFIER).content
    if not content or len(content) > _MAX_OID_BYTES or content[-1] & 0x80:
        raise DERError("an object identifier is empty, too long or cut off")
    arcs: list[int] = []
    arc = 0
    for octet in content:
        if octet == 0x80 and arc == 0:
            raise DERError("an object identifier is padded")
        arc = arc << 7 | octet & 0x7F
        if arc.bit_length() > _MAX_ARC_BITS:
            raise DERError("an object identifier has an arc out of bounds")
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(map(str, (top, arcs[0] - 40 * top, *arcs[1:])))


def is_object_identifier(text: str) -> bool:
    """Whether the text is an object identifier in canonical dotted form."""
    return _DOTTED.fullmatch(text) is not None


def read_integer(element: Element) -> int:
    """The value of an INTEGER of any size (X.690 §8.3). Raises `DERError`."""
    content = expect(element, INTEGER).content
    if not content or (
        len(content) > 1 and content[0] in {0x00, 0xFF} and (content[0] ^ content[1]) < 0x80
    ):  # the sign bit
        raise DERError("an integer is empty or padded")
    return int.from_bytes(content, signed=True)


def read_boolean(element: Element) -> bool:
    """The value of a BOOLEAN (X.690 §11.1). Raises `DERError`."""
    content = expect(element, BOOLEAN).content
    if content not in {b"\x00", b"\xff"}:
        raise DERError("a boolean is neither 00 nor ff")
    return content == b"\xff"


def read_named_bits(element: Element, *, limit: int) -> frozenset[int]:
    """The numbers of the bits that are set in a BIT STRING with named bits (X.690 §11.2). Raises `DERError`."""
    content = expect(element, BIT_STRING).content
    unused = content[0] if content else 8
    if unused > 7 or (unused and len(content) == 1) or len(content) - 1 > limit:  # bits of an octet
        raise DERError("a bit string is malformed or too long")
    if len(content) > 1 and content[-1] & ((1 << unused) - 1):
        raise DERError("a bit string has padding that is not zero")
    return frozenset(
        8 * index + bit for index, octet in enumerate(content[1:]) for bit in range(8) if octet & (0x80 >> bit)
    )


def _content_bounds(data: bytes, position: int) -> tuple[int, int]:
    if data[position] & _HIGH_TAG_NUMBER == _HIGH_TAG_NUMBER:
        raise DERError("a tag number above 30 is not in use here")
    if position + 1 >= len(data):
        raise DERError("an element is cut off")
    first = data[position + 1]
    start = position + 2
    if first < 0x80:  # the short form, X.690 §8.1.3.4
        length = first
    else:
        octets = first & 0x7F
        raw = data[start : start + octets]
        start += octets
        length = int.from_bytes(raw)
        if not 1 <= octets <= 4 or len(raw) < octets or raw[0] == 0 or length < 0x80:  # X.690 §10.1
            raise DERError("a length is indefinite, padded or cut off")
    if start + length > len(data):
        raise DERError("an element is cut off")
    return start, start + length
