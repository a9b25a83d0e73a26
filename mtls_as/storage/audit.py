"""The audit trail in the database. The row of its ends is locked first, so that all nodes write one chain.

Nothing here moves the revision: no node keeps a record in memory.
"""

import json
import logging
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Dialect, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.server.audit import (
    BREAK_KIND,
    GENESIS,
    AuditEntry,
    AuditRecord,
    Bounds,
    Checkpoint,
    Link,
    Purpose,
    Sealer,
    chained,
    next_link,
)
from mtls_as.storage.encryption import EncryptionKey
from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import audit_ends as ends
from mtls_as.storage.schema import audit_records as records
from mtls_as.storage.transactions import Transactions

_KEY_PURPOSE: Final = b"mtls-as audit trail"
_SLICE: Final = 250
_PAGE: Final = 500
"""Records that are read, or forgotten, at once: nobody waits long for the lock."""
# What each batch needs is made once: to put a statement together costs as much as to carry it out.
_ENDS: Final = select(ends).with_for_update()
_LAST: Final = select(func.max(records.c.sequence))
_NEW_HEAD: Final = update(ends).values(
    head_sequence=bindparam("sequence"), head_hash=bindparam("hash"), head_seal=bindparam("seal")
)

_diagnostics = logging.getLogger(__name__)


