"""Nobody reads the event log: the node serves on, tells how much was lost, and ends when it is told to."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from mtls_as.observability.event_log import CAPACITY
from tests.faults.site import Place, Site
from tests.faults.traffic import Ledger, NoAnswer, Users

pytestmark = pytest.mark.slow

FLOOD = CAPACITY + 2_000
_AT_ONCE = 50
_REQUEST = (
    b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 12\r\n\r\ngrant_type=x"
)


async def test_a_log_that_nobody_reads_delays_nobody(tmp_path: Path) -> None:
    """A pipe as `mtls-as serve | reader` makes it, whose reader hangs; more events than may wait."""
    site = await asyncio.to_thread(lambda: Site(tmp_path))
    place, ledger = site.node(0), Ledger()
    reading, writing = os.pipe()
    with (tmp_path / "errors").open("wb") as errors:
        command = (sys.executable, "-m", "mtls_as.cli", "serve", "--config", str(place.config))
        node = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=errors)
    os.close(writing)
    try:
        await _answers(site, place)
        async with Users(site, place.url, ledger) as users:
            await _flood(site, place)
            for _ in range(50):
                await users.fetch()
        assert ledger.faults == []
        assert set(ledger.statuses) == {"token 200"}
        assert ledger.slowest < 2
        node.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await node.wait() == 0, (tmp_path / "errors").read_text()
    finally:
        os.close(reading)
        if node.returncode is None:
            node.kill()
            await node.wait()


async def test_a_reader_that_comes_back_is_told_what_it_missed(tmp_path: Path) -> None:
    """The number of lost events goes to standard error; no line of the log is torn."""
    site = await asyncio.to_thread(lambda: Site(tmp_path))
    place = site.node(0)
    reading, writing = os.pipe()
    errors = tmp_path / "errors"
    with errors.open("wb") as stderr:
        command = (sys.executable, "-m", "mtls_as.cli", "serve", "--config", str(place.config))
        node = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=stderr)
    os.close(writing)
    try:
        await _answers(site, place)
        await _flood(site, place)
        read = asyncio.create_task(asyncio.to_thread(_read_all, reading))
        await asyncio.sleep(1)
        await _flood(site, place, requests=_AT_ONCE)
        node.send_signal(signal.SIGTERM)
        assert await node.wait() == 0, errors.read_text()
        lines = (await read).splitlines()
        assert len(lines) >= CAPACITY
        assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines)
        assert "events were lost" in errors.read_text()
    finally:
        os.close(reading)
        if node.returncode is None:
            node.kill()
            await node.wait()


async def _answers(site: Site, place: Place) -> None:
    async with Users(site, place.url, Ledger()) as users, asyncio.timeout(60):
        while True:
            with contextlib.suppress(NoAnswer):
                await users.fetch()
                return
            await asyncio.sleep(0.05)


async def _flood(site: Site, place: Place, *, requests: int = FLOOD) -> None:
    """So many requests that are refused, each of which is an event."""
    context = site.context(None)
    reader, writer = await asyncio.open_connection("localhost", place.port, ssl=context)
    for _ in range(requests // _AT_ONCE):
        writer.write(_REQUEST * _AT_ONCE)
        for _ in range(_AT_ONCE):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 "), head
            [length] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()


def _read_all(pipe: int) -> bytes:
    read = bytearray()
    while data := os.read(pipe, 65_536):
        read += data
    return bytes(read)
