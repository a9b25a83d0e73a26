"""The database goes away under a node: known clients go on for a while, all else waits, and nothing is lost."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.site import Place, Site, log_lines
from tests.faults.traffic import WORK, Ledger, Refused, Users, find_forgotten, work
from tests.faults.zygote import Child, Zygote
from tests.postgresql import PostgreSQL, _children, running_postgresql

pytestmark = pytest.mark.slow

BOUND = 8.0
"""Seconds within which every request has its answer, also of a database that hangs."""
QUICK = 2.0
"""Seconds within which a request has it that needs no database, on a machine with much else to do."""
NEEDS_THE_DATABASE: tuple[Callable[[Users], Awaitable[Any]], ...] = (
    Users.fetch_opaque,
    Users.fetch_with_assertion,
    Users.register,
    Users.revoke,
)


class Away:
    """Ways for the database to go away, and back."""

    def __init__(self, server: PostgreSQL, how: str) -> None:
        self._server = server
        self._how = how

    def go(self) -> None:
        match self._how:
            case "stopped":
                self._server.stop()
            case "killed":
                self._server.kill()
            case _:
                self._send(signal.SIGSTOP)

    def come_back(self) -> None:
        if self._how == "paused":
            self._send(signal.SIGCONT)
        elif not self._server.runs:
            self._server.start()

    def _send(self, number: signal.Signals) -> None:
        process = self._server._process
        assert process is not None
        for pid in (process.pid, *_children(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@dataclass
class Scene:
    """A node that serves, and has seen its clients."""

    site: Site
    place: Place
    child: Child
    users: Users
    ledger: Ledger


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """One that these tests stop and kill."""
    with running_postgresql() as server:
        yield server


@contextlib.asynccontextmanager
async def scene(folder: Path, zygote: Zygote, url: str, *, tolerated_outage: int) -> AsyncIterator[Scene]:
    site = await asyncio.to_thread(
        Site, folder, storage_url=url, storage_options=f"tolerated_outage = {tolerated_outage}"
    )
    place, ledger = site.node(0), Ledger()
    with place.running(zygote) as child:
        async with Users(site, place.url, ledger) as users:
            await users.fetch("stored")
            for each in WORK:
                await each(users)
            yield Scene(site, place, child, users, ledger)
    assert ledger.faults == []
    assert ledger.slowest < BOUND


async def status(request: Awaitable[Any]) -> int:
    """Of an answer; 200 for every good one."""
    try:
        await request
    except Refused as error:
        return error.status
    return 200


async def within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 # another process tells nobody
            await asyncio.sleep(0.05)


def said(child: Child, text: str) -> int:
    """How many lines of the log have this text."""
    return sum(text in line for line in log_lines(child.log))


@pytest.mark.parametrize("how", ["stopped", "killed", "paused"])
async def test_known_clients_go_on_and_all_else_waits(
    tmp_path: Path, zygote: Zygote, server: PostgreSQL, how: str
) -> None:
    """Nothing is half acknowledged, nobody waits for another's stalled request, and the return is noticed soon."""
    with server.database() as url:
        async with scene(tmp_path, zygote, url, tolerated_outage=300) as at:
            users, away = at.users, Away(server, how)
            token, revoked = await users.fetch(), at.ledger.revoked[-1]
            away.go()
            try:
                waiting = [asyncio.create_task(status(each(users))) for each in NEEDS_THE_DATABASE]
                waiting.append(asyncio.create_task(status(users.fetch("never-seen"))))
                until = time.monotonic() + BOUND
                while time.monotonic() < until:
                    started = time.monotonic()
                    await users.fetch("stored")
                    await users.fetch("c1")
                    assert time.monotonic() - started < QUICK
                    await asyncio.sleep(0.1)
                assert await asyncio.gather(*waiting) == [503] * len(waiting)
                assert await status(users.is_active(token)) == 503
                assert await status(users.is_active(revoked)) == 503
                ready = await asyncio.to_thread(at.place.ready)
                assert ready.status_code == 200
                assert "clients that are known here get tokens for another" in ready.text
                assert await asyncio.to_thread(at.place.metric, "mtls_as_storage_silence_seconds") > 3
            finally:
                await asyncio.to_thread(away.come_back)
            started = time.monotonic()

            async def all_is_well() -> bool:
                return {await status(each(users)) for each in WORK} == {200}

            await within(5, all_is_well)
            print(f"{how}: all is well {time.monotonic() - started:.1f} s after the database came back")  # noqa: T201 # seen with -s
            assert await users.is_active(token)
            assert await find_forgotten(users) == []

            async def has_said_so() -> bool:
                return said(at.child, "the storage answers again") == 1

            await within(3, has_said_so)
            assert said(at.child, "the storage does not answer") == 1


