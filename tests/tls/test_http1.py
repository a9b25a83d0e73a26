"""HTTP/1.1 over TLS: bodies of all sizes, kept-alive and pipelined requests, upgrades, misbehaving applications."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from tests.authority import Authority
from tests.tls.apps import answer, count, echo, http, read_body, tell_tls
from tests.tls.peers import MemoryClient, client_context, serving, until

CA = Authority.create("Client CA")
BIG = bytes(range(256)) * 20_000


async def test_many_requests_on_one_connection(tmp_path: Path) -> None:
    """Kept alive far beyond Hypercorn's own limit of requests."""
    async with serving(count, tmp_path) as server, await server.connect(CA.issue()) as connection:
        for size in range(1100):
            assert (await connection.post("/", bytes(size % 7))).body == str(size % 7).encode()


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Several requests in one record, answered one after the other."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        requests = [f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{'x' * n}" for n in range(20)]
        await connection.send("".join(requests).encode())
        assert [int((await connection.answer()).body) for _ in requests] == list(range(20))


async def test_large_bodies_in_both_directions(tmp_path: Path) -> None:
    """Five megabytes up and back."""
    async with serving(echo, tmp_path) as server, await server.connect() as connection:
        sending = asyncio.create_task(
            connection.send(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BIG)}\r\n\r\n".encode() + BIG)
        )
        assert (await connection.answer()).body == BIG
        await sending


async def test_chunked_bodies(tmp_path: Path) -> None:
    """Chunked transfer coding, a byte at a time."""
    async with serving(echo, tmp_path) as server, await server.connect() as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for letter in b"hello":
            await connection.send(b"1\r\n" + bytes([letter]) + b"\r\n")
        await connection.send(b"0\r\n\r\n")
        assert (await connection.answer()).body == b"hello"


async def test_a_request_byte_by_byte(tmp_path: Path) -> None:
    """Each byte in a TLS record of its own."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        for byte in b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc":
            await connection.send(bytes([byte]))
        assert (await connection.answer()).body == b"3"


async def test_expect_continue(tmp_path: Path) -> None:
    """A client that waits for `100 Continue` gets it."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await connection.answer()).status == 100
        await connection.send(b"abc")
        assert (await connection.answer()).body == b"3"


async def test_connection_close_is_honoured_with_close_notify(tmp_path: Path) -> None:
    """`Connection: close` ends the connection properly: a truncation would be an error of the client's TLS."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        assert (await connection.get(headers="Connection: close\r\n")).status == 200
        assert await connection.closed() == b""


async def test_http_1_0(tmp_path: Path) -> None:
    """An HTTP/1.0 client gets its answer and the end."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await connection.answer()).status == 200
        assert await connection.closed() == b""


async def test_no_header_names_the_server(tmp_path: Path) -> None:
    """Neither program nor version."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        assert "server" not in (await connection.get()).headers


@pytest.mark.parametrize("settings", ["HTTP2-Settings: AAMAAABkAAQAAP__\r\n", ""])
async def test_upgrade_to_h2c_is_ignored(tmp_path: Path, settings: str) -> None:
    """`Upgrade: h2c` would leave our limits behind and is not for TLS: the request is answered as it stands."""
    async with serving(tell_tls, tmp_path) as server, await server.connect() as connection:
        response = await connection.get(headers=f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}")
        assert response.status == 200
        assert response.json()["http_version"] == "1.1"
        assert (await connection.get()).status == 200


async def test_http2_preface_without_alpn_is_refused(tmp_path: Path) -> None:
    """HTTP/2 needs its ALPN name: prior knowledge over HTTP/1.1 is no way around it (RFC 9113 §3.2)."""
    async with serving(count, tmp_path) as server, await server.connect(alpn=["http/1.1"]) as connection:
        await connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert (await connection.answer()).status == 505
        assert await connection.closed() == b""


async def test_an_early_answer_reaches_a_client_that_is_still_sending(tmp_path: Path) -> None:
    """An application that answers without reading: the answer arrives whole, although the body is never read."""

    @http
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"too large", 413)

    async with serving(refuse, tmp_path) as server, await server.connect() as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        sending = asyncio.create_task(connection.send(bytes(1_000_000)))
        response = await connection.answer()
        assert (response.status, response.body) == (413, b"too large")
        await asyncio.wait([sending])
        sending.exception()


async def test_an_application_that_fails_ends_one_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An exception is a 500 for its own client, a line in the log, and nothing to others."""

    @http
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fail":
            raise RuntimeError("a secret")
        await answer(send, b"ok")

    async with (
        serving(failing, tmp_path) as server,
        await server.connect() as connection,
        await server.connect() as neighbour,
    ):
        with caplog.at_level(logging.ERROR, "mtls_as.tls"):
            response = await connection.get("/fail")
        assert response.status == 500
        assert b"secret" not in response.body
        assert (await neighbour.get()).status == 200
    assert [record.message for record in caplog.records] == ["error in the application"]


