"""The server's own certificate and key, read and checked before anything listens."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_END_CERTIFICATE = b"-----END CERTIFICATE-----"
_MAX_FILE_BYTES = 1024 * 1024


class TLSConfigurationError(Exception):
    """A certificate, key or address that the TLS layer cannot serve with; the text names it and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCredentials:
    """A certificate that belongs to a private key. Made only by `load`."""

    chain: tuple[x509.Certificate, ...]
    """Leaf first."""
    private_key: PrivateKey = field(repr=False)

    @classmethod
    def load(cls, certificate: Path, private_key: Path, *, at: datetime | None = None) -> Self:
        """Read a PEM chain, leaf first, and the PEM key of its leaf, which must be valid at `at`, by default now.

        Raises `TLSConfigurationError` naming the file: missing, unreadable, without a certificate or key, with junk
        in it, encrypted, expired, not valid yet, or a key of another certificate.
        """
        chain = _parse_chain(certificate, _read(certificate))
        key = _parse_key(private_key, _read(private_key))
        _check_validity(certificate, chain[0], at or datetime.now(UTC))
        if _spki(key.public_key()) != _spki(_public_key(certificate, chain[0])):
            raise TLSConfigurationError(
                f"{private_key}: the key of another certificate than the first in {certificate}"
            )
        return cls(chain=chain, private_key=key)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """What the chain says, leaf first, as far as `parse_certificate` reads it."""
        found = []
        for certificate in self.chain:
            with contextlib.suppress(CertificateError):
                found.append(parse_certificate(certificate.public_bytes(Encoding.DER)))
        return tuple(found)

    @property
    def server_cert(self) -> str:
        """The leaf as PEM."""
        return self.chain[0].public_bytes(Encoding.PEM).decode("ascii")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise TLSConfigurationError(f"{path}: no such file") from None
    except OSError as error:
        raise TLSConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise TLSConfigurationError(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
    return content


def _parse_chain(path: Path, content: bytes) -> tuple[x509.Certificate, ...]:
    blocks = list(_certificate_blocks(path, content))
    if not blocks:
        raise TLSConfigurationError(f"{path}: no certificate in PEM form inside")
    return tuple(_parse_certificate(path, number, block) for number, block in enumerate(blocks, 1))


def _certificate_blocks(path: Path, content: bytes) -> Iterable[bytes]:
    """The armoured blocks. Text around them is the usual comment; another `BEGIN` among them is not a certificate."""
    rest = content
    while (start := rest.find(_BEGIN_CERTIFICATE)) >= 0:
        end = rest.find(_END_CERTIFICATE, start)
        if end < 0 or _BEGIN_CERTIFICATE in rest[start + 1 : end]:
            raise TLSConfigurationError(f"{path}: a certificate without its end line")
        yield rest[start : end + len(_END_CERTIFICATE)] + b"\n"
        rest = rest[end + len(_END_CERTIFICATE) :]


def _parse_certificate(path: Path, number: int, block: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise TLSConfigurationError(f"{path}: certificate {number} cannot be parsed: {_first_line(error)}") from None


def _parse_key(path: Path, content: bytes) -> PrivateKey:
    if b"PRIVATE KEY-----" not in content:
        raise TLSConfigurationError(f"{path}: no private key in PEM form inside")
    try:
        key: PrivateKeyTypes = load_pem_private_key(content, password=None)
    except TypeError:
        raise TLSConfigurationError(f"{path}: the private key is encrypted; store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TLSConfigurationError(f"{path}: the private key cannot be parsed: {_first_line(error)}") from None
    if not isinstance(key, PrivateKey):
        raise TLSConfigurationError(f"{path}: a private key of a kind that TLS servers do not use")
    return key


def _public_key(path: Path, certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TLSConfigurationError(f"{path}: its public key cannot be parsed: {_first_line(error)}") from None


def _spki(key: object) -> bytes:
    if not hasattr(key, "public_bytes"):
        return b""
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _check_validity(path: Path, leaf: x509.Certificate, at: datetime) -> None:
    if at > leaf.not_valid_after_utc:
        raise TLSConfigurationError(
            f"{path}: the certificate expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
        )
    if at < leaf.not_valid_before_utc:
        raise TLSConfigurationError(
            f"{path}: the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
