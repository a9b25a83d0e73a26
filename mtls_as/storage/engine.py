"""Connections: how a database is opened, and what its errors mean."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mtls_as.storage.errors import DatabaseUnavailable

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another process that holds the database's write lock."""

_SQLITE_PREFIX: Final = "sqlite:///"
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
class Database:
    """A database by its URL; `sqlite:///FILE` is the only kind so far. Nothing is opened yet."""

    file: Path
    busy_timeout: float = BUSY_TIMEOUT

    @classmethod
    def at(cls, url: str, *, busy_timeout: float = BUSY_TIMEOUT) -> "Database":
        """Raises `DatabaseUnavailable` for a URL of another kind; the message does not quote it."""
        file = url.removeprefix(_SQLITE_PREFIX)
        if not url.startswith(_SQLITE_PREFIX) or not file:
            raise DatabaseUnavailable("the storage's URL must be sqlite:///FILE")
        return cls(file=Path(file), busy_timeout=busy_timeout)

    def require_file(self) -> None:
        """Raises `DatabaseUnavailable` if there is no database."""
        if not self.file.exists():
            raise DatabaseUnavailable(f"{self.file}: there is no database; make one with: mtls-as init")

    def create_file(self) -> None:
        """Make an empty database with mode 0600, unless there is one. Raises `DatabaseUnavailable`."""
        try:
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except FileNotFoundError:
            raise DatabaseUnavailable(f"{self.file}: the folder {self.file.parent} does not exist") from None
        except OSError as error:
            raise DatabaseUnavailable(f"{self.file}: the database cannot be made: {error.strerror}") from None

    def engine(self) -> Engine:
        """For the short work of setting up; the caller disposes of it."""
        engine = create_engine(self._url("sqlite"), hide_parameters=True)
        self._configure(engine)
        return engine

    def async_engine(self) -> AsyncEngine:
        """For the server; the caller disposes of it on the loop that used it."""
        engine = create_async_engine(self._url("sqlite+aiosqlite"), hide_parameters=True)
        self._configure(engine.sync_engine)
        return engine

    @contextlib.contextmanager
    def explaining_errors(self) -> Iterator[None]:
        """Turn what the driver raises into `DatabaseUnavailable`. Violated constraints pass as they are."""
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise DatabaseUnavailable(f"{self.file}: {_explain(error.orig)}") from error
        except PoolTimeout as error:
            raise DatabaseUnavailable(f"{self.file}: every connection is in use") from error

    def _url(self, driver: str) -> URL:
        # mode=rw: a database that vanished is missed, not silently replaced by an empty one that others may read.
        query = {"mode": "rw", "uri": "true", "timeout": str(self.busy_timeout)}
        return URL.create(driver, database=f"file:{quote(str(self.file.absolute()))}", query=query)

    def _configure(self, engine: Engine) -> None:
        busy_milliseconds = int(self.busy_timeout * 1000)

        @event.listens_for(engine, "connect")
        def set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
            # The driver would begin transactions late and on its own terms; `begin` below says when and how.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (
                f"busy_timeout={busy_milliseconds}",
                "journal_mode=WAL",
                "foreign_keys=ON",
                "synchronous=FULL",  # a write that was acknowledged survives a power failure
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get("writes", False)
            # A transaction that reads first and writes later could not wait for the lock: SQLite fails it at once.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _explain(error: BaseException | None) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    known = _EXPLANATIONS.get(code & 0xFF) if isinstance(code, int) else None
    return known or f"the database does not answer: {error}"
