"""RFC 5280, X.509 certificates: the one place that parses certificates which somebody else made.

Everything else works on the `Certificate` value: plain, immutable facts. Parsing proves nothing; trust is decided in
`mtls_as.pki`.
"""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

from mtls_as.rfc import x690_der as der
from mtls_as.rfc.rfc4514_dn import DistinguishedName, DistinguishedNameError, decode_dn
from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64
from mtls_as.rfc.rfc5280_general_name import (
    DNSName,
    EmailName,
    GeneralName,
    IPName,
    OtherName,
    URIName,
    read_general_names,
)
from mtls_as.rfc.rfc5280_policies import CertificatePolicies, read_certificate_policies
from mtls_as.rfc.rfc5280_public_key import read_public_key
from mtls_as.rfc.rfc5280_signature import read_signature_algorithm

__all__ = [
    "MAX_CERTIFICATE_BYTES",
    "MAX_CHAIN",
    "Certificate",
    "CertificateError",
    "DNSName",
    "EmailName",
    "GeneralName",
    "IPName",
    "OtherName",
    "URIName",
    "parse_certificate",
    "parse_pem_certificates",
]

MAX_CERTIFICATE_BYTES: Final = 64 * 1024
MAX_CHAIN: Final = 10
"""Certificates that a client presents with its own, that one included."""

_PEM_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")
_MAX_FIELDS: Final = 16
_MAX_EXTENSIONS: Final = 64
_MAX_KEY_USAGES: Final = 64
_MAX_SERIAL_BYTES: Final = 20
_MAX_REASON: Final = 300
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_KEY_USAGE: Final = "2.5.29.15"
_SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
_BASIC_CONSTRAINTS: Final = "2.5.29.19"
_EXTENDED_KEY_USAGE: Final = "2.5.29.37"
_KEY_USAGES: Final = (
    "digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
    "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
)  # fmt: skip


