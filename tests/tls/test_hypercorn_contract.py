"""Everything of Hypercorn, and of pyOpenSSL's private parts, that `mtls_as.tls` stands on.

An upgrade that changes any of it fails here first, with the name of what has changed. The behaviour as a whole is held
by the other tests of this folder.
"""

import asyncio
import contextlib
import dataclasses
import inspect
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h2.connection
import h11
import pytest
from hypercorn import events, typing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol import events as stream_events
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from mtls_as.tls import ServerCredentials
from mtls_as.tls.context import build_context
from mtls_as.tls.record_layer import RecordLayer, Scratch
from mtls_as.tls.server import hypercorn_config
from tests.authority import Authority

PROTOCOL = ["app", "config", "context", "task_group", "connection_state", "ssl", "client", "server", "send"]


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


async def _no_app(*_: Any) -> None:
    raise AssertionError("not called")


def make(protocol: type[Any], sent: list[Any]) -> Any:
    async def send(event: Any) -> None:
        sent.append(event)

    config = hypercorn_config()
    loop = asyncio.get_running_loop()
    return protocol(_no_app, config, WorkerContext(None), TaskGroup(loop), {}, True, None, None, send)


def test_the_series() -> None:
    """`pyproject.toml` pins the series that these tests are written for."""
    assert version("hypercorn").startswith("0.18.")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (H11Protocol.__init__, PROTOCOL),
        (H2Protocol.__init__, PROTOCOL),
        (H11Protocol.initiate, []),
        (H11Protocol.handle, ["event"]),
        (H11Protocol._check_protocol, ["event"]),
        (H11Protocol._create_stream, ["request"]),
        (H11Protocol._send_error_response, ["status_code"]),
        (H2Protocol.initiate, ["headers", "settings"]),
        (H2Protocol.handle, ["event"]),
        (H2Protocol.stream_send, ["event"]),
        (H2Protocol._handle_events, ["events"]),
        (H2Protocol._flush, []),
        (StreamBuffer.close, []),
        (HTTPStream.handle, ["event"]),
        (typing.TaskGroup.spawn_app, ["app", "config", "scope", "send"]),
        (typing.TaskGroup.spawn, ["func", "args"]),
        (WorkerContext.__init__, ["max_requests"]),
        (Lifespan.__init__, ["app", "config", "loop", "lifespan_state"]),
        (Lifespan.handle_lifespan, []),
        (Lifespan.wait_for_startup, []),
        (Lifespan.wait_for_shutdown, []),
        (ASGIWrapper.__init__, ["app"]),
    ],
)
def test_signatures(function: Callable[..., Any], expected: list[str]) -> None:
    """Names and order of the parameters that we pass or override."""
    assert parameters(function) == expected


def test_events_of_the_connection() -> None:
    """The three events between a connection and its protocol."""
    assert [field.name for field in dataclasses.fields(events.RawData)] == ["data", "address"]
    assert [field.name for field in dataclasses.fields(events.Updated)] == ["idle"]
    assert dataclasses.fields(events.Closed) == ()
    assert [field.name for field in dataclasses.fields(stream_events.Body)] == ["stream_id", "data"]
    assert [field.name for field in dataclasses.fields(stream_events.StreamClosed)] == ["stream_id"]


def test_coroutines() -> None:
    """What we await, or override with coroutines."""
    for function in (
        H11Protocol.initiate, H11Protocol.handle, H11Protocol._check_protocol, H11Protocol._create_stream,
        H11Protocol._send_error_response, H2Protocol.initiate, H2Protocol.handle, H2Protocol.stream_send,
        H2Protocol._handle_events, H2Protocol._flush, StreamBuffer.close, HTTPStream.handle,
    ):  # fmt: skip
        assert inspect.iscoroutinefunction(function), function


async def test_attributes_of_http_1() -> None:
    """`connection` can be replaced before the first byte; `stream` says whether a request is in the works."""
    protocol = make(H11Protocol, [])
    assert type(protocol.connection) is h11.Connection
    assert protocol.stream is None


async def test_http_1_says_when_it_is_busy_and_ends_on_an_error() -> None:
    """`Updated(idle=False)` with the head, `Closed` after the answer to a broken one."""
    sent: list[Any] = []
    protocol = make(H11Protocol, sent)
    await protocol.handle(events.RawData(b"GE T / HTTP/1.1\r\n\r\n"))
    assert isinstance(sent[0], events.RawData)
    assert sent[0].data.startswith(b"HTTP/1.1 400")
    assert sent[-1] == events.Closed()


