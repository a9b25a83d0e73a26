"""RFC 5280, X.509 certificates: the one place that parses certificates which somebody else made.

Everything else works on the `Certificate` value: plain, immutable facts. Parsing proves nothing; trust is decided in
`mtls_as.pki`.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from mtls_as.rfc.rfc4514_dn import DistinguishedName


class CertificateError(Exception):
    """The bytes are not a certificate that this project reads. The message says why and quotes no raw input."""


@dataclass(frozen=True, slots=True)
class DNSName:
    """A dNSName as it stands in the certificate (RFC 5280 §4.2.1.6)."""

    value: str


@dataclass(frozen=True, slots=True)
class URIName:
    """A uniformResourceIdentifier as it stands in the certificate (RFC 5280 §4.2.1.6)."""

    value: str


@dataclass(frozen=True, slots=True)
class EmailName:
    """An rfc822Name as it stands in the certificate (RFC 5280 §4.2.1.6)."""

    value: str


@dataclass(frozen=True, slots=True)
class IPName:
    """An iPAddress: 4 or 16 octets in network order (RFC 5280 §4.2.1.6)."""

    packed: bytes


@dataclass(frozen=True, slots=True)
class OtherName:
    """Any other GeneralName; it is shown to people and never matched."""

    kind: str
    text: str


GeneralName = DNSName | URIName | EmailName | IPName | OtherName


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What one certificate says. Nothing in it is verified."""

    der: bytes = field(repr=False)
    subject: DistinguishedName
    issuer: DistinguishedName
    serial_number: int
    not_before: datetime
    not_after: datetime
    subject_alternative_names: tuple[GeneralName, ...]
    is_ca: bool
    key_usages: frozenset[str] | None
    """Names of the key usage bits as in RFC 5280 §4.2.1.3 (`digitalSignature`, …), or None without the extension."""
    extended_key_usages: frozenset[str] | None
    """Dotted OIDs (RFC 5280 §4.2.1.12), or None without the extension."""
    public_key_info: bytes = field(repr=False)
    """The SubjectPublicKeyInfo, DER."""
    key_description: str
    """Algorithm and size for people: `EC P-256`, `RSA 2048`, `Ed25519`, `ML-DSA-65`, …"""
    key_strength: int
    """Security of the key in bits (NIST SP 800-57 part 1 table 2): RSA 2048 → 112, P-256 → 128; 0 if unknown."""
    signature_hash: str | None
    """Name of the signature's hash (`sha256`), or None for algorithms that have none of their own (Ed25519, ML-DSA)."""
    sha256: bytes = field(init=False)
    """SHA-256 of the DER encoding."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.der).digest())
