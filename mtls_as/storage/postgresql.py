"""PostgreSQL, for any number of nodes; through asyncpg alone."""

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import asyncpg  # type: ignore[import-untyped] # it comes without types
from sqlalchemy import Connection, event, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from mtls_as.server.private_files import is_private
from mtls_as.storage.backup import BackupImpossible, new_file
from mtls_as.storage.engine import Database
from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.postgresql_errors import explain_error
from mtls_as.storage.postgresql_notices import CHANNEL, PostgreSQLNotices
from mtls_as.storage.postgresql_url import PostgreSQLAddress, PostgreSQLURLError, parse_postgresql_url
from mtls_as.storage.settings import DatabaseSettings

_T = TypeVar("_T")

_LOCK_CLASS: Final = 0x6D746C73
"""Of our advisory locks, apart from those of other programs in the same database: "mtls"."""
_SET_UP_SECONDS: Final = 600.0
"""How long to wait for another node that brings the schema up to date."""
_ANSWER_SECONDS: Final = 2.0
"""Beyond its own time-out, after which a server that says nothing is given up."""
_MAX_CONNECTION_SECONDS: Final = 1800
_MAX_PASSWORD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgreSQL(Database):
    """A database of a server. The isolation is READ COMMITTED, with locks where the order of writers counts."""

    reading: ClassVar[Mapping[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    # Each statement sees what was committed before it: so the one behind a lock sees what its last holder wrote.
    writing: ClassVar[Mapping[str, Any]] = {"isolation_level": "READ COMMITTED"}

    address: PostgreSQLAddress
    settings: DatabaseSettings

    @classmethod
    def of(cls, url: str, settings: DatabaseSettings) -> "PostgreSQL":
        try:
            return cls(address=parse_postgresql_url(url), settings=settings)
        except PostgreSQLURLError as error:
            raise DatabaseUnavailable(f"the storage's URL {error}") from None

    @property
    def place(self) -> str:
        return str(self.address)

    def create(self) -> None:
        """That is for the administrator of the server, who gives it an owner."""

    def is_made(self) -> bool:
        return self.run(lambda connection: bool(inspect(connection).get_table_names()), writes=False)

    def run(self, work: Callable[[Connection], _T], *, writes: bool) -> _T:
        # On a thread, since there may be an event loop here, and on a loop of its own there.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(self._run(work, writes=writes))).result()

    def async_engine(self) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            hide_parameters=True,
            pool_size=self.settings.pool_size,
            max_overflow=0,
            pool_timeout=self.settings.connect_timeout,
            pool_recycle=_MAX_CONNECTION_SECONDS,
        )

        @event.listens_for(engine.sync_engine, "checkout")
        def replace_lost(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 - the driver's own
            if connection.driver_connection.is_closed():  # as after the server was started again
                raise DisconnectionError

        return engine

    @contextlib.contextmanager
    def explaining_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except PoolTimeout:
            raise DatabaseUnavailable(f"{self.place}: every connection is in use") from None
        except (DBAPIError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise explain_error(self.place, error) from None

    async def take_turn(self, connection: AsyncConnection, name: str) -> None:
        await connection.execute(select(func.pg_advisory_xact_lock(_LOCK_CLASS, func.hashtext(name))))

    async def notify(self, connection: AsyncConnection) -> None:
        await connection.execute(select(func.pg_notify(CHANNEL, "")))

    def notices(self) -> PostgreSQLNotices:
        return PostgreSQLNotices(self._connect)

    def backup(self, file: Path) -> None:
        """By `pg_dump`, in its custom format: one consistent view, and other processes go on meanwhile."""
        program = shutil.which("pg_dump")
        if program is None:
            raise BackupImpossible("a backup of PostgreSQL needs the program pg_dump, of its client package")
        command = [program, "--format=custom", "--no-password", "--dbname", self._pg_dump_address()]
        password = self._password()
        environment = os.environ | ({} if password is None else {"PGPASSWORD": password})
        with new_file(file) as descriptor:
            done = subprocess.run(  # noqa: S603 - no shell, and nothing in the command comes from outside
                command, env=environment, stdout=descriptor, stderr=subprocess.PIPE, check=False
            )
            if done.returncode != 0:
                reason = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
                raise BackupImpossible(f"{self.place}: pg_dump failed: {reason[:500]}")

    async def _run(self, work: Callable[[Connection], _T], *, writes: bool) -> _T:
        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=self._connect_to_set_up, poolclass=NullPool, hide_parameters=True
        )
        try:
            with self.explaining_errors():
                async with engine.begin() as connection:
                    if writes:
                        await self._take_set_up_turn(connection)
                    return await connection.run_sync(work)
        finally:
            await engine.dispose()

    async def _take_set_up_turn(self, connection: AsyncConnection) -> None:
        await connection.execute(text(f"SET LOCAL lock_timeout = {_milliseconds(_SET_UP_SECONDS)}"))
        await self.take_turn(connection, "set up")
        # But no table is waited for so long: whoever comes behind a waiting migration would wait with it.
        await connection.execute(text(f"SET LOCAL lock_timeout = {_milliseconds(self.settings.lock_timeout)}"))

    async def _connect(self) -> Any:  # noqa: ANN401 - the driver has no types
        timeout = self.settings.statement_timeout
        return await self._open(statement_timeout=timeout, command_timeout=timeout + _ANSWER_SECONDS)

    async def _connect_to_set_up(self) -> Any:  # noqa: ANN401 - the driver has no types
        """A migration takes as long as it takes."""
        return await self._open(statement_timeout=0, command_timeout=None)

    async def _open(self, *, statement_timeout: float, command_timeout: float | None) -> Any:  # noqa: ANN401 - as above
        address, settings = self.address, self.settings
        session = {
            "application_name": "mtls-as",
            "default_transaction_isolation": "read committed",
            "synchronous_commit": "on",  # a write that was acknowledged survives a power failure
            "statement_timeout": _milliseconds(statement_timeout),
            "lock_timeout": _milliseconds(settings.lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(settings.idle_in_transaction_timeout),
        }
        with self.explaining_errors():
            return await asyncpg.connect(
                host=[host for host, _ in address.hosts],
                port=[port for _, port in address.hosts],
                user=address.user,
                password=self._password(),
                database=address.database,
                ssl=self._ssl_context() or False,
                target_session_attrs=address.session,
                timeout=settings.connect_timeout,
                command_timeout=command_timeout,
                server_settings=session,
            )

    def _ssl_context(self) -> ssl.SSLContext | None:
        try:
            return self.address.ssl_context()
        except OSError as error:
            reason = error.strerror or "they are no PEM files, or do not fit"
            raise DatabaseUnavailable(
                f"{self.place}: sslrootcert, sslcert or sslkey cannot be used: {reason}"
            ) from None

    def _password(self) -> str | None:
        """That of the URL, or of the file; None leaves it to PGPASSWORD and PGPASSFILE, which the driver knows."""
        file = self.settings.password_file
        if self.address.password is not None or file is None:
            return self.address.password
        try:
            with file.open("rb") as stream:
                if not is_private(os.fstat(stream.fileno())):
                    raise DatabaseUnavailable(f"{file}: others may read the password; forbid it with: chmod 600 {file}")
                lines = stream.read(_MAX_PASSWORD_BYTES).decode().splitlines()
        except OSError as error:
            raise DatabaseUnavailable(f"{file}: the password cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise DatabaseUnavailable(f"{file}: the password is not UTF-8") from None
        if not lines or not lines[0]:
            raise DatabaseUnavailable(f"{file}: the first line must be the password")
        return lines[0]

    def _pg_dump_address(self) -> str:
        """A connection string of libpq without the password."""
        address = self.address
        values = {
            "host": ",".join(host for host, _ in address.hosts),
            "port": ",".join(str(port) for _, port in address.hosts),
            "user": address.user,
            "dbname": address.database,
            "sslmode": address.tls_mode,
            "sslrootcert": address.root_certificates or _system_certificates(address.tls_mode),
            "sslcert": address.certificate,
            "sslkey": address.private_key,
            "connect_timeout": max(2, round(self.settings.connect_timeout)),
            "application_name": "mtls-as backup",
        }
        return " ".join(f"{name}={_quoted(str(value))}" for name, value in values.items() if value is not None)


def _system_certificates(tls_mode: str) -> str | None:
    """The file of the system's CAs, which libpq takes only if it is told."""
    return ssl.get_default_verify_paths().cafile if tls_mode.startswith("verify") else None


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
