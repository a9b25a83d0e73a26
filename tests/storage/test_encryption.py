"""The storage key: where it comes from, and that nothing else opens what it closed."""

import contextlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.server.signing_keys import generate_signing_key
from mtls_as.storage import (
    ENVIRONMENT_VARIABLE,
    EncryptionKey,
    EncryptionKeyError,
    create_key_file,
    read_encryption_key,
)
from mtls_as.storage.encryption import decrypt_private_key, encrypt_private_key
from tests.storage.conftest import KEY

SIGNING_KEY = generate_signing_key("EdDSA", created_at=0, activates_at=0)
ENCRYPTED = encrypt_private_key(SIGNING_KEY.private_key, kid="k1", key=KEY)


def test_a_new_key_is_read_back(tmp_path: Path) -> None:
    """32 random bytes, for the owner alone, whatever the umask is."""
    before = os.umask(0)
    try:
        key = create_key_file(tmp_path / "as.key")
    finally:
        os.umask(before)
    assert len(key.secret) == 32
    assert stat.S_IMODE((tmp_path / "as.key").stat().st_mode) == 0o600
    assert read_encryption_key(tmp_path / "as.key", {}) == key
    assert create_key_file(tmp_path / "other.key").secret != key.secret


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """A lost storage key is lost signing keys."""
    file = tmp_path / "as.key"
    create_key_file(file)
    content = file.read_bytes()
    with pytest.raises(EncryptionKeyError, match=r"as\.key: exists already"):
        create_key_file(file)
    assert file.read_bytes() == content


def test_a_link_is_not_followed_when_a_key_is_made(tmp_path: Path) -> None:
    """Not even one that leads nowhere."""
    (tmp_path / "as.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EncryptionKeyError, match="exists already"):
        create_key_file(tmp_path / "as.key")
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """One line, no traceback."""
    with pytest.raises(EncryptionKeyError, match=r"nowhere/as\.key: the storage key cannot be written: No such file"):
        create_key_file(tmp_path / "nowhere" / "as.key")


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    """What to do about it."""
    with pytest.raises(EncryptionKeyError, match=r"as\.key: there is no storage key; make one with: mtls-as init"):
        read_encryption_key(tmp_path / "as.key", {})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """What others have read is no secret."""
    create_key_file(tmp_path / "as.key")
    (tmp_path / "as.key").chmod(mode)
    with pytest.raises(EncryptionKeyError, match=r"as\.key: others may read .* chmod 600"):
        read_encryption_key(tmp_path / "as.key", {})


@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o640, True), (0o444, False), (0o460, False)])
def test_a_file_of_root_may_be_open_to_the_service_by_its_group(
    unprivileged_folder: Path, mode: int, *, taken: bool
) -> None:
    """As systemd and Kubernetes hand over secrets; never to everybody, nor for writing."""
    if os.getuid() != 0:
        pytest.skip("only root can hand over files")
    file = unprivileged_folder / "as.key"
    create_key_file(file)
    os.seteuid(0)
    os.chown(file, 0, 65534)
    file.chmod(mode)
    with pytest.raises(EncryptionKeyError, match="others may read the storage key"):
        read_encryption_key(file, {})  # root itself is handed nothing
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with contextlib.nullcontext() if taken else pytest.raises(EncryptionKeyError, match="others may read"):
            assert len(read_encryption_key(file, {}).secret) == 32
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, and a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(EncryptionKeyError, match="must be a regular file"):
        read_encryption_key(tmp_path / "pipe", {})
    with pytest.raises(EncryptionKeyError, match=r"must be a regular file|Is a directory"):
        read_encryption_key(tmp_path, {})


def test_an_unreadable_file_is_named(unprivileged_folder: Path) -> None:
    """One line, no traceback."""
    create_key_file(unprivileged_folder / "as.key")
    (unprivileged_folder / "as.key").chmod(0)
    with pytest.raises(EncryptionKeyError, match=r"as\.key: the storage key cannot be read: Permission denied"):
        read_encryption_key(unprivileged_folder / "as.key", {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        encode_base64url(b"k" * 31),
        encode_base64url(b"k" * 33),
        encode_base64url(b"k" * 32) + "=",
        encode_base64url(b"k" * 32)[:-1] + "t",
        "ä" * 43,
        "A" * 5000,
    ],
)
def test_a_malformed_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    """The message names the file or the variable, never the key."""
    file = tmp_path / "as.key"
    file.touch(mode=0o600)
    file.write_text(text)
    for path, environment, name in (
        (file, {}, str(file)),
        (tmp_path / "none", {ENVIRONMENT_VARIABLE: text}, ENVIRONMENT_VARIABLE),
    ):
        with pytest.raises(EncryptionKeyError) as caught:
            read_encryption_key(path, environment)
        assert name in str(caught.value)
        assert not text or text not in str(caught.value)


def test_the_environment_wins(tmp_path: Path) -> None:
    """A file that lies around does not shadow what was given on purpose."""
    create_key_file(tmp_path / "as.key")
    key = read_encryption_key(tmp_path / "as.key", {ENVIRONMENT_VARIABLE: encode_base64url(b"e" * 32)})
    assert key.secret == b"e" * 32
    assert ENVIRONMENT_VARIABLE in key.origin


def test_the_key_is_in_no_representation() -> None:
    """It cannot be logged by accident."""
    assert "kkk" not in f"{KEY!r} {KEY}"


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_private_keys_round_trip(algorithm: str) -> None:
    """Each kind of signing key."""
    key = generate_signing_key(algorithm, created_at=0, activates_at=0)
    encrypted = encrypt_private_key(key.private_key, kid=key.kid, key=KEY)
    assert decrypt_private_key(encrypted, kid=key.kid, key=KEY).public_key() == key.private_key.public_key()


def test_encrypting_twice_gives_two_ciphertexts() -> None:
    """A nonce is never used again."""
    assert encrypt_private_key(SIGNING_KEY.private_key, kid="k1", key=KEY) != ENCRYPTED


@given(st.integers(0, len(ENCRYPTED) - 1), st.integers(1, 255))
def test_any_altered_byte_is_noticed(position: int, difference: int) -> None:
    """In the nonce, the ciphertext and the tag."""
    altered = bytearray(ENCRYPTED)
    altered[position] ^= difference
    with pytest.raises(EncryptionKeyError):
        decrypt_private_key(bytes(altered), kid="k1", key=KEY)


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(encrypted: bytes) -> None:
    """A damaged row is one kind of error."""
    with pytest.raises(EncryptionKeyError):
        decrypt_private_key(encrypted, kid="k1", key=KEY)


def test_the_name_and_the_key_must_be_the_same() -> None:
    """The `kid` is authenticated too."""
    with pytest.raises(EncryptionKeyError):
        decrypt_private_key(ENCRYPTED, kid="k2", key=KEY)
    other = EncryptionKey(secret=b"o" * 32, origin="/etc/other.key")
    with pytest.raises(EncryptionKeyError, match=r"^/etc/other\.key: "):
        decrypt_private_key(ENCRYPTED, kid="k1", key=other)