async def test_http_1_asks_the_task_group_for_the_application() -> None:
    """`spawn_app` gets a scope whose extensions may be added to, and its result is awaited with each event."""
    sent: list[Any] = []
    asked: list[Any] = []
    put: list[Any] = []
    protocol = make(H11Protocol, sent)

    class Group:
        async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Any:
            asked.append((app, config, scope, send))

            async def app_put(event: Any) -> None:
                put.append(event)

            return app_put

    protocol.task_group = Group()
    await protocol.handle(events.RawData(b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"))
    [(app, config, scope, send)] = asked
    assert (app, config) == (_no_app, protocol.config)
    assert scope["type"] == "http"
    assert scope["http_version"] == "1.1"
    assert scope["extensions"] == {}
    assert scope["scheme"] == "https"
    assert sent[0] == events.Updated(idle=False)
    assert [event["type"] for event in put] == ["http.request", "http.request"]
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
    assert sent[-1] == events.Updated(idle=True)
    await send(None)  # what we send when the application ends is harmless after the answer


async def test_attributes_of_http_2() -> None:
    """What our subclass reads, and that the settings on the wire are those of the configuration."""
    sent: list[Any] = []
    protocol = make(H2Protocol, sent)
    assert isinstance(protocol.connection, h2.connection.H2Connection)
    assert protocol.streams == {}
    assert protocol.stream_buffers == {}
    assert protocol.closed is False
    settings = protocol.connection.local_settings
    assert settings.max_concurrent_streams == 100
    assert settings.max_header_list_size == 32 * 1024
    await protocol.handle(events.Closed())
    assert protocol.closed is True


async def test_stream_buffer() -> None:
    """A closed buffer lets its writers go; `buffer` is what is not sent yet."""
    buffer = StreamBuffer(WorkerContext.event_class)
    pushing = asyncio.ensure_future(buffer.push(bytes(100_000)))
    await asyncio.sleep(0)
    assert len(buffer.buffer) == 100_000
    assert not pushing.done()
    await buffer.close()
    await pushing


async def test_worker_context() -> None:
    """`terminated` makes the protocols refuse further requests."""
    context = WorkerContext(None)
    assert not context.terminated.is_set()
    await context.terminated.set()
    assert context.terminated.is_set()


def test_the_configuration_has_every_name_that_we_set() -> None:
    """A misspelt attribute of Hypercorn's `Config` would be silently ignored."""
    known = set(dir(Config()))
    assert set(vars(hypercorn_config())) <= known


def test_the_configuration_says_nothing_unasked() -> None:
    """No access log, no header that names the program, errors to our own logger."""
    config = hypercorn_config()
    assert config.log.access_logger is None
    assert config.log.error_logger is logging.getLogger("mtls_as.tls")
    assert [name for name, _ in config.response_headers("h11")] == [b"date"]


def test_private_names_of_pyopenssl() -> None:
    """The verify callback is set past `Context.set_verify`, and can be."""
    callback = ffi.callback("int (*)(int, X509_STORE_CTX *)", lambda _ok, _store: 1)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, callback)
    assert lib.SSL_CTX_get_verify_mode(context._context) == SSL.VERIFY_PEER


def test_connections_of_pyopenssl() -> None:
    """The record layer reads and writes past `Connection.recv` and `sendall`, by what these stand on."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None)
    assert lib.BIO_write(connection._into_ssl, b"hello", 5) == 5
    assert lib.BIO_read(connection._from_ssl, ffi.new("char[]", 10), 10) <= 0
    connection.set_accept_state()
    result = lib.SSL_do_handshake(connection._ssl)
    assert lib.SSL_get_error(connection._ssl, result) == lib.SSL_ERROR_SSL
    with pytest.raises(SSL.Error):
        connection._raise_ssl_error(connection._ssl, result)


@pytest.mark.parametrize(
    "name",
    [
        "BIO_get_mem_data",
        "SSL_CTX_clear_mode",
        "SSL_MODE_ENABLE_PARTIAL_WRITE",
        "SSL_get_peer_certificate",
        "SSL_get_peer_cert_chain",
        "X509_free",
        "i2d_X509_bio",
        "sk_X509_num",
        "sk_X509_value",
    ],
)
def test_functions_of_openssl(name: str) -> None:
    """What the record layer calls beside these; `cryptography` drops what pyOpenSSL does not use."""
    assert hasattr(lib, name)


def test_openssl_verifies_no_signature_of_a_client_chain(tmp_path: Path) -> None:
    """Not even with a certificate behind the leaf that could be its issuer: OpenSSL says that it verified nothing."""
    authority = Authority.create("CA")
    files = authority.issue_server("localhost").write(tmp_path, "server")
    context = build_context(ServerCredentials.load(*files), request_certificate=True)
    errors: list[int] = []

    def note(_ok: int, store: Any) -> int:
        errors.append(lib.X509_STORE_CTX_get_error(store))
        return 1

    callback = ffi.callback("int (*)(int, X509_STORE_CTX *)", note)
    lib.SSL_CTX_set_verify(context._context, SSL.VERIFY_PEER, callback)
    client_side = SSL.Context(SSL.TLS_CLIENT_METHOD)
    leaf = authority.issue()
    client_side.use_certificate(leaf.certificate)
    client_side.use_privatekey(leaf.private_key)  # type: ignore[arg-type] # a P-256 key by default
    client_side.add_extra_chain_cert(authority.certificate)
    client, server = SSL.Connection(client_side, None), RecordLayer(context, Scratch())
    client.set_connect_state()
    complete = False
    while not complete:
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        server.feed(client.bio_read(65536))
        complete = server.handshake()
        if records := server.take_records():
            client.bio_write(records)
    assert len(server.connection.get_peer_cert_chain() or []) == 1
    assert lib.X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE in errors