@pytest.mark.parametrize("how", ["stopped", "paused"])
async def test_after_the_tolerated_time_nobody_gets_a_token(
    tmp_path: Path, zygote: Zygote, server: PostgreSQL, how: str
) -> None:
    """Declared clients neither: nobody knows whether the key that signs was withdrawn."""
    with server.database() as url:
        async with scene(tmp_path, zygote, url, tolerated_outage=6) as at:
            away = Away(server, how)
            away.go()
            try:
                assert await status(at.users.fetch("stored")) == 200
                await asyncio.sleep(6.5)
                assert await status(at.users.fetch("stored")) == 503
                assert await status(at.users.fetch("c1")) == 503
                assert (await asyncio.to_thread(at.place.ready)).status_code == 503

                async def has_said_so() -> bool:
                    return said(at.child, "no more tokens are issued") == 1

                await within(BOUND, has_said_so)
            finally:
                await asyncio.to_thread(away.come_back)

            async def is_back() -> bool:
                return await status(at.users.fetch("stored")) == 200

            await within(3, is_back)


async def test_a_change_that_was_heard_is_not_forgotten_in_the_outage(
    tmp_path: Path, zygote: Zygote, server: PostgreSQL
) -> None:
    """A client that was disabled gets nothing, though the database went away right after; the others go on."""
    with server.database() as url:
        async with scene(tmp_path, zygote, url, tolerated_outage=300) as at:
            async with at.site.storage() as storage:
                await storage.clients.set_enabled("stored", enabled=False)
            await asyncio.sleep(1.5)
            server.stop()
            try:
                assert await status(at.users.fetch("stored")) in {401, 503}
                assert await status(at.users.fetch("c1")) == 200
                client_id = at.ledger.registered[-1][0]
                assert await status(at.users.fetch(client_id)) == 503  # it was never asked for here
            finally:
                await asyncio.to_thread(server.start)


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_a_node_does_not_start_without_its_database(
    tmp_path: Path, zygote: Zygote, server: PostgreSQL, how: str
) -> None:
    """It says why and ends with status 1, soon: whoever supervises it tries again."""
    with server.database() as url:
        site = Site(tmp_path, storage_url=url)
        away = Away(server, how)
        away.go()
        try:
            started = time.monotonic()
            child = site.node(0).start(zygote)
            assert child.wait_at_most(20) == 1
            assert time.monotonic() - started < 12
            [line] = log_lines(child.log)
            assert line.startswith("mtls-as: ")
            assert "database" in line
        finally:
            away.come_back()


async def test_the_database_comes_and_goes_under_load(tmp_path: Path, zygote: Zygote, server: PostgreSQL) -> None:
    """Every way there is, again and again: clean errors, nothing forgotten, no wrong yes."""
    with server.database() as url:
        async with scene(tmp_path, zygote, url, tolerated_outage=300) as at:
            end = asyncio.Event()
            randomness = random.Random(5)
            workers = [asyncio.create_task(work(at.users, random.Random(n), end)) for n in range(6)]
            for how in ("stopped", "paused", "killed", "paused", "stopped"):
                away = Away(server, how)
                await asyncio.sleep(randomness.uniform(0.3, 1.5))
                await asyncio.to_thread(away.go)
                await asyncio.sleep(randomness.uniform(0.5, 4))
                await asyncio.to_thread(away.come_back)
            await asyncio.sleep(2)
            end.set()
            await asyncio.gather(*workers)
            await asyncio.to_thread(at.place.wait_until_ready, at.child)
            assert await find_forgotten(at.users) == []
            print(at.ledger.facts(), dict(at.ledger.statuses))  # noqa: T201 # seen with -s
            assert not any("500" in kind for kind in at.ledger.statuses)


async def test_somebody_who_holds_sqlites_lock_stops_writers_alone(tmp_path: Path, zygote: Zygote) -> None:
    """They wait for a few seconds and get 503; whoever only reads is not kept."""
    async with scene(tmp_path, zygote, "sqlite:///test.db", tolerated_outage=0) as at:
        token = await at.users.fetch()
        holder = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            waiting = [asyncio.create_task(status(each(at.users))) for each in NEEDS_THE_DATABASE for _ in range(8)]
            until = time.monotonic() + BOUND
            while time.monotonic() < until:
                started = time.monotonic()
                await at.users.fetch("stored")
                assert await at.users.is_active(token)
                assert time.monotonic() - started < QUICK
                await asyncio.sleep(0.2)
            assert await asyncio.gather(*waiting) == [503] * len(waiting)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        assert {await status(each(at.users)) for each in WORK} == {200}
