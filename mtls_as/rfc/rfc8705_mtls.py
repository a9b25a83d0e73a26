"""RFC 8705, mutual TLS: expected subjects and how they match, certificate thumbprints, the `cnf` claim."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, assert_never

from mtls_as.rfc.rfc4514_dn import DistinguishedName, DistinguishedNameError, parse_dn
from mtls_as.rfc.rfc4517_matching import DNDifference, compare_dn, has_control_characters
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc5280_general_name import (
    DNSName,
    EmailName,
    IPName,
    URIName,
    format_ip,
    is_dns_name,
    is_email,
    is_uri,
)

MAX_SUBJECT_LENGTH: Final = 2048

_MAX_SHOWN: Final = 8
_CONFIRMATION_MEMBER: Final = "x5t#S256"
# 32 bytes are 43 characters, the last of which has two unused bits (RFC 4648 §3.5).
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_DOTTED_NUMBERS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
# RFC 3986 appendix B, for what is_uri has let through: scheme, authority if any, and the rest.
_URI_PARTS: Final = re.compile(r"([^:]+):(?://([^/?#]*))?(.*)")
_AUTHORITY: Final = re.compile(r"((?:.*@)?)(\[[^\]]*\]|[^:@\[\]]*)((?::[0-9]*)?)")


class SubjectType(StrEnum):
    """The client metadata that names the expected subject (RFC 8705 §2.1.2)."""

    SUBJECT_DN = "tls_client_auth_subject_dn"
    SAN_DNS = "tls_client_auth_san_dns"
    SAN_URI = "tls_client_auth_san_uri"
    SAN_IP = "tls_client_auth_san_ip"
    SAN_EMAIL = "tls_client_auth_san_email"


class SubjectError(Exception):
    """The text is not a subject of its type. The message says what is wrong and what the right form is."""


class ConfirmationError(Exception):
    """The `cnf` value does not bind to a certificate, and to nothing else."""


@dataclass(frozen=True, slots=True)
class ExpectedSubject:
    """The one subject a client's certificate must have. It cannot be made from a bad text: `SubjectError`."""

    type: SubjectType
    text: str
    """As it was registered."""
    canonical: "DistinguishedName | str | bytes" = field(init=False, repr=False, compare=False)
    """What certificates are compared with: a name, a text in canonical case, or the octets of an address."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "canonical", _canonical_subject(self.type, self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectMismatch:
    """Why a certificate does not have the expected subject."""

    expected: ExpectedSubject
    found: tuple[str, ...]
    """What the certificate has of that type, in the form of a registration."""
    difference: DNDifference | None = None
    """For a DN, the first difference."""

    def __str__(self) -> str:
        if self.difference is not None:
            return f"{self.expected.type}: {self.difference}"
        shown = [f"'{text}'" for text in self.found[:_MAX_SHOWN]]
        if len(self.found) > _MAX_SHOWN:
            shown.append(f"and {len(self.found) - _MAX_SHOWN} more")
        found = ", ".join(shown) or "none of that type"
        return f"{self.expected.type}: expected '{self.expected.text}', certificate has {found}"


def parse_expected_subject(type: SubjectType, text: str) -> ExpectedSubject:  # noqa: A002 # the name of the field
    """Check and prepare a registered subject (RFC 8705 §2.1.2). Raises `SubjectError`.

    DN: RFC 4514. DNS: a host name in ASCII, without wildcard or trailing dot. URI: absolute. IP: dotted IPv4 or IPv6 as
    RFC 5952 writes it. E-mail: a dot-atom at a host, in ASCII.
    """
    return ExpectedSubject(type, text)


def match_subject(expected: ExpectedSubject, certificate: Certificate) -> SubjectMismatch | None:
    """Compare a certificate with the expected subject; None when it has it (RFC 8705 §2.1).

    Types never mix, and only the leaf is to be asked; that its path is trusted is for the caller to prove first. Hosts
    compare without case, local parts, paths and all else exactly; addresses as octets; DNs by `compare_dn`.
    """
    wanted = expected.canonical
    if isinstance(wanted, DistinguishedName):
        difference = compare_dn(wanted, certificate.subject)
        if difference is None:
            return None
        return SubjectMismatch(expected=expected, found=(str(certificate.subject),), difference=difference)
    found = _subjects(certificate, expected.type)
    for _, canonical in found:
        if canonical == wanted:
            return None
    return SubjectMismatch(expected=expected, found=tuple(text for text, _ in found))


def registration_lines(certificate: Certificate) -> list[tuple[SubjectType, str]]:
    """Every subject that a client with this certificate could register, in the form to paste; the DN first."""
    candidates = [(SubjectType.SUBJECT_DN, str(certificate.subject))] + [
        (kind, text)
        for kind in (SubjectType.SAN_DNS, SubjectType.SAN_URI, SubjectType.SAN_IP, SubjectType.SAN_EMAIL)
        for text, _ in _subjects(certificate, kind)
    ]
    return [line for line in dict.fromkeys(candidates) if _can_register(*line)]


def x5t_s256(der: bytes) -> str:
    """The thumbprint of a certificate: base64url of the SHA-256 of its DER (RFC 8705 §3.1)."""
    return encode_base64url(hashlib.sha256(der).digest())


def certificate_thumbprint(certificate: Certificate) -> str:
    """`x5t_s256` of a certificate that has been parsed, and so been hashed already."""
    return _encode_digest(certificate.sha256)


_encode_digest = lru_cache(maxsize=4096)(encode_base64url)  # certificates come back


def confirmation(thumbprint: str) -> dict[str, str]:
    """The `cnf` value that binds a token to the certificate with this thumbprint (RFC 8705 §3.1)."""
    return {_CONFIRMATION_MEMBER: thumbprint}


def parse_confirmation(cnf: object) -> str:
    """Read the thumbprint out of a `cnf` value (RFC 8705 §3.1). Raises `ConfirmationError`.

    Exactly one member: a binding that is not understood, or a second one, would go unchecked (RFC 7800 §3.1).
    """
    if not isinstance(cnf, dict) or list(cnf) != [_CONFIRMATION_MEMBER]:
        raise ConfirmationError("cnf must have the member x5t#S256 and no other")
    thumbprint = cnf[_CONFIRMATION_MEMBER]
    if not isinstance(thumbprint, str) or not is_thumbprint(thumbprint):
        raise ConfirmationError("x5t#S256 must be the base64url of 32 bytes, without padding")
    return thumbprint


def thumbprints_equal(a: str, b: str) -> bool:
    """Compare two thumbprints in constant time: the only comparison of thumbprints there is."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=1_024)  # the tokens of a certificate share one
