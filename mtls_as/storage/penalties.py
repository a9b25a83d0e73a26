"""Stored penalties. Nothing here moves the revision: nodes look by themselves, every few seconds."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from mtls_as.server.penalties import Penalty, PenaltyKind
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import penalties as table
from mtls_as.storage.transactions import Transactions


@limited
class PenaltyRepository:
    """The `PenaltyStore` of a database. Every method raises `DatabaseUnavailable`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, penalties: Sequence[Penalty]) -> None:
        """Store these; of two of the same, the later end counts."""
        async with self._transactions.write_quietly(turn=table.name) as connection:
            for penalty in penalties:
                same = (table.c.kind == penalty.kind.value) & (table.c.value == penalty.value)
                stored = await connection.scalar(select(table.c.until).where(same))
                if stored is None:
                    row = {"kind": penalty.kind.value, "value": penalty.value, "until": penalty.until}
                    await connection.execute(insert(table).values(row))
                elif stored < penalty.until:
                    await connection.execute(update(table).where(same).values(until=penalty.until))

    async def after(self, now: float, *, limit: int) -> tuple[Penalty, ...]:
        """Those that are in force at a time (epoch seconds), the last to end first."""
        statement = select(table).where(table.c.until > now).order_by(table.c.until.desc()).limit(limit)
        async with self._transactions.read() as connection:
            rows = (await connection.execute(statement)).all()
        return tuple(Penalty(kind=PenaltyKind(row.kind), value=row.value, until=row.until) for row in rows)

    async def prune(self, *, ended_before: float) -> None:
        """Forget what has ended."""
        async with self._transactions.write_quietly() as connection:
            await connection.execute(delete(table).where(table.c.until < ended_before))
