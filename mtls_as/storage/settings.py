"""How the database is reached, beside its URL."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """All times are in seconds. SQLite knows `lock_timeout` alone."""

    password_file: Path | None = None
    """Holds the password of the URL's user, on its first line; only its owner may read it."""
    pool_size: int = 5
    """Connections of one process, beside the one that hears of changes."""
    connect_timeout: float = 5.0
    """To connect, and to wait for a connection of the pool."""
    statement_timeout: float = 10.0
    lock_timeout: float = 5.0
    """To wait for another process that is writing."""
    idle_in_transaction_timeout: float = 10.0
    """After which the database ends the transaction of a process that was stopped, or whose network is gone."""
