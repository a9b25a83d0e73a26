"""What has changed since a node looked the last time."""

from dataclasses import dataclass

from sqlalchemy import select

from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.schema import changes, revision
from mtls_as.storage.transactions import Transactions


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The revision of the database now, and the clients whose registrations have changed since another one.

    `clients` is None where nobody can tell: they may all have changed.
    """

    revision: int
    clients: frozenset[str] | None


async def changes_since(transactions: Transactions, known: int) -> Changes:
    """What has changed since a revision; -1 for a node that knows nothing. Raises `DatabaseUnavailable`.

    Every revision must say what it was: one that does not, such as that of another program or of a database restored
    from a copy, may have changed anything.
    """
    async with transactions.read() as connection:
        # In this order: what is written in between is read the next time.
        value = await connection.scalar(select(revision.c.value))
        if value is None:
            raise DatabaseUnavailable("the table revision is empty")
        now = int(value)
        if now == known:
            return Changes(revision=now, clients=frozenset())
        between = (changes.c.revision > known) & (changes.c.revision <= now)
        rows = (await connection.execute(select(changes).where(between))).all()
    if known < 0 or len(rows) != now - known:
        return Changes(revision=now, clients=None)
    return Changes(revision=now, clients=frozenset(row.client_id for row in rows if row.client_id is not None))
