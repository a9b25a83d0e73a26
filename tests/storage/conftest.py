"""Storages for the contract suite: every adapter is one parameter of `url`, and passes the same tests."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mtls_as.storage import EncryptionKey, Storage, open_storage, upgrade
from tests.postgresql import PostgreSQL

KEY = EncryptionKey(secret=b"k" * 32, origin="the test's key")


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where there is no table yet, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        with server.database() as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database with the current schema, of each kind."""
    made: str = request.getfixturevalue(f"{request.param}_url")
    return made


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty database with the current schema."""
    url = f"sqlite:///{tmp_path}/test.db"
    upgrade(url)
    return url


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL, postgresql_template: str) -> Iterator[str]:
    """An empty database with the current schema."""
    with postgresql.database(template=postgresql_template) as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSQL) -> Iterator[str]:
    """To be copied, which is faster than all migrations."""
    with postgresql.database() as url:
        upgrade(url)
        yield url


@pytest.fixture
async def storage(url: str, clock: Clock) -> AsyncIterator[Storage]:
    """An open storage."""
    async with opened(url, clock=clock) as storage:
        yield storage


@contextlib.asynccontextmanager
async def opened(
    url: str, *, key: EncryptionKey = KEY, clock: Clock | None = None, busy_timeout: float = 5.0
) -> AsyncIterator[Storage]:
    """A storage, closed at the end."""
    storage = open_storage(url, encryption_key=key, clock=clock or Clock(), busy_timeout=busy_timeout)
    try:
        yield storage
    finally:
        await storage.close()
