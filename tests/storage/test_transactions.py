"""Transactions: the contract that every adapter keeps."""

import asyncio
import threading

import pytest

from mtls_as.storage import Storage, open_storage
from tests.storage.conftest import KEY, Clock, opened
from tests.storage.test_client_repository import client


async def test_every_write_moves_the_revision_on(url: str) -> None:
    """So that other nodes notice; reading does not."""
    async with opened(url) as writer, opened(url) as reader:
        seen = [await reader.revision()]
        await writer.clients.add(client())
        seen.append(await reader.revision())
        await writer.clients.set_enabled("reports", False)
        seen.append(await reader.revision())
        await reader.clients.list()
        await reader.signing_keys.all()
        seen.append(await reader.revision())
    assert seen == [0, 1, 2, 2]


async def test_what_one_writes_the_other_reads(url: str) -> None:
    """As soon as it is acknowledged."""
    async with opened(url) as writer, opened(url) as reader:
        assert await reader.clients.find("reports") is None
        await writer.clients.add(client())
        assert await reader.clients.find("reports") == client()


async def test_a_failed_write_leaves_nothing(storage: Storage) -> None:
    """All or nothing."""

    async def fail() -> None:
        async with storage._transactions.write(client_id=None) as connection:
            await connection.exec_driver_sql("DELETE FROM revision")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await storage.revision() == 0


async def test_a_cancelled_write_leaves_nothing_and_lets_others_write(url: str) -> None:
    """A client that hangs up does not leave a lock behind."""
    async with opened(url, busy_timeout=0.5) as storage, opened(url, busy_timeout=0.5) as other:
        began = asyncio.Event()

        async def write() -> None:
            async with storage._transactions.write(client_id=None):
                began.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other.clients.add(client())
        assert await storage.revision() == 1


async def test_closing_leaves_no_thread_behind(url: str) -> None:
    """Neither at the end of a command, nor at the end of a server."""
    before = set(threading.enumerate())
    storage = open_storage(url, encryption_key=KEY, clock=Clock())
    await asyncio.gather(*(storage.revision() for _ in range(5)))
    assert set(threading.enumerate()) - before or not url.startswith("sqlite")
    await storage.close()
    await asyncio.sleep(0.05)
    assert not {thread for thread in threading.enumerate() if thread.is_alive()} - before


async def test_many_readers_and_writers_at_once(storage: Storage) -> None:
    """More of them than there are connections."""
    await asyncio.gather(
        *(storage.clients.add(client(f"c{n}")) for n in range(20)), *(storage.clients.list() for _ in range(20))
    )
    assert len(await storage.clients.list()) == 20
    assert await storage.revision() == 20
