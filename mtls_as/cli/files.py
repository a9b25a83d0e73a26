"""Reading the files that a command names."""

import ssl
from pathlib import Path
from typing import Final

from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate, parse_pem_certificates
from mtls_as.rfc.rfc8259_json import JSONError, parse_json

MAX_FILE_BYTES: Final = 1024 * 1024
_DER_SEQUENCE: Final = b"\x30"


class FileError(Exception):
    """A file that a command was given and cannot use; the message begins with its name."""


def read_file(path: Path) -> bytes:
    """The file's content, 1 MiB at most. Raises `FileError`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise FileError(f"{path}: it has more than {MAX_FILE_BYTES} bytes")
    return content


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """The certificates of a PEM file, leaf first, or the one of a DER file. Raises `FileError`."""
    content = read_file(path)
    try:
        if content.startswith(_DER_SEQUENCE):
            return (parse_certificate(content),)
        return parse_pem_certificates(content)
    except CertificateError as error:
        raise FileError(f"{path}: {error}") from None


def read_json(path: Path) -> object:
    """The parsed content of a JSON file. Raises `FileError`."""
    try:
        return parse_json(read_file(path))
    except JSONError as error:
        raise FileError(f"{path}: {error}") from None


def trusting_context(ca: Path | None) -> ssl.SSLContext:
    """A client's TLS context that trusts the CAs of a PEM file, or the system's. Raises `FileError`."""
    try:
        return ssl.create_default_context(cafile=ca)
    except FileNotFoundError:
        raise FileError(f"{ca}: there is no such file") from None
    except ssl.SSLError:
        raise FileError(f"{ca}: it holds no PEM certificates") from None
    except OSError as error:
        raise FileError(f"{ca}: {error.strerror or error}") from None
