"""RFC 4514, distinguished names: their string form, and the DER they stand for.

A name is a sequence of relative names (RDNs), each a set of typed values. It is never compared as text: see
`mtls_as.rfc.rfc4517_matching`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from mtls_as.rfc import x690_der as der
from mtls_as.rfc.rfc4518_stringprep import prepare_text
from mtls_as.rfc.rfc4519_attributes import IA5_TYPES, NAME_OF, OID_OF

MAX_ATTRIBUTES: Final = 64
MAX_TEXT_LENGTH: Final = 16 * 1024

_DESCRIPTOR: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_PRINTABLE_STRING: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_HEX_VALUE: Final = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_ESCAPED: Final = frozenset('"+,;<>\\')
_ESCAPABLE: Final = _ESCAPED | frozenset(" #=")
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")


class DistinguishedNameError(Exception):
    """The text or the bytes are not a distinguished name. The message says what is wrong and what is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of a name: a type with a value that is comparable text, an exact encoding, or both."""

    oid: str
    text: str | None
    """The value as text, or None where its syntax allows no comparison as text."""
    encoding: bytes | None
    """The DER encoding of the value, or None for a value that was written as text."""

    @property
    def label(self) -> str:
        """The short name of the type, or its dotted form."""
        return NAME_OF.get(self.oid, self.oid)

    @property
    def value(self) -> str:
        """The value as RFC 4514 §2.4 writes it."""
        if self.text is not None:
            return _escape(self.text)
        return f"#{self.encoding.hex()}" if self.encoding is not None else ""

    @property
    def canonical(self) -> str | bytes | None:
        """The value in the form in which it is compared: prepared text, or else the encoding."""
        prepared = None if self.text is None else prepare_text(self.text)
        return self.encoding if prepared is None else prepared

    def matches(self, actual: Self) -> bool:
        """Whether the value of the same type in a certificate is the one expected here."""
        if self.encoding is not None and self.encoding == actual.encoding:
            return True
        if self.text is None or actual.text is None:
            return False
        expected, found = prepare_text(self.text), prepare_text(actual.text)
        return expected is not None and expected == found

    def __str__(self) -> str:
        return f"{self.label}={self.value}"


RelativeName = tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A name; `rdns` stand in the order of the encoding, so `str()` begins with the last (RFC 4514 §2.1)."""

    rdns: tuple[RelativeName, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the name has no RDN at all, as in certificates that speak by their SANs alone."""
        return not self.rdns

    def __str__(self) -> str:
        return ",".join(_format_rdn(rdn) for rdn in reversed(self.rdns))


def parse_dn(text: str) -> DistinguishedName:
    """Parse the string form of a name (RFC 4514 §3). Raises `DistinguishedNameError`.

    Types are dotted OIDs or the short names of RFC 4514 and of `openssl`, in any case. A value is text with escapes, or
    `#` and the hexadecimal DER encoding, which matches nothing but that encoding. The legacy forms (`/C=…/O=…`, quoted
    values, `;` or spaces between RDNs) are errors, and so are an empty name and an empty value.
    """
    if not text:
        raise DistinguishedNameError("the name is empty")
    if len(text) > MAX_TEXT_LENGTH:
        raise DistinguishedNameError(f"the name has more than {MAX_TEXT_LENGTH} characters")
    if text.startswith("/"):
        raise DistinguishedNameError(
            "the form /C=…/O=…/CN=… is not RFC 4514: write the last part first, with commas: CN=…,O=…,C=…"
        )
    rdns: list[RelativeName] = []
    rdn: list[Attribute] = []
    for part, separator in _split(text):
        rdn.append(_parse_attribute(part))
        if separator != "+":
            rdns.append(_relative_name(rdn))
            rdn = []
    _check_size(rdns)
    return DistinguishedName(tuple(reversed(rdns)))


def decode_dn(encoding: bytes) -> DistinguishedName:
    """Decode the DER of a Name (RFC 5280 §4.1.2.4); it may be empty. Raises `DistinguishedNameError`."""
    try:
        rdns = [
            _relative_name([_decode_attribute(item) for item in _members(rdn)])
            for rdn in der.read_sequence(encoding, limit=MAX_ATTRIBUTES)
        ]
    except der.DERError as error:
        raise DistinguishedNameError(f"the name is not DER: {error}") from None
    _check_size(rdns)
    return DistinguishedName(tuple(rdns))


def _relative_name(attributes: list[Attribute]) -> RelativeName:
    seen: set[str] = set()
    for attribute in attributes:
        if attribute.oid in seen:
            raise DistinguishedNameError(f"an RDN has two values of one type, {attribute.label}")  # X.501 §9.3
        seen.add(attribute.oid)
    return tuple(attributes)


def _check_size(rdns: list[RelativeName]) -> None:
    if sum(len(rdn) for rdn in rdns) > MAX_ATTRIBUTES:
        raise DistinguishedNameError(f"the name has more than {MAX_ATTRIBUTES} attributes")


def _members(rdn: der.Element) -> list[der.Element]:
    members = der.read_elements(der.expect(rdn, der.SET).content, limit=MAX_ATTRIBUTES)
    if not members:
        raise DistinguishedNameError("an RDN is empty")
    return members


def _decode_attribute(element: der.Element) -> Attribute:
    match der.read_elements(der.expect(element, der.SEQUENCE).content, limit=2):
        case [kind, value]:
            oid = der.read_object_identifier(kind)
            return Attribute(oid=oid, text=_comparable_text(oid, value), encoding=value.encoding)
    raise DistinguishedNameError("an attribute is not a type with a value")


def _comparable_text(oid: str, value: der.Element) -> str | None:
    if value.tag == der.UTF8_STRING:
        try:
            text = value.content.decode("utf-8")
        except UnicodeDecodeError:
            raise DistinguishedNameError(f"the value of {NAME_OF.get(oid, oid)} is not UTF-8") from None
    elif value.tag in {der.PRINTABLE_STRING, der.IA5_STRING}:
        text = value.content.decode("latin-1")
    else:
        return None
    return text if _is_comparable(oid, value.tag, text) else None


def _is_comparable(oid: str, tag: int, text: str) -> bool:
    if oid not in NAME_OF or prepare_text(text) is None:
        return False
    if oid in IA5_TYPES:
        return tag == der.IA5_STRING and text.isascii()
    if tag == der.PRINTABLE_STRING:
        return _PRINTABLE_STRING.fullmatch(text) is not None
    return tag == der.UTF8_STRING


def _format_rdn(rdn: RelativeName) -> str:
    return "+".join(map(str, rdn))


def _escape(text: str) -> str:
    last = len(text) - 1
    return "".join(
        f"\\{character}"
        if character in _ESCAPED or (character == " " and index in {0, last}) or (character == "#" and index == 0)
        else character
        if character.isprintable()
        else "".join(f"\\{octet:02x}" for octet in character.encode("utf-8"))
        for index, character in enumerate(text)
    )


def _split(text: str) -> Iterator[tuple[str, str]]:
    """Cut at the separators that are not escaped; yields each part with the separator after it."""
    start = position = 0
    while position < len(text):
        character = text[position]
        if character == ";":
            raise DistinguishedNameError("';' separates nothing in RFC 4514: write ',', or '\\;' inside a value")
        if character in ",+":
            yield text[start:position], character
            start = position + 1
        position += 2 if character == "\\" else 1
    yield text[start:], ""


def _parse_attribute(text: str) -> Attribute:
    label, equals, value = text.partition("=")
    if not equals:
        raise DistinguishedNameError(
            f"{_quote(text)} is not type=value; a comma or plus inside a value is written '\\,' or '\\+'"
        )
    oid = _parse_type(label)
    if value.startswith("#"):
        return Attribute(oid=oid, text=None, encoding=_parse_hex_value(label, value))
    if oid not in NAME_OF:
        raise DistinguishedNameError(
            f"the syntax of {label} is not known here: write its value as '#' and the hexadecimal DER encoding"
        )
    return Attribute(oid=oid, text=_unescape(label, value), encoding=None)


def _parse_type(label: str) -> str:
    if label != label.strip(" "):
        raise DistinguishedNameError(f"no spaces stand around a type in RFC 4514: {_quote(label)}")
    if der.is_object_identifier(label):
        return label
    oid = OID_OF.get(label.lower()) if _DESCRIPTOR.fullmatch(label) else None
    if oid is None:
        raise DistinguishedNameError(f"{_quote(label)} is not a known attribute type: write its dotted OID")
    return oid


def _parse_hex_value(label: str, value: str) -> bytes:
    match = _HEX_VALUE.fullmatch(value)
    if match is None:
        raise DistinguishedNameError(f"the value of {label} is not '#' and pairs of hexadecimal digits")
    encoding = bytes.fromhex(match[1])
    try:
        der.read_element(encoding)
    except der.DERError as error:
        raise DistinguishedNameError(f"the value of {label} is not DER: {error}") from None
    return encoding


def _unescape(label: str, value: str) -> str:
    if value.startswith('"'):
        raise DistinguishedNameError(f"the value of {label} is quoted: RFC 4514 escapes with '\\' instead")
    octets = bytearray()
    position = 0
    while position < len(value):
        character = value[position]
        if character == "\\":
            octets += _unescape_pair(label, value[position + 1 : position + 3])
            position += 2 if value[position + 1] in _ESCAPABLE else 3
            continue
        if character in _ESCAPED or character == "\0":
            raise DistinguishedNameError(f"{_quote(character)} in the value of {label} must be escaped with '\\'")
        if character == " " and position in {0, len(value) - 1}:
            raise DistinguishedNameError(f"the value of {label} begins or ends with a space: write '\\ ' if it belongs")
        octets += character.encode("utf-8", "surrogatepass")
        position += 1
    return _decode_value(label, bytes(octets))


def _unescape_pair(label: str, pair: str) -> bytes:
    if pair and pair[0] in _ESCAPABLE:
        return pair[0].encode()
    if len(pair) == 2 and _HEX_DIGITS.issuperset(pair):  # two hexadecimal digits
        return bytes.fromhex(pair)
    raise DistinguishedNameError(
        f"a backslash in the value of {label} stands before neither a special character nor two hexadecimal digits"
    )


def _decode_value(label: str, octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise DistinguishedNameError(f"the value of {label} is not UTF-8") from None
    if not text.strip(" "):
        raise DistinguishedNameError(f"the value of {label} is empty")
    if "\0" in text:
        raise DistinguishedNameError(f"the value of {label} holds a NUL")
    return text


def _quote(text: str) -> str:
    return ascii(text if len(text) <= 64 else f"{text[:64]}…")  # long enough to find the place
