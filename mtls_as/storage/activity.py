"""How busy a database's connections are: transactions, and how long they waited to begin."""

import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

SHORT_SECONDS = 0.01
"""A transaction that begins within this time has not waited for anybody."""


class Activity:
    """Counts since the start. A transaction waits for a free connection, and with SQLite for other writers."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.reads = 0
        self.writes = 0
        """Transactions that were committed."""
        self.waits = 0
        """Transactions that did not begin at once."""
        self.wait_seconds = 0.0
        """What all of them took to begin."""

    @property
    def in_use(self) -> int:
        """How many connections are in use now."""
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @contextlib.asynccontextmanager
    async def reading(self, begin: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
        """A transaction that reads."""
        async with self._timed(begin) as connection:
            yield connection
        self.reads += 1

    @contextlib.asynccontextmanager
    async def writing(self, begin: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes."""
        async with self._timed(begin) as connection:
            yield connection
        self.writes += 1

    @contextlib.asynccontextmanager
    async def _timed(self, begin: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
        began = time.perf_counter()
        async with begin as connection:
            waited = time.perf_counter() - began
            self.wait_seconds += waited
            self.waits += waited > SHORT_SECONDS
            yield connection
