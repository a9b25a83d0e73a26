"""Stored revocations. Each has the revision at which it was written, so that a node reads only what is new to it."""

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.server.revocation import Revocation, RevocationKind
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import revision as revision_table
from mtls_as.storage.schema import revocations
from mtls_as.storage.transactions import Transactions


@limited
class RevocationRepository:
    """The `RevocationStore` of a database. Every method raises `DatabaseUnavailable`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, revocation: Revocation) -> None:
        """Store it; what is stored for the same tokens already stays true."""
        async with self._transactions.write(client_id=None) as connection:
            await add_revocation(connection, revocation)

    async def since(self, revision: int) -> tuple[int, tuple[Revocation, ...]]:
        """The revision now, and what was written after another one; all of it after -1."""
        async with self._transactions.read() as connection:
            # In this order: what is written in between is read now, and once more the next time.
            now = await _revision(connection)
            if now == revision:
                return now, ()
            later = select(revocations).where(revocations.c.revision > revision)
            rows = (await connection.execute(later)).all()
        return now, tuple(_revocation(row) for row in rows)

    async def prune(self, *, ended_before: float) -> None:
        """Forget what could match no token any longer at this time; nobody else has to notice."""
        async with self._transactions.write_quietly() as connection:
            await connection.execute(delete(revocations).where(revocations.c.ends_at < ended_before))


async def add_revocation(connection: AsyncConnection, revocation: Revocation) -> None:
    """`RevocationRepository.add`, in a transaction of `Transactions.write` that may do more."""
    same = (revocations.c.kind == revocation.kind.value) & (revocations.c.value == revocation.value)
    # Locked, so that it is not pruned before it is written to.
    row = (await connection.execute(select(revocations).where(same).with_for_update())).one_or_none()
    stored = revocation if row is None else _revocation(row).and_also(revocation)
    # Writers come one by one, so no node can have seen this revision without what is written under it.
    values = {
        "issued_before": stored.issued_before,
        "ends_at": stored.ends_at,
        "revision": await _revision(connection),
    }
    if row is None:
        key = {"kind": stored.kind.value, "value": stored.value}
        await connection.execute(insert(revocations).values(key | values))
    else:
        await connection.execute(update(revocations).where(same).values(values))


async def _revision(connection: AsyncConnection) -> int:
    return int(await connection.scalar(select(revision_table.c.value)) or 0)


def _revocation(row: Row[tuple[object, ...]]) -> Revocation:
    return Revocation(
        kind=RevocationKind(row.kind),
        value=row.value,
        issued_before=row.issued_before,
        ends_at=row.ends_at,
    )
