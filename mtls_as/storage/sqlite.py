"""SQLite: one file, for the processes of one machine."""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mtls_as.storage.backup import BackupImpossible, new_file
from mtls_as.storage.engine import Database
from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.settings import DatabaseSettings
from mtls_as.storage.sqlite_connection import SQLiteConnection

_T = TypeVar("_T")

_BUSY_PAUSE_SECONDS: Final = 0.01

_EXPLANATIONS: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder is read-only",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the file or its folder is missing or not accessible",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLite(Database):
    """The database in a file. Who writes holds the lock of the whole file, so that writers come one by one."""

    PREFIX: ClassVar[str] = "sqlite:///"
    reading: ClassVar[Mapping[str, Any]] = {}
    writing: ClassVar[Mapping[str, Any]] = {"writes": True}
    writes_one_by_one: ClassVar[bool] = True

    file: Path
    lock_timeout: float

    @classmethod
    def of(cls, url: str, settings: DatabaseSettings) -> "SQLite":
        file = url.removeprefix(cls.PREFIX)
        if not file:
            raise DatabaseUnavailable("the storage's URL must be sqlite:///FILE")
        return cls(file=Path(file), lock_timeout=settings.lock_timeout)

    @property
    def place(self) -> str:
        return str(self.file)

    def create(self) -> None:
        try:
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except FileNotFoundError:
            raise DatabaseUnavailable(f"{self.file}: the folder {self.file.parent} does not exist") from None
        except OSError as error:
            raise DatabaseUnavailable(f"{self.file}: the database cannot be made: {error.strerror}") from None

    def is_made(self) -> bool:
        return self.file.exists()

    def run(self, work: Callable[[Connection], _T], *, writes: bool) -> _T:
        if not self.file.exists():
            raise DatabaseUnavailable(f"{self.file}: there is no database; make one with: mtls-as init")
        engine = create_engine(self._url("sqlite"), hide_parameters=True)
        self._configure(engine)
        try:
            with self.explaining_errors(), engine.execution_options(writes=writes).begin() as connection:
                return work(connection)
        finally:
            engine.dispose()

    def async_engine(self) -> AsyncEngine:
        # Given by hand what SQLAlchemy would make of the URL.
        connect = partial(sqlite3.connect, self._uri, uri=True, timeout=self.lock_timeout, check_same_thread=False)
        engine = create_async_engine(
            self._url("sqlite+aiosqlite"), async_creator=lambda: SQLiteConnection(connect), hide_parameters=True
        )
        self._configure(engine.sync_engine)
        return engine

    @contextlib.contextmanager
    def explaining_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise DatabaseUnavailable(f"{self.file}: {_explain(error.orig)}") from error
        except PoolTimeout as error:
            raise DatabaseUnavailable(f"{self.file}: every connection is in use") from error

    async def take_turn(self, connection: AsyncConnection, name: str) -> None:
        """The writer has locked the whole database already."""

    async def notify(self, connection: AsyncConnection) -> None:
        """There is nobody to tell: nodes look at the revision."""

    def notices(self) -> "_NoNotices":
        return _NoNotices()

    def backup(self, file: Path) -> None:
        """By SQLite's own backup: other processes go on reading and writing meanwhile."""
        self.run(lambda _: None, writes=False)  # whatever is wrong with it is told in the usual words
        source = sqlite3.connect(f"file:{quote(str(self.file.absolute()))}?mode=ro", uri=True)
        with contextlib.closing(source), new_file(file):
            copy = sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=rw", uri=True)
            with contextlib.closing(copy):
                try:
                    source.backup(copy)
                    # One file alone: the copy has no log beside it, and is written to the disk.
                    copy.execute("PRAGMA journal_mode=DELETE")
                except sqlite3.Error as error:
                    raise BackupImpossible(f"{file}: the backup cannot be written: {_explain(error)}") from None

    @property
    def _uri(self) -> str:
        # mode=rw: a database that vanished is missed, not silently replaced by an empty one that others may read.
        return f"file:{quote(str(self.file.absolute()))}?mode=rw"

    def _url(self, driver: str) -> URL:
        query = {"uri": "true", "timeout": str(self.lock_timeout)}
        return URL.create(driver, database=self._uri, query=query)

    def _configure(self, engine: Engine) -> None:
        busy_milliseconds = int(self.lock_timeout * 1000)

        @event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
            # The driver would begin transactions late and on its own terms; `begin` below says when and how.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={busy_milliseconds}")
            _write_ahead(cursor, seconds=self.lock_timeout)
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute("PRAGMA synchronous=FULL")  # a write that was acknowledged survives a power failure
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get("writes", False)
            # A transaction that reads first and writes later could not wait for the lock: SQLite fails it at once.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _write_ahead(cursor: Any, *, seconds: float) -> None:  # noqa: ANN401 - the driver's own cursor
    """Have the database write ahead in a log.

    SQLite fails at once, whatever the busy time-out, where two processes change a new database to this mode together.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


class _NoNotices:
    async def wait(self, seconds: float) -> bool:
        await asyncio.sleep(seconds)
        return False

    async def close(self) -> None:
        pass


def _explain(error: BaseException | None) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    known = _EXPLANATIONS.get(code & 0xFF) if isinstance(code, int) else None
    return known or f"the database does not answer: {error}"
