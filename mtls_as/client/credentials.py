"""The client's certificate and key, in the TLS context that all its connections use."""

import ssl
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mtls_as.client.errors import ClientConfigurationError
from mtls_as.rfc.rfc5280_certificate import CertificateError, parse_pem_certificates


def client_context(certificate: Path, private_key: Path, ca: Path | None) -> ssl.SSLContext:
    """A TLS context that presents a certificate: PEM files with the chain, leaf first, and with its unencrypted key.

    `ca` is a PEM file with the only CAs to trust; without one, those of the system. Raises `ClientConfigurationError`.
    """
    _check_certificate(certificate)
    _check_private_key(private_key)
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise ClientConfigurationError(f"{ca}: no CA certificates in it: {_reason(error)}") from None
    try:
        # A password stands here so that OpenSSL never asks for one at the terminal.
        context.load_cert_chain(certificate, private_key, password="")  # not a secret, it is empty
    except (OSError, ValueError) as error:
        raise ClientConfigurationError(f"{certificate} does not go with {private_key}: {_reason(error)}") from None
    return context


def _check_certificate(path: Path) -> None:
    try:
        parse_pem_certificates(_read(path))
    except CertificateError as error:
        raise ClientConfigurationError(f"{path}: {error}") from None


def _check_private_key(path: Path) -> None:
    try:
        load_pem_private_key(_read(path), password=None)
    except TypeError:
        raise ClientConfigurationError(f"{path}: the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ClientConfigurationError(f"{path}: not a private key in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientConfigurationError(f"{path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unusable").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
