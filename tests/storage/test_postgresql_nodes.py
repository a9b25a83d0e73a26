"""Nodes on one PostgreSQL: those that write at the same time, and those that hear of it."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import delete, insert, select

from mtls_as.server.revocation import Revocation
from mtls_as.storage import Storage
from mtls_as.storage.errors import DatabaseConflict
from mtls_as.storage.revocations import add_revocation
from mtls_as.storage.schema import revocations, used_once
from mtls_as.storage.used_once import _hash
from tests.postgresql import PostgreSQL
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client


@pytest.fixture
def url(postgresql_url: str) -> str:
    """A database of the kind that is tested here."""
    return postgresql_url


async def test_a_use_waits_for_another_that_is_not_committed(url: str) -> None:
    """Whoever comes second learns whether the first was: never do two win, never neither."""
    async with opened(url) as one, opened(url) as other:
        for commits in (True, False):
            key = f"key-{commits}"
            with contextlib.suppress(RuntimeError):
                async with one._transactions.write_quietly() as connection:
                    await connection.execute(insert(used_once).values(key_hash=_hash(key), until=9.0))
                    second = asyncio.create_task(other.used_once.use(key, 9.0))
                    await asyncio.sleep(0.1)
                    assert not second.done()
                    if not commits:
                        raise RuntimeError
            assert await second is not commits
            assert await one.used_once.use(key, 9.0) is False


async def test_a_revocation_that_is_being_pruned_is_stored_anew(url: str) -> None:
    """What was read as there must still be there when it is written to."""
    async with opened(url) as node, opened(url) as other:
        await node.revocations.add(Revocation.of_client("c1", before=1.0))
        async with other._transactions.write_quietly() as connection:
            await connection.execute(delete(revocations))
            prolonging = asyncio.create_task(node.revocations.add(Revocation.of_client("c1", before=100_000.0)))
            await asyncio.sleep(0.2)
            assert not prolonging.done()
        await prolonging
        _, found = await other.revocations.since(-1)
        assert [revocation.issued_before for revocation in found] == [100_000.0]


async def test_no_revocation_of_a_slow_writer_is_missed(url: str) -> None:
    """A node that follows while others write, each as slowly as it likes, has heard of all at the end."""
    async with opened(url) as slow, opened(url) as fast, opened(url) as follower:
        heard: set[str] = set()
        known, stop = -1, asyncio.Event()

        async def follow() -> None:
            nonlocal known
            while True:
                is_last = stop.is_set()
                known, found = await follower.revocations.since(known)
                heard.update(revocation.value for revocation in found)
                if is_last:
                    return

        async def write_slowly(name: str) -> None:
            async with slow._transactions.write(client_id=None) as connection:
                await asyncio.sleep(0.01)
                await add_revocation(connection, Revocation.of_client(name, before=1.0))
                await asyncio.sleep(0.01)

        following = asyncio.create_task(follow())
        slowly = (write_slowly(f"s{n}") for n in range(15))
        await asyncio.gather(
            *slowly, *(fast.revocations.add(Revocation.of_client(f"f{n}", before=1.0)) for n in range(15))
        )
        stop.set()
        await following
    assert heard == {f"{kind}{n}" for kind in "sf" for n in range(15)}


async def test_a_deadlock_is_tried_again(url: str) -> None:
    """Of two transactions that wait for each other the database undoes one."""
    async with opened(url) as one, opened(url) as other:
        for name in "ab":
            await one.revocations.add(Revocation.of_client(name, before=1.0))
        met = asyncio.Barrier(2)
        attempts: list[str] = []

        def crossing(storage: Storage, names: str) -> Callable[[], Any]:
            async def work() -> None:
                attempts.append(names)
                async with storage._transactions.write_quietly() as connection:
                    for name in names:
                        locked = select(revocations).where(revocations.c.value == name).with_for_update()
                        await connection.execute(locked)
                        if len(attempts) == 2 and name == names[0]:
                            await met.wait()

            async def first() -> None:
                await work()

            return first

        async def cross(storage: Storage, names: str) -> None:
            await storage._transactions.repeated(crossing(storage, names))

        await asyncio.gather(cross(one, "ab"), cross(other, "ba"))
        assert len(attempts) == 3


async def test_what_stays_in_the_way_is_told(url: str) -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        raise DatabaseConflict("in the way")

    async with opened(url) as storage:
        with pytest.raises(DatabaseConflict):
            await storage._transactions.repeated(work)
    assert len(tries) == 4


async def test_a_notice_comes_with_the_commit(url: str) -> None:
    """And not before, nor after a transaction that is undone, nor for what no node keeps in memory."""
    async with opened(url) as writer, opened(url) as node:
        assert await node.wait_for_change(5.0) is True, "whatever was written before it listened"
        waiting = asyncio.create_task(node.wait_for_change(5.0))
        async with writer._transactions.write(client_id=None):
            await asyncio.sleep(0.1)
            assert not waiting.done()
        started = time.monotonic()
        assert await waiting is True
        assert time.monotonic() - started < 1.0
        with contextlib.suppress(RuntimeError):
            async with writer._transactions.write(client_id=None):
                raise RuntimeError
        await writer.used_once.use("a", 1.0)
        assert await node.wait_for_change(0.2) is False


async def test_who_hears_nothing_still_wakes(url: str) -> None:
    async with opened(url) as node:
        await node.wait_for_change(5.0)
        started = time.monotonic()
        assert await node.wait_for_change(0.1) is False
        assert 0.05 < time.monotonic() - started < 2.0


async def test_a_lost_listener_listens_again(url: str, postgresql: PostgreSQL) -> None:
    """By itself; meanwhile nobody hears, and looks all the same."""
    async with opened(url) as writer, opened(url) as node:
        assert await node.wait_for_change(5.0)
        killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%' AND datname = "
        assert await asyncio.to_thread(postgresql.execute, f"{killed}'{urlsplit(url).path[1:]}'") == "t"
        assert await node.wait_for_change(10.0) is True, "as soon as it listens again: something may have happened"
        await writer.clients.add(client())
        assert await node.wait_for_change(5.0) is True
