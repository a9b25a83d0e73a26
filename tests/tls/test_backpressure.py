"""Memory stays bounded when one side is faster than the other."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.tls.apps import answer, http
from tests.tls.peers import HTTP2Client, serving

CA = Authority.create("Client CA")
PIECE = bytes(64 * 1024)
PIECES = 400  # 25 MiB
BOUND = 12 * 1024 * 1024  # socket buffers of both sides are the greater part


class Meter:
    """Counts the bytes that an application has handed over or taken."""

    def __init__(self) -> None:
        self.bytes = 0

    async def settled(self) -> int:
        """The count once it stands still."""
        last = -1
        while last != self.bytes:
            last = self.bytes
            await asyncio.sleep(0.3)
        return last


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_slow_reader_of_a_large_answer(tmp_path: Path, protocol: str) -> None:
    """The application waits in `send` while the client does not read, and gets everything through when it does."""
    sent = Meter()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            sent.bytes += len(PIECE)
        await send({"type": "http.response.body", "body": b""})

    async with serving(app, tmp_path) as server:
        if protocol == "h2":
            http2 = await HTTP2Client.open(server, window=2**30)
            http2.connection.update_settings({4: 2**30})  # INITIAL_WINDOW_SIZE: only the transport holds back
            await http2.flush()
            stream = await http2.start()
            assert await sent.settled() < BOUND
            body = (await http2.answer(stream)).body
            await http2.client.close()
        else:
            connection = await server.connect()
            await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await sent.settled() < BOUND
            body = (await connection.answer()).body
            await connection.close()
    assert len(body) == PIECES * len(PIECE)


async def test_one_huge_piece(tmp_path: Path) -> None:
    """An answer of a single piece is encrypted bit by bit, as the client takes it."""

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(20_000_000))

    async with serving(app, tmp_path) as server, await server.connect() as connection:
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.2)
        assert (await connection.answer()).body == bytes(20_000_000)


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_large_upload_to_a_slow_application(tmp_path: Path, protocol: str) -> None:
    """The server stops reading while the application does, and the client's sending stands still."""
    release = asyncio.Event()
    received = Meter()
    taken = Meter()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        more = True
        while more:
            message = await receive()
            received.bytes += len(message["body"])
            more = message["more_body"]
        await answer(send, str(received.bytes).encode())

    async with serving(app, tmp_path) as server:
        if protocol == "h2":
            http2 = await HTTP2Client.open(server)
            stream = await http2.start("/", method="POST", end=False)
            sending = asyncio.create_task(http2.send_body(stream, PIECE * PIECES))
            await asyncio.sleep(0.5)
            assert not sending.done()
            release.set()
            await sending
            body = (await http2.answer(stream)).body
            await http2.client.close()
        else:
            connection = await server.connect()
            size = PIECES * len(PIECE)
            await connection.send(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())

            async def upload() -> None:
                for _ in range(PIECES):
                    await connection.send(PIECE)
                    taken.bytes += len(PIECE)

            sending = asyncio.create_task(upload())
            assert await taken.settled() < BOUND
            release.set()
            await sending
            body = (await connection.answer()).body
            await connection.close()
    assert int(body) == PIECES * len(PIECE)
