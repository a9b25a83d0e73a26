"""Stored signing keys: the contract that every adapter keeps."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mtls_as.rfc.rfc7519_jwt import SUPPORTED_ALGORITHMS
from mtls_as.server.key_upkeep import OVERLAP, PUBLISH_AHEAD, KeyPlan
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.signing_keys import (
    ExternalKey,
    KeyState,
    SigningKeys,
    generate_private_key,
    generate_signing_key,
)
from mtls_as.storage import EncryptionKey, EncryptionKeyError, Storage, StorageError
from mtls_as.storage.schema import signing_keys as table
from tests.storage.conftest import opened

START = 1_000.25


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
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
    private_key = Ed25519PrivateKey.generate()
    key = generate_signing_key("EdDSA", created_at=START, activates_at=START, private_key=private_key)
    await storage.signing_keys.add(key)
    async with storage._transactions.read() as connection:
        row = (await connection.execute(table.select())).one()
    assert private_key.private_bytes_raw() not in row.encrypted_private_key


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
    async with storage._transactions.write(client_id=None) as connection:
        stolen = (await connection.execute(table.select().where(table.c.kid == keys[0].kid))).one()
        await connection.execute(table.update().values(encrypted_private_key=stolen.encrypted_private_key))
    with pytest.raises(EncryptionKeyError):
        await storage.signing_keys.all()


PLAN = KeyPlan(algorithms=frozenset({"EdDSA"}), rotate_every=86_400.0)
DUE = START + 86_400.0


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
async def test_an_external_key_is_stored_by_its_name(url: str, algorithm: str) -> None:
    """Its public half is there while whoever holds the private one is not."""
    held = ExternalKey(uri="pkcs11:token=a;object=b", public=generate_private_key(algorithm).public_key())
    async with opened(url) as storage:
        options = {"at": START, "publish_ahead": 0.0, "overlap": OVERLAP}
        key = await storage.signing_keys.rotate(algorithm, **options, private_key=held)
        with pytest.raises(StorageError, match="stored already"):
            await storage.signing_keys.rotate(algorithm, **options, private_key=held)
    async with opened(url) as storage:
        (found,) = await storage.signing_keys.all()
    assert (found, found.private_key) == (key, held)
    assert found.private_key.public_key() == held.public


async def test_whoever_writes_to_the_database_alone_cannot_publish_a_key(storage: Storage) -> None:
    """The name of an external key is authenticated like a private key: one row's is not another's."""
    for label in ("a", "b"):
        held = ExternalKey(uri=f"pkcs11:object={label}", public=generate_private_key("EdDSA").public_key())
        await storage.signing_keys.rotate("EdDSA", at=START, publish_ahead=0, overlap=10, private_key=held)
    async with storage._transactions.write(client_id=None) as connection:
        stolen = (await connection.execute(table.select())).first()
        assert stolen is not None
        await connection.execute(table.update().values(encrypted_private_key=stolen.encrypted_private_key))
    with pytest.raises(EncryptionKeyError):
        await storage.signing_keys.all()


async def test_a_plan_is_fulfilled_once(url: str) -> None:
    """Several nodes come at the same time, each with a key: one is taken, and the others hear so."""
    async with opened(url) as one, opened(url) as other, opened(url) as third:
        await one.signing_keys.rotate("EdDSA", at=START, publish_ahead=0, overlap=OVERLAP)
        taken = await asyncio.gather(
            *(
                storage.signing_keys.fulfil(PLAN, at=DUE, made={"EdDSA": generate_private_key("EdDSA")})
                for storage in (one, other, third, one)
            )
        )
        stored = SigningKeys(await third.signing_keys.all())
    assert sorted(map(len, taken)) == [0, 0, 0, 1]
    assert [stored.state(key, DUE) for key in stored.keys] == [KeyState.ACTIVE, KeyState.NEXT]
    assert stored.keys[1].activates_at == DUE + PUBLISH_AHEAD
    assert stored.keys[0].expires_at == DUE + PUBLISH_AHEAD + OVERLAP


async def test_fulfilment_ends_what_nobody_wants_and_deletes_what_has_ended(storage: Storage) -> None:
    """In the same transaction."""
    for algorithm in ("EdDSA", "ES256"):
        await storage.signing_keys.rotate(algorithm, at=START, publish_ahead=0, overlap=OVERLAP)
    assert await storage.signing_keys.fulfil(PLAN, at=START + 1, made={}) == ()
    ends = {key.algorithm: key.expires_at for key in await storage.signing_keys.all()}
    assert ends == {"EdDSA": None, "ES256": START + 1 + OVERLAP}
    await storage.signing_keys.fulfil(PLAN, at=START + 1 + OVERLAP, made={})
    assert [key.algorithm for key in await storage.signing_keys.all()] == ["EdDSA"]


async def test_fulfilment_takes_no_key_that_is_not_due(storage: Storage) -> None:
    """Made in vain, or for an algorithm that the plan does not have."""
    await storage.signing_keys.rotate("EdDSA", at=START, publish_ahead=0, overlap=OVERLAP)
    made = {name: generate_private_key(name) for name in ("EdDSA", "ES256")}
    assert await storage.signing_keys.fulfil(PLAN, at=START + 1, made=made) == ()
    assert len(await storage.signing_keys.all()) == 1
    assert [key.algorithm for key in await storage.signing_keys.fulfil(PLAN, at=DUE, made=made)] == ["EdDSA"]
