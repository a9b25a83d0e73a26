"""RFC 4514, distinguished names as strings, and RFC 4517 §4.2.15, the matching of distinguished names.

A name is a sequence of relative names (RDNs), each a set of typed values. It is never compared as text: two names
match when they have as many RDNs, in the same order, each with the same attribute types and matching values.
"""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self
from unicodedata import category

from mtls_as.rfc import x690_der as der

MAX_ATTRIBUTES: Final = 64
MAX_TEXT_LENGTH: Final = 16 * 1024

_DOMAIN_COMPONENT: Final = "0.9.2342.19200300.100.1.25"
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"

# The first name of each attribute is the one that `str()` writes. RFC 4514 §3 names the first nine; the others are the
# names of X.520, PKCS #9 and the CA/Browser Forum as `openssl x509 -nameopt RFC2253` prints them.
_NAMES: Final = (
    ("2.5.4.3", "CN", "commonName"),
    ("2.5.4.7", "L", "localityName"),
    ("2.5.4.8", "ST", "stateOrProvinceName"),
    ("2.5.4.10", "O", "organizationName"),
    ("2.5.4.11", "OU", "organizationalUnitName"),
    ("2.5.4.6", "C", "countryName"),
    ("2.5.4.9", "STREET", "streetAddress"),
    (_DOMAIN_COMPONENT, "DC", "domainComponent"),
    ("0.9.2342.19200300.100.1.1", "UID", "userId"),
    (_EMAIL_ADDRESS, "emailAddress", "E"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.4", "SN", "surname"),
    ("2.5.4.42", "GN", "givenName"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL", "jurisdictionLocalityName"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST", "jurisdictionStateOrProvinceName"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC", "jurisdictionCountryName"),
)
_NAME_OF: Final = MappingProxyType({oid: names[0] for oid, *names in _NAMES})
_OID_OF: Final = MappingProxyType({name.lower(): oid for oid, *names in _NAMES for name in names})
_IA5_ATTRIBUTES: Final = frozenset({_DOMAIN_COMPONENT, _EMAIL_ADDRESS})  # RFC 4519 §2.4, RFC 2985 §5.2.1
_TEXT_ENCODINGS: Final = MappingProxyType({der.UTF8_STRING: "utf-8", der.PRINTABLE_STRING: "ascii"})

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
        return _NAME_OF.get(self.oid, self.oid)

    @property
    def value(self) -> str:
        """The value as RFC 4514 §2.4 writes it."""
        if self.text is not None:
            return _escape(self.text)
        return f"#{self.encoding.hex()}" if self.encoding is not None else ""

    @property
    def canonical(self) -> str | bytes | None:
        """The value in the form in which it is compared: prepared text, or else the encoding."""
        prepared = None if self.text is None else _prepare(self.text)
        return self.encoding if prepared is None else prepared

    def matches(self, actual: Self) -> bool:
        """Whether the value of the same type in a certificate is the one expected here."""
        if self.encoding is not None and self.encoding == actual.encoding:
            return True
        if self.text is None or actual.text is None:
            return False
        expected, found = _prepare(self.text), _prepare(actual.text)
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


class DNDifferenceKind(StrEnum):
    """In what two names differ."""

    COUNT = "count"
    ORDER = "order"
    TYPES = "types"
    VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class DNDifference:
    """The first difference between an expected name and the one found, read as RFC 4514 writes them."""

    kind: DNDifferenceKind
    expected: str
    found: str
    position: int = 0
    """Which RDN, counted from 1 in the order of the string form; 0 when the difference is of the whole name."""
    count: int = 0
    """How many RDNs are expected."""
    attribute: str = ""

    def __str__(self) -> str:
        match self.kind:
            case DNDifferenceKind.COUNT:
                return f"expected {self.expected} RDNs, certificate has {self.found}"
            case DNDifferenceKind.ORDER:
                return f"same RDNs in another order: expected {self.expected}, certificate has {self.found}"
            case DNDifferenceKind.TYPES:
                place = f"RDN {self.position} of {self.count}"
                return f"{place}: expected {self.expected}, certificate has {self.found}"
            case DNDifferenceKind.VALUE:
                place = f"RDN {self.position} of {self.count}: {self.attribute}"
                return f"{place}: expected '{self.expected}', certificate has '{self.found}'"


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


def compare_dn(expected: DistinguishedName, actual: DistinguishedName) -> DNDifference | None:
    """Match a name found in a certificate against the expected one; None when they match, else the first difference.

    distinguishedNameMatch (RFC 4517 §4.2.15), restricted so that no two implementations can read it differently:
    PrintableString and UTF8String (IA5String for DC and e-mail) of known attributes compare as text, ASCII letters
    without case, spaces trimmed and collapsed, all else exactly and without Unicode normalisation. Every other value,
    and text with control characters, matches only the same DER. An empty name matches nothing.
    """
    if len(expected.rdns) != len(actual.rdns) or expected.is_empty:
        return DNDifference(kind=DNDifferenceKind.COUNT, expected=str(len(expected.rdns)), found=str(len(actual.rdns)))
    pairs = list(zip(reversed(expected.rdns), reversed(actual.rdns), strict=True))
    for position, (wanted, found) in enumerate(pairs, 1):
        difference = _compare_rdn(wanted, found, position, len(pairs))
        if difference is not None:
            return _order_difference(expected, actual) or difference
    return None


def canonical_name(name: DistinguishedName) -> Hashable:
    """A key that two names from certificates share just when they match by `compare_dn`; for finding issuers."""
    return tuple(frozenset((attribute.oid, attribute.canonical) for attribute in rdn) for rdn in name.rdns)


def has_control_characters(name: DistinguishedName) -> bool:
    """Whether a value holds control characters, so that it can never match as text."""
    return any(
        attribute.text is not None and _prepare(attribute.text) is None for rdn in name.rdns for attribute in rdn
    )


def _compare_rdn(expected: RelativeName, actual: RelativeName, position: int, count: int) -> DNDifference | None:
    found = {attribute.oid: attribute for attribute in actual}
    if found.keys() != {attribute.oid for attribute in expected}:
        return DNDifference(
            kind=DNDifferenceKind.TYPES,
            expected="+".join(attribute.label for attribute in expected),
            found="+".join(attribute.label for attribute in actual),
            position=position,
            count=count,
        )
    for attribute in expected:
        if not attribute.matches(found[attribute.oid]):
            return DNDifference(
                kind=DNDifferenceKind.VALUE,
                expected=attribute.value,
                found=found[attribute.oid].value,
                position=position,
                count=count,
                attribute=attribute.label,
            )
    return None


def _order_difference(expected: DistinguishedName, actual: DistinguishedName) -> DNDifference | None:
    # The usual mistake: a name copied from a tool that prints the first RDN first.
    remaining = list(actual.rdns)
    for wanted in expected.rdns:
        twin = next((rdn for rdn in remaining if _compare_rdn(wanted, rdn, 0, 0) is None), None)
        if twin is None:
            return None
        remaining.remove(twin)
    return DNDifference(kind=DNDifferenceKind.ORDER, expected=str(expected), found=str(actual))


def _prepare(text: str) -> str | None:
    # RFC 4518, reduced to what is unambiguous: insignificant spaces, and case of ASCII letters alone.
    if any(category(character) == "Cc" for character in text):
        return None
    collapsed = " ".join(word for word in text.split(" ") if word)
    return collapsed.translate(_ASCII_LOWER) or None


_ASCII_LOWER: Final = {ordinal: ordinal + 32 for ordinal in range(ord("A"), ord("Z") + 1)}


def _relative_name(attributes: list[Attribute]) -> RelativeName:
    if len({attribute.oid for attribute in attributes}) != len(attributes):
        raise DistinguishedNameError(f"an RDN has two values of one type: {_format_rdn(tuple(attributes))}")
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
            raise DistinguishedNameError(f"the value of {_NAME_OF.get(oid, oid)} is not UTF-8") from None
    elif value.tag in {der.PRINTABLE_STRING, der.IA5_STRING}:
        text = value.content.decode("latin-1")
    else:
        return None
    return text if _is_comparable(oid, value.tag, text) else None


def _is_comparable(oid: str, tag: int, text: str) -> bool:
    if oid not in _NAME_OF or _prepare(text) is None:
        return False
    if oid in _IA5_ATTRIBUTES:
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
    if oid not in _NAME_OF:
        raise DistinguishedNameError(
            f"the syntax of {label} is not known here: write its value as '#' and the hexadecimal DER encoding"
        )
    return Attribute(oid=oid, text=_unescape(label, value), encoding=None)


def _parse_type(label: str) -> str:
    if label != label.strip(" "):
        raise DistinguishedNameError(f"no spaces stand around a type in RFC 4514: {_quote(label)}")
    if der.is_object_identifier(label):
        return label
    oid = _OID_OF.get(label.lower()) if _DESCRIPTOR.fullmatch(label) else None
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
