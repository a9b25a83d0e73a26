"""`[storage]`: its keys and defaults, and what they mean."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from mtls_as.storage.postgresql_url import PREFIX as POSTGRESQL_PREFIX
from mtls_as.storage.postgresql_url import PostgreSQLURLError, parse_postgresql_url
from mtls_as.storage.settings import DatabaseSettings

SQLITE_PREFIX: Final = "sqlite:///"


def check_storage_url(text: str) -> str | None:
    """A database. The text is not quoted: it may hold a password."""
    if text.startswith(POSTGRESQL_PREFIX):
        try:
            parse_postgresql_url(text)
        except PostgreSQLURLError as error:
            return str(error)
        return None
    name = text.removeprefix(SQLITE_PREFIX)
    if not text.startswith(SQLITE_PREFIX) or not name or not name.isprintable():
        return "must be sqlite:///FILE, with four slashes for an absolute path, or postgresql://USER@HOST/DATABASE"
    if name.startswith((":memory:", "file:")) or "?" in name:
        return "must name a file on disk, without options: workers share it, and a restart must find it again"
    return None


def check_file(text: str) -> str | None:
    """A path."""
    return None if text and text.isprintable() else "must be a text that is not empty"


_Seconds = Annotated[float, Meta(gt=0, le=3600)]


class StorageTable(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are errors."""

    url: Annotated[str, check_storage_url] = "sqlite:///mtls-as.db"
    encryption_key_file: Annotated[str, check_file] = "mtls-as.key"
    tolerated_outage: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    password_file: Annotated[str, check_file] | None = None
    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 5
    connect_timeout: _Seconds = 5.0
    statement_timeout: _Seconds = 10.0
    lock_timeout: _Seconds = 5.0
    idle_in_transaction_timeout: _Seconds = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """The database, and the file of the key that private keys are encrypted with."""

    url: str = field(repr=False)
    """`sqlite:////absolute/file`, or `postgresql://…`, which may hold a password."""
    database: DatabaseSettings
    """How it is reached."""
    encryption_key_file: Path
    tolerated_outage: float
    """Seconds without an answer of the database for which clients that a node knows still get tokens."""
    revocation_folder: Path
    """Where fetched revocation lists are kept: beside the database, or with PostgreSQL beside the storage key."""


def storage_settings(table: StorageTable, folder: Path) -> StorageSettings:
    """With every path resolved."""
    is_file = table.url.startswith(SQLITE_PREFIX)
    file = folder / table.url.removeprefix(SQLITE_PREFIX) if is_file else folder / table.encryption_key_file
    return StorageSettings(
        url=f"{SQLITE_PREFIX}{file}" if is_file else table.url,
        database=DatabaseSettings(
            password_file=None if table.password_file is None else folder / table.password_file,
            pool_size=table.pool_size,
            connect_timeout=table.connect_timeout,
            statement_timeout=table.statement_timeout,
            lock_timeout=table.lock_timeout,
            idle_in_transaction_timeout=table.idle_in_transaction_timeout,
        ),
        encryption_key_file=folder / table.encryption_key_file,
        tolerated_outage=table.tolerated_outage,
        revocation_folder=file.with_suffix(".revocation"),
    )