async def test_an_application_hears_of_a_client_that_leaves(tmp_path: Path) -> None:
    """`receive` says `http.disconnect`, as often as it is asked."""
    heard: list[str] = []

    @http
    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        heard.extend([(await receive())["type"] for _ in range(3)])
        await answer(send, b"to nobody")

    async with serving(waiting, tmp_path) as server:
        connection = await server.connect()
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        connection.writer.transport.abort()
        await until(lambda: heard == ["http.disconnect"] * 3)


async def test_an_application_that_does_not_read_hears_it_too(tmp_path: Path) -> None:
    """The client leaves in the middle of an upload that nobody reads: no task is left waiting for ever."""
    done = asyncio.Event()

    @http
    async def idle(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.3)
        done.set()

    async with serving(idle, tmp_path) as server:
        connection = await server.connect()
        connection.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + bytes(3_000_000))
        await asyncio.sleep(0.1)
        connection.writer.transport.abort()
        await asyncio.wait_for(done.wait(), 2)
        before = len(asyncio.all_tasks())
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) <= before


async def test_pipelined_requests_of_a_client_that_left_are_not_begun(tmp_path: Path) -> None:
    """What was queued behind a request in the works dies with the connection."""
    begun: list[str] = []

    @http
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope["path"])
        await asyncio.sleep(0.2)
        await answer(send, b"ok")

    async with serving(slow, tmp_path) as server:
        connection = await server.connect()
        await connection.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        await asyncio.sleep(0.1)
        connection.writer.transport.abort()
        await asyncio.sleep(0.4)
    assert begun == ["/0"]


async def test_half_close_still_gets_its_answers(tmp_path: Path) -> None:
    """A client that says by close_notify that it sends nothing more gets what it asked for, then the end."""
    async with serving(count, tmp_path) as server:
        client = MemoryClient(client_context())
        await client.open(server)
        await client.run(client.connection.do_handshake)
        client.connection.sendall(b"GET /wait/0.2 HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        client.connection.shutdown()
        await client.flush()
        client.writer.write_eof()
        received = b""
        with contextlib.suppress(SSL.ZeroReturnError):
            while True:
                received += await client.run(lambda: client.connection.recv(65536))
        assert received.count(b"HTTP/1.1 200") == 2
        await client.close()


async def test_websockets_pass_through(tmp_path: Path) -> None:
    """The upgrade reaches the application as a websocket scope with the same facts about TLS; refusing it is a 403."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            seen.update(scope["extensions"])
            await receive()
            await send({"type": "websocket.close"})
        else:
            await echo(scope, receive, send)

    client = CA.issue()
    async with serving(app, tmp_path) as server, await server.connect(client) as connection:
        response = await connection.get(
            headers="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        assert response.status == 403
    assert seen["mtls_as"]["client_der_chain"] == (client.der,)
