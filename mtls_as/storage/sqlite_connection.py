"""A connection to SQLite for an event loop: it has a thread, and each statement goes there once.

aiosqlite by itself goes there to make a cursor, to execute, to fetch and to close it. A change of threads costs more
than most statements, above all while requests keep the interpreter busy; and SQLAlchemy wants all rows at once anyway.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import aiosqlite

_CHUNK: Final = 64  # rows that aiosqlite's own cursors, which nobody uses here, would fetch at a time


class SQLiteConnection(aiosqlite.Connection):
    """To be awaited once, which opens it."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, _CHUNK)
        self._thread.daemon = True  # a statement that hangs must not hold up the end of the process

    def cursor(self) -> "_Cursor":  # type: ignore[override] # what SQLAlchemy wants, which does not wait for it
        """For one statement."""
        return _Cursor(self)

    def stop(self) -> asyncio.Future[None] | None:
        """Have the thread end, once: whoever waited for a thread that has ended already would wait for ever."""
        return super().stop() if self._running else None

    async def run(self, work: Callable[[sqlite3.Cursor], object]) -> None:
        """Have the thread do something with a cursor."""

        def work_and_close() -> None:
            cursor = self._conn.cursor()
            try:
                work(cursor)
            finally:
                cursor.close()

        await self._execute(work_and_close)  # type: ignore[no-untyped-call] # aiosqlite leaves it untyped


class _Cursor:
    """What SQLAlchemy wants of a cursor."""

    def __init__(self, connection: SQLiteConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection.run(lambda cursor: self._take(cursor.execute(statement, parameters)))

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection.run(lambda cursor: self._take(cursor.executemany(statement, parameters)))

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        """It is closed already."""

    def _take(self, cursor: sqlite3.Cursor) -> None:
        self._rows = cursor.fetchall()
        self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
