"""Stored signing keys: the contract that every adapter keeps."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.signing_keys import KeyState, SigningKeys, generate_signing_key
from mtls_as.storage import EncryptionKey, EncryptionKeyError, Storage, StorageError
from mtls_as.storage.schema import signing_keys as table
from tests.storage.conftest import opened

START = 1_000.25


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
async def test_a_key_is_read_back_whole(url: str, algorithm: str) -> None:
    """Another process can sign with it, and times keep their fractions."""
    key = generate_signing_key(algorithm, created_at=START, activates_at=START + 0.5)
    async with opened(url) as storage:
        await storage.signing_keys.add(key)
    async with opened(url) as storage:
        (found,) = await storage.signing_keys.all()
    assert found == key
    assert found.private_key.public_key() == key.private_key.public_key()


async def test_the_private_part_is_stored_encrypted(storage: Storage) -> None:
    """Whoever copies the database cannot sign."""
    key = generate_signing_key("EdDSA", created_at=START, activates_at=START)
    await storage.signing_keys.add(key)
    async with storage._transactions.read() as connection:
        row = (await connection.execute(table.select())).one()
    assert (
        key.private_key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()) not in row.encrypted_private_key
    )


async def test_times_can_be_updated(storage: Storage) -> None:
    """A key gets its end when another takes its place."""
    key = generate_signing_key("EdDSA", created_at=START, activates_at=START)
    await storage.signing_keys.add(key)
    await storage.signing_keys.update(replace(key, expires_at=START + 5))
    assert await storage.signing_keys.all() == (replace(key, expires_at=START + 5),)


async def test_what_does_not_fit_is_an_error(storage: Storage) -> None:
    """The same key twice; a key that is not there."""
    key = generate_signing_key("EdDSA", created_at=START, activates_at=START)
    with pytest.raises(StorageError, match="no signing key"):
        await storage.signing_keys.update(key)
    await storage.signing_keys.add(key)
    with pytest.raises(StorageError, match="stored already"):
        await storage.signing_keys.add(key)


async def test_a_rotation_stores_the_new_key_and_the_end_of_the_old(storage: Storage) -> None:
    """Both or neither, in one transaction."""
    old = await storage.signing_keys.rotate("EdDSA", at=START, publish_ahead=60, overlap=400)
    before = await storage.revision()
    new = await storage.signing_keys.rotate("EdDSA", at=START + 10, publish_ahead=60, overlap=400)
    assert await storage.revision() == before + 1
    keys = SigningKeys(await storage.signing_keys.all())
    assert [key.kid for key in keys.keys] == [old.kid, new.kid]
    assert [keys.state(key, START + 10) for key in keys.keys] == [KeyState.ACTIVE, KeyState.NEXT]
    assert [keys.state(key, START + 70) for key in keys.keys] == [KeyState.RETIRED, KeyState.ACTIVE]
    assert [keys.state(key, START + 470) for key in keys.keys] == [KeyState.GONE, KeyState.ACTIVE]


async def test_a_rotation_deletes_keys_that_are_gone(storage: Storage) -> None:
    """A private key that signs nothing any more can only be stolen."""
    await storage.signing_keys.rotate("EdDSA", at=START, publish_ahead=0, overlap=10)
    await storage.signing_keys.rotate("EdDSA", at=START + 1, publish_ahead=0, overlap=10)
    await storage.signing_keys.rotate("EdDSA", at=START + 20, publish_ahead=0, overlap=10)
    assert len(await storage.signing_keys.all()) == 2


async def test_rotations_at_the_same_time_leave_one_active_key(url: str) -> None:
    """Two operators, two processes, one instant."""
    async with opened(url) as one, opened(url) as other:
        await one.signing_keys.rotate("EdDSA", at=START, publish_ahead=0, overlap=10)
        await asyncio.gather(
            *(s.signing_keys.rotate("EdDSA", at=START + 1, publish_ahead=5, overlap=10) for s in (one, other))
        )
        keys = SigningKeys(await one.signing_keys.all())
    assert [keys.state(key, START + 6) for key in keys.keys].count(KeyState.ACTIVE) == 1
    assert sum(key.expires_at is None for key in keys.keys) == 1


async def test_another_storage_key_is_an_error_that_names_it_and_changes_nothing(url: str) -> None:
    """The wrong file, or the wrong variable."""
    other = EncryptionKey(secret=b"o" * 32, origin="/etc/other.key")
    async with opened(url) as storage:
        key = await storage.signing_keys.rotate("EdDSA", at=START, publish_ahead=0, overlap=10)
    async with opened(url, key=other) as storage:
        with pytest.raises(EncryptionKeyError, match=r"^/etc/other\.key: is not the key") as caught:
            await storage.signing_keys.all()
        assert isinstance(caught.value, StorageUnavailable)
        before = await storage.revision()
        with pytest.raises(EncryptionKeyError):
            await storage.signing_keys.rotate("EdDSA", at=START + 1, publish_ahead=0, overlap=10)
        assert await storage.revision() == before
    async with opened(url) as storage:
        assert await storage.signing_keys.all() == (key,)


async def test_a_private_key_moved_to_another_name_is_refused(storage: Storage) -> None:
    """The `kid` is part of what is encrypted, so a row cannot be given another row's key."""
    keys = [generate_signing_key("EdDSA", created_at=START, activates_at=START + n) for n in range(2)]
    for key in keys:
        await storage.signing_keys.add(key)
    async with storage._transactions.write() as connection:
        stolen = (await connection.execute(table.select().where(table.c.kid == keys[0].kid))).one()
        await connection.execute(table.update().values(encrypted_private_key=stolen.encrypted_private_key))
    with pytest.raises(EncryptionKeyError):
        await storage.signing_keys.all()
