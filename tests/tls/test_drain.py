"""Before the stop: the server goes on answering, lets its clients go one by one, and loses no request."""

import asyncio
import socket
from pathlib import Path

import pytest

from mtls_as.tls import Timeouts
from tests.tls.apps import count
from tests.tls.peers import HTTP2Client, serving

DRAINING = Timeouts(handshake=5.0, request_head=5.0, idle=5.0, shutdown=2.0, drain=0.4)


async def test_a_kept_alive_connection_ends_with_its_next_answer(tmp_path: Path) -> None:
    """RFC 9112 §9.6: the client hears that this answer is the last one, and sends nothing in vain."""
    async with serving(count, tmp_path, timeouts=DRAINING) as server:
        connection = await server.connect()
        first = await connection.get()
        assert "connection" not in first.headers
        server.shutdown.set()
        await asyncio.sleep(0.05)
        last = await connection.get()
        assert (last.status, last.headers["connection"]) == (200, "close")
        assert await connection.closed() == b""
        await connection.close()


async def test_an_answer_under_way_is_the_last_of_its_connection(tmp_path: Path) -> None:
    async with serving(count, tmp_path, timeouts=DRAINING) as server:
        connection = await server.connect()
        asking = asyncio.create_task(connection.get("/wait/0.2"))
        await asyncio.sleep(0.05)
        server.shutdown.set()
        answer = await asking
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await connection.close()


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_who_connects_meanwhile_is_answered(tmp_path: Path, protocol: str) -> None:
    """A load balancer may send connections here until it has noticed; each has its answer, and ends with it."""
    async with serving(count, tmp_path, timeouts=DRAINING) as server:
        server.shutdown.set()
        await asyncio.sleep(0.1)
        if protocol == "h2":
            http2 = await HTTP2Client.open(server)
            assert (await http2.get()).status == 200
            while await http2.receive():
                pass
            assert http2.terminated is not None
            await http2.client.close()
        else:
            connection = await server.connect()
            assert (await connection.get()).headers["connection"] == "close"
            await connection.close()
        await server.task
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_an_idle_connection_of_http_2_is_told_at_once(tmp_path: Path) -> None:
    """GOAWAY says which request was the last that counted (RFC 9113 §6.8)."""
    async with serving(count, tmp_path, timeouts=DRAINING) as server:
        http2 = await HTTP2Client.open(server)
        stream = await http2.start()
        assert (await http2.answer(stream)).status == 200
        server.shutdown.set()
        async with asyncio.timeout(DRAINING.drain / 2):
            while await http2.receive():
                pass
        assert http2.terminated is not None
        assert http2.terminated.last_stream_id == stream
        await http2.client.close()


async def test_who_connects_at_the_last_moment_is_answered(tmp_path: Path) -> None:
    """Connected before the listener was closed, and not yet accepted: it is not reset."""
    async with serving(count, tmp_path, timeouts=DRAINING) as server:
        server.shutdown.set()
        await asyncio.sleep(DRAINING.drain - 0.05)
        early = socket.create_connection(("127.0.0.1", server.port))
        await asyncio.sleep(0.15)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        early.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=early, ssl=server.context(), server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"connection: close" in await reader.read()
        writer.close()


async def test_without_time_to_drain_the_stop_is_quick(tmp_path: Path) -> None:
    async with serving(count, tmp_path, timeouts=Timeouts(shutdown=5.0)) as server:
        connection = await server.connect()
        await connection.get()
        server.shutdown.set()
        async with asyncio.timeout(0.5):
            assert await connection.closed() == b""
        await connection.close()
