"""The storage key, and signing keys encrypted with it: AES-256-GCM, the key's `kid` as associated data.

The storage key is 32 random bytes, written in base64url into a file that only its owner may read, or given in the
environment. Whoever copies the database alone cannot sign with it.
"""

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from mtls_as.rfc.rfc4648_base64url import Base64URLError, decode_base64url, encode_base64url
from mtls_as.rfc.rfc7517_jwk import PublicKey
from mtls_as.rfc.rfc8259_json import parse_json
from mtls_as.server.private_files import is_private
from mtls_as.server.signing_keys import ExternalKey, KeyPair
from mtls_as.storage.errors import EncryptionKeyError

ENVIRONMENT_VARIABLE: Final = "MTLS_AS_STORAGE_KEY"

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D §8.2.2: 96 random bits, far below 2^32 encryptions with one key
_MAX_FILE_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKey:
    """The storage key: 32 bytes, and where they came from, for messages."""

    secret: bytes = field(repr=False)
    origin: str

    def __post_init__(self) -> None:
        if len(self.secret) != _KEY_BYTES:
            raise EncryptionKeyError(f"{self.origin}: a storage key is {_KEY_BYTES} bytes, written in base64url")

    def derive(self, purpose: bytes) -> bytes:
        """A secret of 32 bytes for another purpose, the same at every node; it tells nothing about this key."""
        return HKDFExpand(algorithm=SHA256(), length=_KEY_BYTES, info=purpose).derive(self.secret)


def create_key_file(path: Path) -> EncryptionKey:
    """Make a storage key in a new file of mode 0600. Raises `EncryptionKeyError`; an existing file is never touched."""
    key = EncryptionKey(secret=secrets.token_bytes(_KEY_BYTES), origin=str(path))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise EncryptionKeyError(f"{path}: exists already, and is not overwritten") from None
    except OSError as error:
        raise EncryptionKeyError(f"{path}: the storage key cannot be written: {error.strerror}") from None
    try:
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(encode_base64url(key.secret) + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        # Half a key would be found, and refused, for ever after.
        with contextlib.suppress(OSError):
            path.unlink()
        raise EncryptionKeyError(f"{path}: the storage key cannot be written: {error.strerror}") from None
    return key


def read_encryption_key(path: Path, environment: Mapping[str, str] = os.environ) -> EncryptionKey:
    """The storage key: from the variable `MTLS_AS_STORAGE_KEY` if it is set, else from the file.

    Raises `EncryptionKeyError`, naming the variable or the file, also for a file that others may read.
    """
    text = environment.get(ENVIRONMENT_VARIABLE)
    if text is not None:
        return _decode(text, origin=f"the environment variable {ENVIRONMENT_VARIABLE}")
    return _decode(_read_private_file(path), origin=str(path))


def encrypt_private_key(private_key: KeyPair, *, kid: str, key: EncryptionKey) -> bytes:
    """Nonce and ciphertext of the key's PKCS #8 encoding; of an external key, of its name and its public half.

    Those are no secret, but nobody who can only write to the database shall make the server publish another key.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key.secret).encrypt(nonce, _encode(private_key), kid.encode())


def decrypt_private_key(encrypted: bytes, *, kid: str, key: EncryptionKey) -> KeyPair:
    """The private key of `kid`. Raises `EncryptionKeyError` if it was encrypted with another key, or altered."""
    nonce, ciphertext = encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:]
    try:
        private_key = _decode_key(AESGCM(key.secret).decrypt(nonce, ciphertext, kid.encode()))
    except (InvalidTag, ValueError):
        message = f"{key.origin}: is not the key that the signing keys in the database are encrypted with"
        raise EncryptionKeyError(message) from None
    except UnsupportedAlgorithm:
        raise EncryptionKeyError(f"the signing key {kid} in the database is of a kind not supported here") from None
    if isinstance(private_key, KeyPair):
        return private_key
    raise EncryptionKeyError(f"the signing key {kid} in the database is of an unknown kind")


def _encode(private_key: KeyPair) -> bytes:
    if not isinstance(private_key, ExternalKey):
        return private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = private_key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return json.dumps({"uri": private_key.uri, "public_key": encode_base64url(public)}).encode()


def _decode_key(encoded: bytes) -> object:
    if not encoded.startswith(b"{"):  # PKCS #8 is a SEQUENCE, 0x30
        return load_der_private_key(encoded, None)
    match parse_json(encoded):
        case {"uri": str(uri), "public_key": str(text)}:
            public = load_der_public_key(decode_base64url(text))
            if isinstance(public, PublicKey):
                return ExternalKey(uri=uri, public=public)
    return None


def _read_private_file(path: Path) -> str:
    try:
        # Opening a named pipe would otherwise wait for its writer, perhaps for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise EncryptionKeyError(f"{path}: the storage key must be a regular file")
            if not is_private(status):
                raise EncryptionKeyError(f"{path}: others may read the storage key; allow its owner only: chmod 600")
            return file.read(_MAX_FILE_BYTES).decode("ascii")
    except FileNotFoundError:
        raise EncryptionKeyError(f"{path}: there is no storage key; make one with: mtls-as init") from None
    except OSError as error:
        raise EncryptionKeyError(f"{path}: the storage key cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EncryptionKeyError(f"{path}: a storage key is {_KEY_BYTES} bytes, written in base64url") from None


def _decode(text: str, *, origin: str) -> EncryptionKey:
    try:
        secret = decode_base64url(text.strip())
    except Base64URLError:
        secret = b""
    return EncryptionKey(secret=secret, origin=origin)