def is_thumbprint(text: str) -> bool:
    """Whether this is a SHA-256 thumbprint: the base64url of 32 bytes, without padding."""
    return _THUMBPRINT.fullmatch(text) is not None


def _subjects(certificate: Certificate, kind: SubjectType) -> list[tuple[str, str | bytes]]:
    """The SANs of a type: as registered, and canonical."""
    names = certificate.subject_alternative_names
    match kind:
        case SubjectType.SAN_DNS:
            return [(name.value, name.value.lower()) for name in names if isinstance(name, DNSName)]
        case SubjectType.SAN_URI:
            return [(name.value, _canonical_uri(name.value)) for name in names if isinstance(name, URIName)]
        case SubjectType.SAN_IP:
            return [(str(name), name.packed) for name in names if isinstance(name, IPName)]
        case SubjectType.SAN_EMAIL:
            return [(name.value, _canonical_email(name.value)) for name in names if isinstance(name, EmailName)]
        case SubjectType.SUBJECT_DN:
            return []
        case _:
            assert_never(kind)


def _can_register(kind: SubjectType, text: str) -> bool:
    try:
        ExpectedSubject(kind, text)
    except SubjectError:
        return False
    return True


def _canonical_subject(kind: SubjectType, text: str) -> DistinguishedName | str | bytes:
    if not text:
        raise SubjectError("it is empty")
    if len(text) > MAX_SUBJECT_LENGTH:
        raise SubjectError(f"it has more than {MAX_SUBJECT_LENGTH} characters")
    match kind:
        case SubjectType.SUBJECT_DN:
            return _expected_dn(text)
        case SubjectType.SAN_DNS:
            return _expected_dns(text)
        case SubjectType.SAN_URI:
            return _expected_uri(text)
        case SubjectType.SAN_IP:
            return _expected_ip(text)
        case SubjectType.SAN_EMAIL:
            return _expected_email(text)
        case _:
            assert_never(kind)


