"""The client's certificate and key, as far as they can be read; and somebody else's certificate, made on the spot."""

import contextlib
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_as.doctor.observations import OwnCertificate
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_pem_certificates

_LIFETIME: Final = timedelta(minutes=10)


def read_own(certificate: Path, key: Path) -> OwnCertificate:
    """Read both files. Never raises for what stands in them."""
    chain: tuple[Certificate, ...] = ()
    public_key: bytes | None = None
    failures = []
    try:
        chain = parse_pem_certificates(certificate.read_bytes())
    except (OSError, CertificateError) as error:
        failures.append(f"{certificate}: {_words(error)}")
    try:
        public_key = _public_key(key)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        failures.append(f"{key}: {_words(error)}")
    matches = None if public_key is None or not chain else chain[0].public_key_info == public_key
    if not failures and matches:
        failures.extend(_unusable(certificate, key))
    elif matches is False:
        failures.append(f"{key} is not the key of {certificate}")
    return OwnCertificate(
        certificate_file=certificate,
        key_file=key,
        chain=chain,
        key_matches=matches,
        failure="; ".join(failures) or None,
    )


def present(context: ssl.SSLContext, identity: tuple[Path, Path]) -> None:
    """Let a context present a certificate. Raises `OSError`, `ValueError`."""
    certificate, key = identity
    context.load_cert_chain(certificate, key, password="")  # not a secret: so that nobody is asked at the terminal


@contextlib.contextmanager
def stranger() -> Iterator[tuple[Path, Path]]:
    """Files with a self-signed client certificate that nobody knows, and its key, for as long as the block runs."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mtls-as doctor: a stranger")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory() as folder:  # open to its owner alone
        files = Path(folder, "stranger.pem"), Path(folder, "stranger-key.pem")
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        yield files


def _public_key(file: Path) -> bytes:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except TypeError:
        raise ValueError("the private key is encrypted") from None
    except ValueError:
        raise ValueError("it is not a private key in PEM") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _unusable(certificate: Path, key: Path) -> Iterator[str]:
    """The word of the library that makes the client's connections, if it refuses them."""
    try:
        present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), (certificate, key))
    except (OSError, ValueError) as error:
        yield f"{certificate} with {key}: {_words(error)}"


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unusable").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
