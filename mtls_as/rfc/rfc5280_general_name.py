"""RFC 5280 §4.2.1.6, the names in a subjectAltName: their types, their syntax and their reader."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from mtls_as.rfc import x690_der as der
from mtls_as.rfc.rfc4514_dn import DistinguishedNameError, decode_dn

MAX_NAMES: Final = 256

_MAX_SHOWN: Final = 256
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART: Final = re.compile(rf"(?=.{{1,64}}\Z){_ATOM}(?:\.{_ATOM})*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_OTHER_KINDS: Final = {
    0xA0: "otherName", 0x81: "rfc822Name", 0x82: "dNSName", 0xA3: "x400Address", 0xA4: "directoryName",
    0xA5: "ediPartyName", 0x86: "uniformResourceIdentifier", 0x87: "iPAddress", 0x88: "registeredID",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DNSName:
    """A dNSName as it stands in the certificate; letters, digits, hyphens and underscores, no wildcard."""

    value: str


@dataclass(frozen=True, slots=True)
class URIName:
    """A uniformResourceIdentifier as it stands in the certificate; absolute, in the alphabet of RFC 3986."""

    value: str


@dataclass(frozen=True, slots=True)
class EmailName:
    """An rfc822Name as it stands in the certificate; a dot-atom at a host, in ASCII."""

    value: str


@dataclass(frozen=True, slots=True)
class IPName:
    """An iPAddress: 4 or 16 octets in network order."""

    packed: bytes

    def __str__(self) -> str:
        return format_ip(self.packed)


@dataclass(frozen=True, slots=True)
class OtherName:
    """Any other GeneralName, and any that breaks the syntax of its type; it is shown to people and never matched."""

    kind: str
    text: str


GeneralName = DNSName | URIName | EmailName | IPName | OtherName


def read_general_names(encoding: bytes) -> tuple[GeneralName, ...]:
    """Read a subjectAltName, 256 names at most. Raises `x690_der.DERError`."""
    return tuple(_general_name(element) for element in der.read_sequence(encoding, limit=MAX_NAMES))


def is_dns_name(text: str) -> bool:
    """Whether this is a host name in ASCII: no wildcard, no trailing dot (RFC 1034 §3.5, with underscores)."""
    return _DNS_NAME.fullmatch(text) is not None


def is_email(text: str) -> bool:
    """Whether this is a mailbox whose local part is a dot-atom (RFC 5321 §4.1.2), in ASCII."""
    local, _, host = text.rpartition("@")
    return _LOCAL_PART.fullmatch(local) is not None and is_dns_name(host)


def is_uri(text: str) -> bool:
    """Whether this is an absolute URI with a scheme, in the alphabet of RFC 3986."""
    return _URI.fullmatch(text) is not None


def format_ip(packed: bytes) -> str:
    """The text form of 4 or 16 octets: dotted, or RFC 5952 with IPv4-mapped addresses in mixed notation (§5)."""
    address = ip_address(packed)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def _general_name(element: der.Element) -> GeneralName:
    content, text = element.content, element.content.decode("latin-1")
    match element.tag:
        case 0x81 if is_email(text):
            return EmailName(text)
        case 0x82 if is_dns_name(text):
            return DNSName(text)
        case 0x86 if is_uri(text):
            return URIName(text)
        case 0x87 if len(content) in {4, 16}:
            return IPName(content)
    kind = _OTHER_KINDS.get(element.tag)
    if kind is None:
        raise der.DERError(f"tag 0x{element.tag:02x} is no GeneralName")
    return OtherName(kind, _other_text(element)[:_MAX_SHOWN])


def _other_text(element: der.Element) -> str:
    match element.tag:
        case 0x81 | 0x82 | 0x86:
            return ascii(element.content.decode("latin-1"))[1:-1]
        case 0xA4:
            try:
                return str(decode_dn(element.content))
            except DistinguishedNameError:
                return element.content.hex()
        case 0x88:
            try:
                return der.read_object_identifier(der.Element(der.OBJECT_IDENTIFIER, element.content, b""))
            except der.DERError:
                return element.content.hex()
    return element.content.hex()
