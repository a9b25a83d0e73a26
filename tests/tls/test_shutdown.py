"""The graceful stop: what is in the works is finished, everything else ends at once, and nothing is left behind."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from hypercorn.utils import LifespanFailureError

from mtls_as.tls import (
    Listener,
    ServerCredentials,
    Timeouts,
    TLSConfigurationError,
    bind_listeners,
    serve_listeners,
)
from tests.authority import Authority, new_key
from tests.tls.apps import answer, count, http
from tests.tls.peers import PATIENT, HTTP2Client, serving

CA = Authority.create("Client CA")


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Any:
    """No task survives the server, and asyncio has nothing to complain of."""
    yield
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def only_this_task_is_left() -> None:
    await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_a_request_in_the_works_is_finished(tmp_path: Path, protocol: str) -> None:
    """Shutdown during a request: the answer arrives whole, then the connection ends properly."""
    async with serving(count, tmp_path) as server:
        if protocol == "h2":
            http2 = await HTTP2Client.open(server)
            streams = [await http2.start("/wait/0.4") for _ in range(3)]
            await asyncio.sleep(0.1)
            server.shutdown.set()
            for stream in streams:
                assert (await http2.answer(stream)).status == 200
            while await http2.receive():
                pass
            assert http2.terminated is not None
            await http2.client.close()
        else:
            connection = await server.connect()
            asking = asyncio.create_task(connection.get("/wait/0.4"))
            await asyncio.sleep(0.1)
            server.shutdown.set()
            assert (await asking).status == 200
            assert await connection.closed() == b""
            await connection.close()
    await only_this_task_is_left()


async def test_everything_else_ends_at_once(tmp_path: Path) -> None:
    """Idle connections, heads not yet complete, handshakes: none of them delays the stop."""
    async with serving(count, tmp_path, timeouts=PATIENT) as server:
        idle, half = await server.connect(), await server.connect()
        await idle.get()
        await half.send(b"GET / HT")
        http2 = await HTTP2Client.open(server)
        await http2.get()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        server.shutdown.set()
        async with asyncio.timeout(1.0):
            await server.task
        assert await idle.closed() == b""
        assert await half.closed() == b""
        assert await reader.read() == b""
        while await http2.receive():
            pass
        assert http2.terminated is not None
        for closing in (idle.writer, half.writer, http2.client.writer, writer):
            closing.close()
    await only_this_task_is_left()


async def test_no_new_connections_during_the_stop(tmp_path: Path) -> None:
    """The listening socket is closed first."""
    async with serving(count, tmp_path) as server:
        connection = await server.connect()
        asking = asyncio.create_task(connection.get("/wait/0.4"))
        await asyncio.sleep(0.1)
        server.shutdown.set()
        await asyncio.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert (await asking).status == 200
        await connection.close()


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_a_request_that_takes_too_long_is_cut(tmp_path: Path, protocol: str) -> None:
    """After `timeouts.shutdown` the application is cancelled and the connection ends."""
    cancelled = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(app, tmp_path, timeouts=Timeouts(shutdown=0.3)) as server:
        if protocol == "h2":
            http2 = await HTTP2Client.open(server)
            await http2.start()
            connection = http2.client
        else:
            connection = await server.connect()
            await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        server.shutdown.set()
        async with asyncio.timeout(2):
            await server.task
        assert cancelled.is_set()
        await connection.close()
    await only_this_task_is_left()


async def test_an_application_whose_client_left_is_waited_for(tmp_path: Path) -> None:
    """A request goes on when its client is gone, and the stop waits for it like for any other."""
    finished = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.4)
        finished.set()
        await answer(send, b"to nobody")

    async with serving(app, tmp_path) as server:
        connection = await server.connect()
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        connection.writer.transport.abort()
        await asyncio.sleep(0.1)
        server.shutdown.set()
        await server.task
        assert finished.is_set()
    await only_this_task_is_left()


async def test_the_lifespan_runs_once_for_each_application(tmp_path: Path) -> None:
    """Two listeners on one application: one start-up, one shut-down, and its state reaches the requests."""
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                message = await receive()
                events.append(message["type"])
                scope["state"]["pool"] = "open"
                await send({"type": f"{message['type']}.complete"})
        else:
            await answer(send, scope["state"]["pool"].encode())

    async with serving(app, tmp_path) as server, await server.connect() as connection:
        assert (await connection.get()).body == b"open"
    assert events == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_start_up_that_fails_serves_nothing(tmp_path: Path) -> None:
    """`lifespan.startup.failed` ends `serve_listeners` with Hypercorn's error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(LifespanFailureError, match="no database"):
        async with serving(app, tmp_path):
            pytest.fail("served")
    await only_this_task_is_left()


async def test_an_application_without_lifespan_is_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The lifespan protocol is optional."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await answer(send, b"ok")

    with caplog.at_level(logging.CRITICAL):
        async with serving(app, tmp_path) as server, await server.connect() as connection:
            assert (await connection.get()).status == 200


async def test_a_server_that_is_cancelled_stops_too(tmp_path: Path) -> None:
    """Cancelling `serve_listeners` closes everything, as when its program ends by an error."""
    running = serving(count, tmp_path)
    server = await running.__aenter__()
    connection = await server.connect()
    await connection.get()
    server.task.cancel()
    assert await connection.closed() == b""
    await connection.close()
    with pytest.raises(asyncio.CancelledError):
        await running.__aexit__(None, None, None)
    await only_this_task_is_left()


async def test_credentials_that_openssl_refuses_stop_the_start(tmp_path: Path) -> None:
    """Nothing is half-started: an error before serving leaves no socket open."""
    weak = Authority.create("CA")
    certificate, key = weak.issue("localhost", private_key=new_key("RSA-1024")).write(tmp_path, "weak")
    credentials = ServerCredentials.load(certificate, key)
    listeners = [Listener(name="mtls", bind="127.0.0.1:0", app=count, request_certificate=True)]
    sockets = bind_listeners(listeners)
    with pytest.raises(TLSConfigurationError, match="ee key too small"):
        await serve_listeners(listeners, sockets, credentials, shutdown=asyncio.Event())
    assert sockets[0].fileno() == -1
