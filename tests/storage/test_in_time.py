"""A database that hangs: each call ends in time, and holds up no other."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mtls_as.storage import DatabaseUnavailable, Storage, open_storage, upgrade
from mtls_as.storage.in_time import TimeLimit
from tests.storage.conftest import KEY, Clock

SECONDS = 0.2
WAIT = 3.0
"""How long the driver itself would wait."""


@pytest.fixture
async def hanging(tmp_path: Path) -> AsyncIterator[tuple[Storage, sqlite3.Connection]]:
    """A storage that cannot write, and what keeps it from that."""
    url = f"sqlite:///{tmp_path}/test.db"
    upgrade(url)
    storage = open_storage(url, encryption_key=KEY, clock=Clock(), busy_timeout=WAIT, seconds=SECONDS)
    holder = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield storage, holder
    finally:
        holder.close()
        await storage.close()


async def test_a_call_ends_in_time(hanging: tuple[Storage, sqlite3.Connection]) -> None:
    """Although the driver goes on waiting, and cannot be stopped."""
    storage, holder = hanging
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match=r"does not answer within 0.2 seconds"):
        await storage.used_once.use("a", 2_000.0)
    assert time.monotonic() - started < WAIT / 2
    assert await storage.revision() == 0
    holder.execute("ROLLBACK")
    assert await storage.used_once.use("b", 2_000.0)


async def test_many_calls_end_in_time_together(hanging: tuple[Storage, sqlite3.Connection]) -> None:
    """More of them than there are connections: the last does not wait for the first."""
    storage, _ = hanging
    started = time.monotonic()
    calls = (storage.used_once.use(f"{number}", 2_000.0) for number in range(40))
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - started < WAIT / 2
    assert {type(each) for each in found} == {DatabaseUnavailable}


async def test_writers_that_wait_keep_no_reader_waiting(hanging: tuple[Storage, sqlite3.Connection]) -> None:
    """However many they are: they take no connection as long as it is not their turn."""
    storage, _ = hanging
    writing = [asyncio.create_task(storage.used_once.use(f"{number}", 2_000.0)) for number in range(40)]
    await asyncio.sleep(SECONDS / 4)
    assert await storage.revision() == 0
    await asyncio.gather(*writing, return_exceptions=True)
    assert await storage.revision() == 0


async def test_a_call_that_is_cancelled_ends_at_once(hanging: tuple[Storage, sqlite3.Connection]) -> None:
    storage, _ = hanging
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SECONDS / 4):
            await storage.used_once.use("a", 2_000.0)
    assert time.monotonic() - started < SECONDS


async def test_without_a_limit_a_call_takes_as_long_as_it_takes() -> None:
    assert await TimeLimit(None).run(asyncio.sleep(0.01, "done")) == "done"


async def test_what_a_call_raises_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await TimeLimit(1.0).run(fail())