def _expected_dn(text: str) -> DistinguishedName:
    try:
        name = parse_dn(text)
    except DistinguishedNameError as error:
        raise SubjectError(f"{error}; the right form is that of RFC 4514, such as CN=reports,O=Example,C=DE") from None
    if has_control_characters(name):
        raise SubjectError("a value holds control characters: write it as '#' and its hexadecimal DER encoding")
    return name


def _expected_dns(text: str) -> str:
    if is_dns_name(text) and not _DOTTED_NUMBERS.fullmatch(text):
        return text.lower()
    right = "the right form is a host name such as reports.example"
    if "*" in text:
        raise SubjectError(f"wildcards match nothing; {right}")
    if text.endswith("."):
        raise SubjectError(f"it ends with a dot; {right}")
    if not text.isascii():
        raise SubjectError(f"it is not ASCII: write the A-label (xn--…); {right}")
    if _DOTTED_NUMBERS.fullmatch(text):
        raise SubjectError(f"it is an address: register it as {SubjectType.SAN_IP}; {right}")
    raise SubjectError(f"it is not a host name; {right}")


def _expected_uri(text: str) -> str:
    right = "the right form is an absolute URI such as spiffe://reports.example/service"
    if not is_uri(text):
        raise SubjectError(f"it is not an absolute URI in the alphabet of RFC 3986; {right}")
    if "*" in (_split_uri(text)[1] or ""):
        raise SubjectError(f"wildcards match nothing; {right}")
    return _canonical_uri(text)


def _expected_ip(text: str) -> bytes:
    right = "the right form is a dotted IPv4 address, or an IPv6 address as RFC 5952 writes it"
    if "%" in text:
        raise SubjectError(f"a certificate has no scope id; {right}")
    try:
        address = ip_address(text)
    except ValueError:
        raise SubjectError(f"it is not an address; {right}") from None
    canonical = format_ip(address.packed)
    if isinstance(address, IPv6Address) and text != canonical:
        raise SubjectError(f"RFC 5952 writes this address {canonical}")
    return address.packed


def _expected_email(text: str) -> str:
    right = "the right form is a mailbox such as reports@mail.example"
    if not text.isascii():
        raise SubjectError(f"it is not ASCII; {right}")
    if not is_email(text):
        raise SubjectError(f"it is not a mailbox; {right}")
    return _canonical_email(text)


def _canonical_email(text: str) -> str:
    local, _, host = text.rpartition("@")
    return f"{local}@{host.lower()}"


def _canonical_uri(text: str) -> str:
    """Scheme and host without case, everything else as it stands (RFC 3986 §6.2.2.1)."""
    scheme, authority, rest = _split_uri(text)
    if authority is None:
        return f"{scheme.lower()}:{rest}"
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return f"{scheme.lower()}://{authority}{rest}"
    return f"{scheme.lower()}://{match[1]}{match[2].lower()}{match[3]}{rest}"


def _split_uri(text: str) -> tuple[str, str | None, str]:
    match = _URI_PARTS.fullmatch(text)
    return (match[1], match[2], match[3]) if match else ("", None, text)
