"""Each time-out ends what it should, is not extended by a trickle of bytes, and leaves others alone."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from mtls_as.tls import Timeouts
from tests.authority import Authority
from tests.tls.apps import answer, count, http, read_body
from tests.tls.peers import QUICK, Client, HTTP2Client, serving

CA = Authority.create("Client CA")
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200


async def drip(connection: Client, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        for byte in data:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.03)


async def seconds_until_closed(connection: Client) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await connection.closed() == b""
    return loop.time() - begun


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_first_request_that_does_not_come(tmp_path: Path, sent: bytes) -> None:
    """Connected and silent, or stuck in the head: closed after the time for a head."""
    async with serving(count, tmp_path, timeouts=QUICK) as server, await server.connect() as connection:
        await connection.send(sent)
        assert 0.3 < await seconds_until_closed(connection) < QUICK.request_head + 0.4


async def test_a_head_that_drips(tmp_path: Path) -> None:
    """The time for a head is a total: a byte now and then does not extend it."""
    async with serving(count, tmp_path, timeouts=QUICK) as server, await server.connect() as connection:
        dripping = asyncio.create_task(drip(connection, HEAD))
        assert await seconds_until_closed(connection) < QUICK.request_head + 0.4
        dripping.cancel()


async def test_the_head_of_a_further_request_that_drips(tmp_path: Path) -> None:
    """On a kept-alive connection the time runs from the first byte of the next request."""
    timeouts = Timeouts(handshake=2, request_head=0.4, idle=5, shutdown=1)
    async with serving(count, tmp_path, timeouts=timeouts) as server, await server.connect() as connection:
        assert (await connection.get()).status == 200
        await asyncio.sleep(0.6)  # idle for longer than a head may take
        dripping = asyncio.create_task(drip(connection, HEAD))
        assert await seconds_until_closed(connection) < 1.0
        dripping.cancel()


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_an_idle_connection_is_closed(tmp_path: Path, protocol: str) -> None:
    """Kept alive for the idle time after an answer, and no longer."""
    async with serving(count, tmp_path, timeouts=QUICK) as server:
        if protocol == "h2":
            async with await HTTP2Client.open(server) as http2:
                assert (await http2.get()).status == 200
                async with asyncio.timeout(QUICK.idle + 0.5):
                    while await http2.receive():
                        pass
                assert http2.terminated is not None
                assert http2.terminated.error_code == 0
        else:
            async with await server.connect() as connection:
                assert (await connection.get()).status == 200
                assert 0.3 < await seconds_until_closed(connection) < QUICK.idle + 0.5


async def test_pings_do_not_keep_an_idle_connection(tmp_path: Path) -> None:
    """HTTP/2: only requests count."""
    async with serving(count, tmp_path, timeouts=QUICK) as server, await HTTP2Client.open(server) as http2:
        assert (await http2.get()).status == 200

        async def ping() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    http2.connection.ping(b"12345678")
                    await http2.flush()
                    await asyncio.sleep(0.1)

        pinging = asyncio.create_task(ping())
        async with asyncio.timeout(QUICK.idle + 0.8):
            while await http2.receive():
                pass
        pinging.cancel()


async def test_a_request_may_take_longer_than_any_of_them(tmp_path: Path) -> None:
    """An application that thinks for long is waited for, and the connection lives on."""
    async with serving(count, tmp_path, timeouts=QUICK) as server:
        async with await server.connect() as connection:
            assert (await connection.get("/wait/1.5")).status == 200
            assert (await connection.get()).status == 200
        async with await HTTP2Client.open(server) as http2:
            assert (await http2.get("/wait/1.5")).status == 200


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_a_body_that_stops_coming(tmp_path: Path, protocol: str) -> None:
    """An upload that stalls for the idle time is given up; the application hears of it."""
    heard = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(ConnectionError):
            await read_body(receive)
            return
        heard.set()

    async with serving(app, tmp_path, timeouts=QUICK) as server:
        if protocol == "h2":
            http2 = await HTTP2Client.open(server)
            stream = await http2.start("/", method="POST", end=False)
            http2.connection.send_data(stream, b"abc")
            await http2.flush()
            connection = http2.client
        else:
            connection = await server.connect()
            await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        await asyncio.wait_for(heard.wait(), 2 * QUICK.idle + 0.5)
        await connection.close()


async def test_a_slow_but_steady_body_is_waited_for(tmp_path: Path) -> None:
    """Progress within the idle time is enough."""
    async with serving(count, tmp_path, timeouts=QUICK) as server, await server.connect() as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.3)
            await connection.send(b"x")
        assert (await connection.answer()).body == b"6"


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_a_client_that_does_not_read_its_answer(tmp_path: Path, protocol: str) -> None:
    """Sending that makes no progress for the idle time is given up, and the application gets through."""
    ended = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(200):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        ended.set()

    async with serving(app, tmp_path, timeouts=QUICK) as server:
        if protocol == "h2":
            http2 = await HTTP2Client.open(server, window=2**30)
            http2.connection.update_settings({4: 2**30})  # INITIAL_WINDOW_SIZE: only the socket holds the answer up
            await http2.flush()
            await http2.start()
            connection = http2.client
        else:
            connection = await server.connect()
            await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined] # every transport of streams has it
        await asyncio.wait_for(ended.wait(), 10)
        connection.writer.transport.abort()


async def test_a_client_that_never_gives_credit(tmp_path: Path) -> None:
    """HTTP/2 flow control: a client that opens no window is given up as well as one that does not read."""
    ended = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(1_000_000))
        ended.set()

    async with serving(app, tmp_path, timeouts=QUICK) as server, await HTTP2Client.open(server) as http2:
        http2.reads = False
        await http2.start()
        await asyncio.wait_for(ended.wait(), 2 * QUICK.idle + 1)
