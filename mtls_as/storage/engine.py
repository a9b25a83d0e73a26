"""What every kind of database has in common: how it is opened, set up, and what its errors mean."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.settings import DatabaseSettings

_T = TypeVar("_T")

_DEFAULTS: Final = DatabaseSettings()


class Notices(Protocol):
    """Hears of what other nodes write."""

    async def wait(self, seconds: float) -> bool:
        """Wait for a notice, so long at most; say whether there was one."""
        ...

    async def close(self) -> None:
        """Stop listening."""
        ...


class Database(ABC):
    """A database by its URL. Nothing is opened yet."""

    reading: ClassVar[Mapping[str, Any]]
    """SQLAlchemy's execution options of a transaction that reads: one consistent view."""
    writing: ClassVar[Mapping[str, Any]]
    """Those of a transaction that writes: each statement sees what was written before it."""
    writes_one_by_one: ClassVar[bool] = False
    """Whether a second writer waits for the first whatever they write."""

    @staticmethod
    def at(url: str, settings: DatabaseSettings = _DEFAULTS) -> "Database":
        """Raises `DatabaseUnavailable` for a URL that is none, or of another kind; the message does not quote it."""
        from mtls_as.storage.sqlite import SQLite

        if url.startswith(SQLite.PREFIX):
            return SQLite.of(url, settings)
        if not url.startswith("postgresql://"):
            raise DatabaseUnavailable("the storage's URL must be sqlite:///FILE or postgresql://USER@HOST/DATABASE")
        try:
            from mtls_as.storage.postgresql import PostgreSQL
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            message = "PostgreSQL needs a driver that is not installed: pip install 'mtls-as[server,postgresql]'"
            raise DatabaseUnavailable(message) from None
        return PostgreSQL.of(url, settings)

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for messages: without user and password."""

    @abstractmethod
    def create(self) -> None:
        """Make an empty database if there is none, where that is this program's to do. Raises `DatabaseUnavailable`."""

    @abstractmethod
    def is_made(self) -> bool:
        """Whether something is there that may hold keys. Raises `DatabaseUnavailable` if nobody can tell."""

    @abstractmethod
    def run(self, work: Callable[[Connection], _T], *, writes: bool) -> _T:
        """The short work of setting up, in one transaction; who writes waits for others that set up at the same time.

        It blocks, also on an event loop. Raises what the work raises, and `DatabaseUnavailable`.
        """

    @abstractmethod
    def async_engine(self) -> AsyncEngine:
        """For the server; the caller disposes of it on the loop that used it."""

    @abstractmethod
    def explaining_errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn what the driver raises into `DatabaseUnavailable`. Violated constraints pass as they are."""

    @abstractmethod
    async def take_turn(self, connection: AsyncConnection, name: str) -> None:
        """Let the transactions that name the same thing come one by one; each sees what those before it wrote."""

    @abstractmethod
    async def notify(self, connection: AsyncConnection) -> None:
        """Tell every node that something has changed, as soon as the transaction is committed."""

    @abstractmethod
    def notices(self) -> Notices:
        """What `notify` tells, and nothing where a kind of database cannot tell. To be closed."""

    @abstractmethod
    def backup(self, file: Path) -> None:
        """Write all that is committed now into a new file of mode 0600. Raises `BackupImpossible`."""
