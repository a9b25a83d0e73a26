"""What a client proves itself with: its certificate and key, and the CAs that it trusts, as one value."""

import contextlib
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_der_x509_certificate

from mtls_as.client.errors import ClientConfigurationError
from mtls_as.rfc.rfc5280_certificate import CertificateError, parse_pem_certificates
from mtls_as.rfc.rfc8705_mtls import certificate_thumbprint

_CERTIFICATES: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")
_OWN_FILES: Final = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credentials:
    """A certificate chain, leaf first, and the key that goes with it, both in PEM. Two readings are two values."""

    x5t_s256: str
    """The thumbprint that tokens are bound to (RFC 8705 §3.1)."""
    chain_pem: bytes = field(repr=False)
    private_key_pem: bytes = field(repr=False)
    ca_pem: bytes | None = field(repr=False)
    """The only CAs to trust; without them, those of the system."""

    def __post_init__(self) -> None:
        if self.ca_pem is not None and not self.ca_pem.strip():
            raise ClientConfigurationError("no CA certificates")  # OpenSSL and gRPC would take those of the system

    def tls_context(self) -> ssl.SSLContext:
        """A new TLS context that presents the certificate and trusts the CAs. Raises `ClientConfigurationError`."""
        try:
            context = ssl.create_default_context(cadata=None if self.ca_pem is None else self.ca_pem.decode("ascii"))
        except (OSError, ValueError) as error:
            raise ClientConfigurationError(f"no CA certificates: {_reason(error)}") from None
        try:
            with _as_file(self.private_key_pem + b"\n" + self.chain_pem) as path:
                # A password stands here so that OpenSSL never asks for one at the terminal.
                context.load_cert_chain(path, password="")  # not a secret, it is empty
        except (OSError, ValueError) as error:
            raise ClientConfigurationError(f"the certificate does not go with its key: {_reason(error)}") from None
        return context


class CertificateSource(Protocol):
    """Where credentials come from, and come anew when the certificate is renewed."""

    def current(self) -> Credentials:
        """The newest ones that are sound; the same object as long as nothing changed. It is asked often, by any thread.

        Raises `ClientConfigurationError` as long as there are none.
        """
        ...


def read_credentials(certificate: Path, private_key: Path, ca: Path | None) -> Credentials:
    """Read PEM files: the chain, leaf first, its unencrypted key, and the only CAs to trust.

    Raises `ClientConfigurationError`, which names the file; also for a certificate and a key that are not a pair.
    """
    return pair(
        _read(certificate),
        _read(private_key),
        ca_pem=read_ca(ca) if ca is not None else None,
        names=(str(certificate), str(private_key)),
    )


def pair(chain_pem: bytes, private_key_pem: bytes, *, ca_pem: bytes | None, names: tuple[str, str]) -> Credentials:
    """Credentials that TLS takes. `names` of certificate and key are for the `ClientConfigurationError` otherwise."""
    certificate, private_key = names
    try:
        leaf = parse_pem_certificates(chain_pem)[0]
    except CertificateError as error:
        raise ClientConfigurationError(f"{certificate}: {error}") from None
    try:
        key = load_pem_private_key(private_key_pem, password=None)
    except TypeError:
        raise ClientConfigurationError(f"{private_key}: the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ClientConfigurationError(f"{private_key}: not a private key in PEM") from None
    if key.public_key() != load_der_x509_certificate(leaf.der).public_key():
        raise ClientConfigurationError(f"{certificate} does not go with {private_key}: key values mismatch")
    found = Credentials(
        x5t_s256=certificate_thumbprint(leaf), chain_pem=chain_pem, private_key_pem=private_key_pem, ca_pem=ca_pem
    )
    found.tls_context()
    return found


def read_ca(path: Path) -> bytes:
    """The CAs of a PEM file; at least one. Raises `ClientConfigurationError`."""
    pem = b"\n".join(_CERTIFICATES.findall(_read(path)))  # such files have comments, in any language
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except (OSError, ValueError) as error:
        raise ClientConfigurationError(f"{path}: no CA certificates in it: {_reason(error)}") from None
    return pem


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A file for OpenSSL's sake, which `ssl` gives nothing else to read; on Linux it is never on a disk."""
    if hasattr(os, "memfd_create") and _OWN_FILES.exists():
        descriptor = os.memfd_create("credentials", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 # a descriptor has no path
            file.write(content)
            yield str(_OWN_FILES / str(descriptor))
        return
    with tempfile.TemporaryDirectory() as folder:  # which its owner alone may enter
        path = Path(folder, "credentials.pem")
        path.write_bytes(content)
        yield str(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientConfigurationError(f"{path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unusable").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
