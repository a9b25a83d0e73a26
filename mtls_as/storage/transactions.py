"""Transactions on the database of a running server."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from sqlalchemy import String, delete, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.storage.activity import Activity
from mtls_as.storage.engine import Database
from mtls_as.storage.errors import DatabaseConflict, DatabaseUnavailable
from mtls_as.storage.in_time import TimeLimit
from mtls_as.storage.schema import changes, revision

KEPT_CHANGES: Final = 10_000
"""Changes of which the database tells whose they were; a node that has missed more forgets all clients."""

_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.05

_T = TypeVar("_T")


class Transactions:
    """Reads and writes of one database. Everything raised is `DatabaseUnavailable` or what the block itself raised."""

    def __init__(self, database: Database, *, seconds: float | None = None) -> None:
        """`seconds` is what a call of a repository may take; None for as long as it takes."""
        self._database = database
        self.limit = TimeLimit(seconds)
        self._engine = database.async_engine()
        self._reading_engine = self._engine.execution_options(**database.reading)
        self.activity = Activity(self._engine)
        self._writing_engine = self._engine.execution_options(**database.writing)
        self._turns: dict[str, AbstractAsyncContextManager[None]] = {}
        self._notices = database.notices()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view of the database."""
        with self._database.explaining_errors():
            async with self._reading_engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self, *, client_id: str | None) -> AsyncIterator[AsyncConnection]:
        """All or nothing, one writer at a time, and other nodes will notice: the revision moves on.

        Of all clients they forget the one that this changes: `client_id`, or None where it changes none.
        """
        async with self._writing(revision.name) as connection:
            # First, so that its row's lock lets writers in one by one on every kind of database.
            await connection.execute(update(revision).values(value=revision.c.value + 1))
            change = select(revision.c.value, literal(client_id, String(256)))
            await connection.execute(insert(changes).from_select(["revision", "client_id"], change))
            old = select(revision.c.value - KEPT_CHANGES).scalar_subquery()
            await connection.execute(delete(changes).where(changes.c.revision <= old))
            yield connection
            await self._database.notify(connection)

    @contextlib.asynccontextmanager
    async def write_quietly(self, *, turn: str | None = None) -> AsyncIterator[AsyncConnection]:
        """All or nothing, for what no other node keeps in memory: the revision stays.

        With SQLite writers come one by one all the same. With PostgreSQL they do not, unless they name the same `turn`:
        whoever reads what it then writes to names one, or locks what it has read.
        """
        async with self._writing(turn) as connection:
            if turn is not None:
                await self._database.take_turn(connection, turn)
            yield connection

    @contextlib.asynccontextmanager
    async def _writing(self, turn: str | None) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes. Who waits for a turn here takes no connection from those who read."""
        with self._database.explaining_errors():
            async with (
                self._turn_here(turn),
                self.activity.writing(self._writing_engine.begin()) as connection,
            ):
                yield connection

    def _turn_here(self, name: str | None) -> AbstractAsyncContextManager[None]:
        """What lets the writers of this process come one by one that would wait for each other in the database."""
        if self._database.writes_one_by_one:
            name = ""
        return contextlib.nullcontext() if name is None else self._turns.setdefault(name, asyncio.Semaphore(1))

    async def revision(self) -> int:
        """How many times the database was written to. Raises `DatabaseUnavailable`."""
        async with self.read() as connection:
            value = await connection.scalar(select(revision.c.value))
        if value is None:
            raise DatabaseUnavailable(f"{self._database.place}: the table revision is empty")
        return int(value)

    async def repeated(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """The result of work that is undone as a whole by `DatabaseConflict`, and is then tried again, not for long."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return await work()
            except DatabaseConflict:
                await asyncio.sleep(_PAUSE_SECONDS * attempt * random.random())  # noqa: S311 - apart, not unguessable
        return await work()

    async def wait_for_change(self, seconds: float) -> bool:
        """Wait until another transaction of `write` is committed, so long at most; say whether one may have been.

        Not every change is told: whoever must know has to look at the revision all the same.
        """
        return await self._notices.wait(seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._notices.close()
        await self.limit.wait_for_the_rest()
        await self._engine.dispose()
