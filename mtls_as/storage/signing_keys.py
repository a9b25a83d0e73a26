"""Stored signing keys, their private parts encrypted."""

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.server.key_upkeep import OVERLAP, PUBLISH_AHEAD, KeyPlan, MadeKeys
from mtls_as.server.signing_keys import KeyPair, SigningKey, SigningKeys, rotate
from mtls_as.storage.encryption import EncryptionKey, decrypt_private_key, encrypt_private_key
from mtls_as.storage.errors import StorageError
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import signing_keys
from mtls_as.storage.transactions import Transactions


@limited
class SigningKeyRepository:
    """The stored signing keys. Every method raises `DatabaseUnavailable`, and what it names itself."""

    def __init__(self, transactions: Transactions, encryption_key: EncryptionKey) -> None:
        self._transactions = transactions
        self._encryption_key = encryption_key

    async def all(self) -> tuple[SigningKey, ...]:
        """Every key, in the order of their beginning. Raises `EncryptionKeyError` if they are encrypted otherwise."""
        async with self._transactions.read() as connection:
            return await self._select_all(connection)

    async def add(self, key: SigningKey) -> None:
        """Store a new key. Raises `StorageError` if its `kid` is stored already."""
        try:
            async with self._transactions.write(client_id=None) as connection:
                await self._insert(connection, key)
        except IntegrityError:
            raise StorageError(f"a signing key {key.kid} is stored already") from None

    async def update(self, key: SigningKey) -> None:
        """Store other times of a key. Raises `StorageError` if there is no such key."""
        async with self._transactions.write(client_id=None) as connection:
            await _update_times(connection, key)

    async def rotate(
        self,
        algorithm: str,
        *,
        at: float,
        publish_ahead: float,
        overlap: float,
        private_key: KeyPair | None = None,
    ) -> SigningKey:
        """Store and return a new key, by `mtls_as.server.signing_keys.rotate`, and delete keys that are gone.

        One transaction: two rotations at the same time happen one after the other. Raises `EncryptionKeyError` before
        anything is changed if the stored keys are encrypted with another key, `StorageError` if `private_key` is stored
        already.
        """
        async with self._write_keys() as connection:
            keys = SigningKeys(await self._select_all(connection))
            times = {"at": at, "publish_ahead": publish_ahead, "overlap": overlap}
            new = await self._store(connection, rotate(keys, algorithm, **times, private_key=private_key))
            await _delete_gone(connection, at)
        return new

    async def fulfil(self, plan: KeyPlan, *, at: float, made: MadeKeys) -> tuple[SigningKey, ...]:
        """Fulfil a plan with these new keys where they are due, and delete keys that are gone; the keys added.

        One transaction: of several nodes that come at the same time, one adds a key and the others find it. Raises
        `EncryptionKeyError` before anything is changed if the stored keys are encrypted with another key.
        """
        async with self._write_keys() as connection:
            keys = SigningKeys(await self._select_all(connection))
            added = []
            for name in sorted(plan.due(keys, at) & made.keys()):
                times = {"at": at, "publish_ahead": PUBLISH_AHEAD, "overlap": OVERLAP}
                added.append(await self._store(connection, rotate(keys, name, **times, private_key=made[name])))
            keys = SigningKeys(await self._select_all(connection))
            for key in plan.corrections(keys, at):
                await _update_times(connection, key)
            await _delete_gone(connection, at)
        return tuple(added)

    @contextlib.asynccontextmanager
    async def _write_keys(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._transactions.write(client_id=None) as connection:
                yield connection
        except IntegrityError:
            raise StorageError("this signing key is stored already") from None

    async def _store(
        self, connection: AsyncConnection, rotation: tuple[SigningKey, tuple[SigningKey, ...]]
    ) -> SigningKey:
        new, changed = rotation
        await self._insert(connection, new)
        for key in changed:
            await _update_times(connection, key)
        return new

    async def _select_all(self, connection: AsyncConnection) -> tuple[SigningKey, ...]:
        order = (signing_keys.c.activates_at, signing_keys.c.created_at, signing_keys.c.kid)
        rows = (await connection.execute(select(signing_keys).order_by(*order))).all()
        return tuple(self._signing_key(row) for row in rows)

    async def _insert(self, connection: AsyncConnection, key: SigningKey) -> None:
        encrypted = encrypt_private_key(key.private_key, kid=key.kid, key=self._encryption_key)
        values = {"kid": key.kid, "algorithm": key.algorithm, "encrypted_private_key": encrypted, **_times(key)}
        await connection.execute(insert(signing_keys).values(values))

    def _signing_key(self, row: Row[tuple[object, ...]]) -> SigningKey:
        return SigningKey(
            kid=row.kid,
            algorithm=row.algorithm,
            private_key=decrypt_private_key(row.encrypted_private_key, kid=row.kid, key=self._encryption_key),
            created_at=row.created_at,
            activates_at=row.activates_at,
            expires_at=row.expires_at,
        )


def _times(key: SigningKey) -> dict[str, float | None]:
    return {"created_at": key.created_at, "activates_at": key.activates_at, "expires_at": key.expires_at}


async def _delete_gone(connection: AsyncConnection, at: float) -> None:
    await connection.execute(delete(signing_keys).where(signing_keys.c.expires_at <= at))


async def _update_times(connection: AsyncConnection, key: SigningKey) -> None:
    result = await connection.execute(update(signing_keys).where(signing_keys.c.kid == key.kid).values(_times(key)))
    if result.rowcount != 1:
        raise StorageError(f"no signing key {key.kid} is stored")