class CertificateError(Exception):
    """The bytes are not a certificate that this project reads. The message says why and quotes no raw input."""


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
    """Name of the signature's hash (`sha256`), None for algorithms that have none of their own (Ed25519, ML-DSA), and
    the dotted OID of an algorithm that is not known."""
    signature_algorithm: str
    """The algorithm of the signature: `ecdsa-sha256`, `rsa-sha256`, `rsa-pss-sha256`, `ed25519`, `ml-dsa-65`; and the
    dotted OID of one that is not known."""
    policies: CertificatePolicies
    """What it says about certificate policies (RFC 5280 §4.2.1.4)."""
    sha256: bytes = field(init=False)
    """SHA-256 of the DER encoding."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.der).digest())


@dataclass(frozen=True, slots=True)
class _Fields:
    """The parts of a TBSCertificate that are read here (RFC 5280 §4.1)."""

    serial_number: int
    issuer: bytes
    subject: bytes
    public_key_info: bytes
    extensions: dict[str, bytes]


def parse_certificate(encoding: bytes) -> Certificate:
    """Parse one certificate, DER, 64 KiB at most. Raises `CertificateError` and nothing else (RFC 5280 §4.1).

    Names and extensions are read here, strictly; keys and signature algorithms by `cryptography`. A certificate that
    either of them cannot read is refused. 256 SANs and 64 attributes in a name are the most.
    """
    if len(encoding) > MAX_CERTIFICATE_BYTES:
        raise CertificateError(f"the certificate has more than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        fields = _read_fields(encoding)
        library = _load(encoding)
        key = read_public_key(fields.public_key_info)
        extensions = fields.extensions
        signature = read_signature_algorithm(library)
        return Certificate(
            der=bytes(encoding),
            subject=decode_dn(fields.subject),
            issuer=decode_dn(fields.issuer),
            serial_number=fields.serial_number,
            not_before=library.not_valid_before_utc,
            not_after=library.not_valid_after_utc,
            subject_alternative_names=_alternative_names(extensions),
            is_ca=_is_ca(extensions),
            key_usages=_key_usages(extensions),
            extended_key_usages=_extended_key_usages(extensions),
            public_key_info=fields.public_key_info,
            key_description=key.description,
            key_strength=key.strength,
            signature_hash=signature.hash,
            signature_algorithm=signature.name,
            policies=read_certificate_policies(extensions),
        )
    except (der.DERError, DistinguishedNameError) as error:
        raise CertificateError(str(error)) from None


def parse_pem_certificates(text: bytes) -> tuple[Certificate, ...]:
    """Parse every certificate of a PEM file, in order (RFC 7468 §5). Raises `CertificateError`, also for none."""
    bodies = [match[1] for match in _PEM.finditer(text)]
    if not bodies or len(bodies) != text.count(_PEM_BEGIN):
        raise CertificateError(_missing_pem(text))
    certificates = []
    for number, body in enumerate(bodies, 1):
        try:
            certificates.append(parse_certificate(decode_base64(b"".join(body.split()))))
        except Base64URLError:
            raise CertificateError(f"certificate {number} of {len(bodies)} is not base64") from None
        except CertificateError as error:
            raise CertificateError(f"certificate {number} of {len(bodies)}: {error}") from None
    return tuple(certificates)


def _missing_pem(text: bytes) -> str:
    if _PEM_BEGIN in text:
        return "it holds a PEM certificate that is cut off"
    if text[:1] == b"\x30":
        return "it is DER, not PEM"
    if b"PRIVATE KEY-----" in text:
        return "it holds a private key and no certificate"
    return "it holds no PEM certificate"


def _read_fields(encoding: bytes) -> _Fields:
    tbs, algorithm, _ = _exactly(3, der.read_sequence(encoding, limit=3))
    fields = der.read_elements(der.expect(tbs, der.SEQUENCE).content, limit=_MAX_FIELDS)
    if fields and fields[0].tag == _VERSION:
        del fields[0]
    serial, inner_algorithm, issuer, _, subject, public_key_info = _exactly(6, fields[:6])
    if inner_algorithm != algorithm:
        raise CertificateError("it names two different signature algorithms")
    return _Fields(
        serial_number=_read_serial_number(serial),
        issuer=issuer.encoding,
        subject=subject.encoding,
        public_key_info=public_key_info.encoding,
        extensions=_read_extensions(fields[6:]),
    )


def _exactly(count: int, elements: list[der.Element]) -> list[der.Element]:
    if len(elements) != count:
        raise der.DERError("elements are missing")
    return elements


def _read_serial_number(element: der.Element) -> int:
    # RFC 5280 §4.1.2.2: positive, 20 octets at most (21 with the sign). Others confuse revocation, and libraries warn.
    number = der.read_integer(element)
    if number <= 0 or len(element.content) > _MAX_SERIAL_BYTES + 1:
        raise CertificateError("its serial number is not positive or too long")
    return number


def _read_extensions(fields: list[der.Element]) -> dict[str, bytes]:
    extensions: dict[str, bytes] = {}
    for element in (part for part in fields if part.tag == _EXTENSIONS):
        for extension in der.read_sequence(element.content, limit=_MAX_EXTENSIONS):
            parts = der.read_elements(der.expect(extension, der.SEQUENCE).content, limit=3)
            if len(parts) == 3:  # with the flag that says critical
                der.read_boolean(parts.pop(1))
            kind, value = _exactly(2, parts)
            oid = der.read_object_identifier(kind)
            if oid in extensions:
                raise CertificateError(f"it has two extensions {oid}")
            extensions[oid] = der.expect(value, der.OCTET_STRING).content
    return extensions


def _alternative_names(extensions: dict[str, bytes]) -> tuple[GeneralName, ...]:
    value = extensions.get(_SUBJECT_ALTERNATIVE_NAME)
    return () if value is None else read_general_names(value)


def _is_ca(extensions: dict[str, bytes]) -> bool:
    value = extensions.get(_BASIC_CONSTRAINTS)
    parts = [] if value is None else der.read_sequence(value, limit=2)
    return bool(parts) and parts[0].tag == der.BOOLEAN and der.read_boolean(parts[0])


def _key_usages(extensions: dict[str, bytes]) -> frozenset[str] | None:
    value = extensions.get(_KEY_USAGE)
    if value is None:
        return None
    bits = der.read_named_bits(der.read_element(value), limit=2)
    return frozenset(name for bit, name in enumerate(_KEY_USAGES) if bit in bits)


def _extended_key_usages(extensions: dict[str, bytes]) -> frozenset[str] | None:
    value = extensions.get(_EXTENDED_KEY_USAGE)
    if value is None:
        return None
    return frozenset(map(der.read_object_identifier, der.read_sequence(value, limit=_MAX_KEY_USAGES)))


def _load(encoding: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(encoding)
        # Read lazily by the library: read here, so that nothing fails later.
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception as error:  # the chokepoint: whatever hostile bytes do to the library
        # The library names the field at fault, and quotes nothing of it.
        raise CertificateError(f"its structure is not that of a certificate: {str(error)[:_MAX_REASON]}") from error
    return certificate