@limited
class AuditRepository:
    """The `AuditStore` of a database, and where the trail is read. Every method raises `DatabaseUnavailable`."""

    def __init__(self, transactions: Transactions, key: EncryptionKey) -> None:
        self._transactions = transactions
        self.sealer = Sealer(key.derive(_KEY_PURPOSE))
        self._seen = GENESIS

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Record all of them, in their order, or none.

        If the trail is found altered, that is recorded first: it goes on, and no verification succeeds any longer.
        """
        if not entries:
            return
        async with self._transactions.write_quietly() as connection:
            head = await self._append(connection, entries)
        self._seen = head

    async def prune(self, *, ended_before: float, keep: int) -> int:
        """Forget records before a time, and all but the last `keep`; returns how many.

        The last one forgotten becomes the anchor, from which verification goes on.
        """
        forgotten = 0
        while True:
            async with self._transactions.write_quietly() as connection:
                page = await self._prune_page(connection, ended_before, keep)
            if not page:
                return forgotten
            forgotten += page

    async def list(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        client_id: str | None = None,
        kind: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> tuple[AuditRecord, ...]:
        """The newest `limit` records that fit, the newest first; `before` is the number that older pages begin below.

        `since` and `until` are in seconds since the epoch.
        """
        statement = select(records).order_by(records.c.sequence.desc()).limit(limit)
        if since is not None:
            statement = statement.where(records.c.at >= since)
        if until is not None:
            statement = statement.where(records.c.at < until)
        if client_id is not None:
            statement = statement.where(records.c.client_id == client_id)
        if kind is not None:
            statement = statement.where(records.c.kind == kind)
        if before is not None:
            statement = statement.where(records.c.sequence < before)
        async with self._transactions.read() as connection:
            rows = (await connection.execute(statement)).all()
        return tuple(_record(row) for row in rows)

    async def bounds(self) -> Bounds:
        """The ends of the trail, at one moment."""
        last = select(func.max(records.c.sequence)).scalar_subquery()
        async with self._transactions.read() as connection:
            row = (await connection.execute(select(ends, last.label("last")))).one_or_none()
        if row is None:
            raise DatabaseUnavailable("the ends of the audit trail are not in the database: they were deleted")
        return _bounds(row, row.last or 0)

    async def find(self, sequence: int) -> AuditRecord | None:
        """One record."""
        async with self._transactions.read() as connection:
            return await _found(connection, sequence)

    async def records(self, *, after: int, through: int) -> AsyncIterator[AuditRecord]:
        """The records in their order, from behind one number up to another; as many at a time as memory notices."""
        while True:
            wanted = select(records).where(records.c.sequence > after, records.c.sequence <= through)
            async with self._transactions.read() as connection:
                page = (await connection.execute(wanted.order_by(records.c.sequence).limit(_PAGE))).all()
            for row in page:
                yield _record(row)
            if len(page) < _PAGE:
                return
            after = page[-1].sequence

    async def checkpoint(self) -> Checkpoint:
        """The head as it is now, to be kept elsewhere; never one that somebody else has made."""
        bounds = await self.bounds()
        head = bounds.head
        if not self.sealer.is_genuine(Purpose.HEAD, head, bounds.head_seal):
            raise DatabaseUnavailable("the head of the audit trail was altered: mtls-as audit verify tells more")
        return Checkpoint(link=head, seal=self.sealer.seal(Purpose.CHECKPOINT, head))

    async def _append(self, connection: AsyncConnection, entries: Sequence[AuditEntry]) -> Link:
        bounds = await _locked(connection)
        head, problem = bounds.head, self._problem(bounds)
        if problem is not None:
            _diagnostics.critical("the audit trail was altered: %s", problem)
            head = Link(max(head.sequence, bounds.last, self._seen.sequence), head.hash)
            text = json.dumps({"event": BREAK_KIND, "detail": problem})
            entries = [AuditEntry(at=entries[0].at, kind=BREAK_KIND, text=text), *entries]
        last = head
        for start in range(0, len(entries), _SLICE):
            made = chained(last, entries[start : start + _SLICE], self.sealer)
            # Waits for the database, so that requests have their turn in between.
            await _insert(connection, [_values(record) for record in made])
            last = made[-1].link
        seal = self.sealer.seal(Purpose.HEAD, last)
        await connection.execute(_NEW_HEAD, {"sequence": last.sequence, "hash": last.hash, "seal": seal})
        return last

    def _problem(self, bounds: Bounds) -> str | None:
        """What is wrong with the end of the trail, as far as one look and the memory of this process tell."""
        head = bounds.head
        if not self.sealer.is_genuine(Purpose.HEAD, head, bounds.head_seal):
            return "its head has no genuine seal"
        if head.sequence < self._seen.sequence or (head.sequence == self._seen.sequence and head != self._seen):
            return f"its head was set back behind record {self._seen.sequence}"
        if bounds.last != head.sequence:
            return f"its head is record {head.sequence}, and the last one there is {bounds.last}"
        return None

    async def _prune_page(self, connection: AsyncConnection, ended_before: float, keep: int) -> int:
        bounds = await _locked(connection)
        through = await _prunable(connection, bounds, ended_before, keep)
        problem = self._forged_ends(bounds)
        record = await _found(connection, through)
        if record is not None:
            problem = problem or await self._forged(connection, bounds.anchor, record)
        if problem is not None:
            # What was forged shall stay, to be found; that the trail grows meanwhile will be noticed.
            _diagnostics.critical("the audit trail was altered, and nothing of it is pruned: %s", problem)
        if problem is not None or record is None:
            return 0
        seal = self.sealer.seal(Purpose.ANCHOR, record.link)
        await connection.execute(
            update(ends).values(anchor_sequence=through, anchor_hash=record.link.hash, anchor_seal=seal)
        )
        result = await connection.execute(delete(records).where(records.c.sequence <= through))
        return int(result.rowcount)

    def _forged_ends(self, bounds: Bounds) -> str | None:
        """What is wrong with the ends, by which pruning is measured and which it seals anew."""
        if not self.sealer.is_genuine(Purpose.HEAD, bounds.head, bounds.head_seal):
            return "its head has no genuine seal"
        if not self.sealer.is_genuine(Purpose.ANCHOR, bounds.anchor, bounds.anchor_seal):
            return "what says where it begins has no genuine seal"
        return None

    async def _forged(self, connection: AsyncConnection, anchor: Link, record: AuditRecord) -> str | None:
        """What is wrong with a record, of which the time decides whether it and all before it are forgotten."""
        sequence = record.link.sequence
        if not self.sealer.is_genuine(Purpose.RECORD, record.link, record.seal):
            return f"record {sequence} has no genuine seal"
        before = await _found(connection, sequence - 1)
        if next_link(anchor if before is None else before.link, record.entry) != record.link:
            return f"record {sequence} was altered, or does not follow the one before it"
        return None


async def _found(connection: AsyncConnection, sequence: int) -> AuditRecord | None:
    row = (await connection.execute(select(records).where(records.c.sequence == sequence))).one_or_none()
    return None if row is None else _record(row)


async def _prunable(connection: AsyncConnection, bounds: Bounds, ended_before: float, keep: int) -> int:
    """The last record to forget now; the last of all stays, for the head to name something that there is.

    Times need not rise along the chain: nodes write when they can. Whatever stands behind a young record stays with it.
    """
    first_young = await connection.scalar(select(func.min(records.c.sequence)).where(records.c.at >= ended_before))
    old = bounds.head.sequence if first_young is None else first_young - 1
    wanted = min(max(old, bounds.head.sequence - keep), bounds.head.sequence - 1)
    return min(wanted, bounds.anchor.sequence + _PAGE)


async def _insert(connection: AsyncConnection, rows: Sequence[tuple[object, ...]]) -> None:
    """Store rows by the driver's own statement.

    What SQLAlchemy does for each row would cost more than all the rest, and is not needed: drivers take every value as
    it is. SQLite gets as many rows as there are in one statement, since each statement is a change of threads or two.
    """
    statement = _insertion(connection.dialect)
    if connection.dialect.name != "sqlite":
        await connection.exec_driver_sql(statement, list(rows))
        return
    head, values, row = statement.partition("VALUES")
    await connection.exec_driver_sql(head + values + ", ".join([row] * len(rows)), tuple(chain.from_iterable(rows)))


@lru_cache(maxsize=4)
def _insertion(dialect: Dialect) -> str:
    return str(insert(records).compile(dialect=dialect))


async def _locked(connection: AsyncConnection) -> Bounds:
    """The ends, with the lock that lets writers in one by one; SQLite has locked the whole database already."""
    row = (await connection.execute(_ENDS)).one_or_none()
    if row is None:
        raise DatabaseUnavailable("the ends of the audit trail are not in the database: they were deleted")
    last = await connection.scalar(_LAST)
    return _bounds(row, last or 0)


def _bounds(row: Row[Any], last: int) -> Bounds:
    return Bounds(
        head=Link(row.head_sequence, row.head_hash),
        head_seal=row.head_seal,
        anchor=Link(row.anchor_sequence, row.anchor_hash),
        anchor_seal=row.anchor_seal,
        last=last,
    )


def _record(row: Row[Any]) -> AuditRecord:
    entry = AuditEntry(at=row.at, kind=row.kind, client_id=row.client_id, text=row.record)
    return AuditRecord(link=Link(row.sequence, row.hash), entry=entry, seal=row.seal)


def _values(record: AuditRecord) -> tuple[object, ...]:
    """The values of a record, in the order of the table's columns."""
    entry, link = record.entry, record.link
    return link.sequence, entry.at, entry.kind, entry.client_id, entry.text, link.hash, record.seal
