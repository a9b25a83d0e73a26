"""Transactions: the contract that every adapter keeps."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mtls_as.storage import Storage, open_storage
from mtls_as.storage.schema import seen_certificates
from mtls_as.storage.settings import DatabaseSettings
from tests.storage.conftest import KEY, Clock, opened
from tests.storage.test_client_repository import client
from tests.storage.test_seen_certificates import use

Work = Callable[[Storage, int], Coroutine[Any, Any, None]]


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


WAITING_WRITES = {
    "of clients": lambda storage, number: storage.clients.add(client(f"w{number}")),
    "of certificates": lambda storage, number: storage.seen_certificates.record([use(f"{number:02}x")]),
}


@pytest.mark.parametrize("write", WAITING_WRITES.values(), ids=WAITING_WRITES)
async def test_writers_that_wait_keep_no_reader_waiting(url: str, write: Work) -> None:
    """However many they are: while another node has its turn, one of them alone has a connection."""
    settings = DatabaseSettings(pool_size=2, connect_timeout=1.0, lock_timeout=20.0)
    async with opened(url) as other:
        storage = open_storage(url, encryption_key=KEY, clock=Clock(), settings=settings)
        async with (
            other._transactions.write(client_id=None),
            other._transactions.write_quietly(turn=seen_certificates.name)
            if url.startswith("postgresql")
            else contextlib.nullcontext(),
        ):
            writing = [asyncio.create_task(write(storage, number)) for number in range(30)]
            await asyncio.sleep(0.3)
            assert await asyncio.gather(*(storage.clients.find("reports") for _ in range(30))) == [None] * 30
            assert not any(each.done() for each in writing)
        await asyncio.gather(*writing)
        assert len(await storage.clients.list()) + len(await storage.seen_certificates.list()) == 30
        await storage.close()
