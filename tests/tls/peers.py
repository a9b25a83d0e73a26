"""A TLS server in the test's own event loop, and clients of every kind to talk to it."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
from OpenSSL import SSL

from mtls_as.tls import Limits, Listener, Population, ServerCredentials, Timeouts, bind_listeners, serve_listeners
from mtls_as.tls.direct_answers import DirectAnswers
from mtls_as.tls.listeners import ASGIApplication
from tests.authority import Authority, Identity

QUICK = Timeouts(handshake=0.5, request_head=0.5, idle=0.6, shutdown=1.0)
PATIENT = Timeouts(handshake=10.0, request_head=10.0, idle=10.0, shutdown=5.0)


@dataclass
class Server:
    """A running server with two listeners, `mtls` and `public`, on one application."""

    folder: Path
    authority: Authority
    ports: dict[str, int]
    shutdown: asyncio.Event
    task: asyncio.Task[None]
    failures: list[tuple[str, str]] = field(default_factory=list)
    population: Population = field(default_factory=Population)

    @property
    def port(self) -> int:
        return self.ports["mtls"]

    def context(self, identity: Identity | None = None, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """A client context that trusts this server, with a certificate or without."""
        context = ssl.create_default_context(cadata=self.authority.pem)
        if identity is not None:
            context.load_cert_chain(*identity.write(self.folder, f"client-{identity.certificate.serial_number}"))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    async def connect(
        self,
        identity: Identity | None = None,
        *,
        alpn: Sequence[str] = (),
        context: ssl.SSLContext | None = None,
        listener: str = "mtls",
        name: str = "localhost",
    ) -> "Client":
        """A TLS connection of Python's own `ssl`."""
        context = context or self.context(identity, alpn=alpn)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.ports[listener], ssl=context, server_hostname=name, limit=2**20
        )
        return Client(reader, writer)

    async def failure(self) -> str:
        """The reason of the first failed handshake, waited for."""
        await until(lambda: bool(self.failures))
        return self.failures[0][0]


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApplication,
    folder: Path,
    *,
    timeouts: Timeouts = PATIENT,
    limits: Limits | None = None,
    population: Population | None = None,
    reserved: int = 0,
    authority: Authority | None = None,
    reload: Callable[[], ServerCredentials] | None = None,
    names: Sequence[str] = ("mtls", "public"),
    direct: DirectAnswers | None = None,
) -> AsyncIterator[Server]:
    """Serve `app` until the block ends; what the server raised is raised there.

    `reserved` is for a listener of the name `admin`.
    """
    authority = authority or Authority.create("Server CA")
    certificate, key = authority.issue_server("localhost", "127.0.0.1").write(folder, "server")
    listeners = [
        Listener(
            name=name,
            bind="127.0.0.1:0",
            app=app,
            request_certificate=name.startswith("mtls"),
            direct=direct,
            reserved=reserved if name == "admin" else 0,
        )
        for name in names
    ]
    sockets = bind_listeners(listeners)
    ports = {listener.name: bound.getsockname()[1] for listener, bound in zip(listeners, sockets, strict=True)}
    shutdown, started = asyncio.Event(), asyncio.Event()
    population = population or Population()
    failures: list[tuple[str, str]] = []
    task = asyncio.create_task(
        serve_listeners(
            listeners,
            sockets,
            ServerCredentials.load(certificate, key),
            timeouts=timeouts,
            shutdown=shutdown,
            reload=reload,
            limits=limits,
            population=population,
            on_handshake_failure=lambda reason, peer: failures.append((reason, peer)),
            started=started.set,
        )
    )
    waiter = asyncio.create_task(started.wait())
    await asyncio.wait([task, waiter], return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
    try:
        yield Server(folder, authority, ports, shutdown, task, failures, population)
    finally:
        shutdown.set()
        await task


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """HTTP/1.1 by hand over one TLS connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    @property
    def tls(self) -> ssl.SSLObject:
        tls: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return tls

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, path: str = "/", *, headers: str = "") -> Answer:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        return await self.answer()

    async def post(self, path: str, body: bytes) -> Answer:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await self.send(head + body)
        return await self.answer()

    async def answer(self) -> Answer:
        """Read one response whose body has a Content-Length, is chunked, or is empty."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def closed(self, within: float = 5.0) -> bytes:
        """What still arrives before the server closes, which it must within so many seconds."""
        async with asyncio.timeout(within):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@dataclass
class HTTP2Client:
    """HTTP/2 by the `h2` package over one TLS connection; many requests may be open at once."""

    client: Client
    connection: h2.connection.H2Connection = field(
        default_factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    )
    answers: dict[int, Answer] = field(default_factory=dict)
    resets: dict[int, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    terminated: h2.events.ConnectionTerminated | None = None
    reads: bool = True

    @classmethod
    async def open(cls, server: Server, identity: Identity | None = None, *, window: int = 65535) -> Self:
        client = await server.connect(identity, alpn=["h2"])
        assert client.tls.selected_alpn_protocol() == "h2"
        self = cls(client)
        self.connection.initiate_connection()
        if window > 65535:
            self.connection.increment_flow_control_window(window - 65535)
        await self.flush()
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def flush(self) -> None:
        if data := self.connection.data_to_send():
            await self.client.send(data)

    async def start(self, path: str = "/", *, method: str = "GET", end: bool = True, **headers: str) -> int:
        """Send a request's head; returns its stream."""
        stream = self.connection.get_next_available_stream_id()
        fields = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "localhost")]
        self.connection.send_headers(stream, fields + list(headers.items()), end_stream=end)
        await self.flush()
        return stream

    async def send_body(self, stream: int, body: bytes) -> None:
        """Send a body as fast as the server's credit allows."""
        view = memoryview(body)
        while view and stream not in self.resets:
            size = min(
                self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size, len(view)
            )
            if size <= 0:
                await self.receive()
                continue
            self.connection.send_data(stream, bytes(view[:size]))
            view = view[size:]
            await self.flush()
        if stream not in self.resets:
            self.connection.end_stream(stream)
            await self.flush()

    async def receive(self) -> bool:
        """Take in what has arrived; False at the end of the connection."""
        data = await self.client.reader.read(65536)
        if not data:
            return False
        for event in self.connection.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    headers = dict(event.headers)
                    self.answers[event.stream_id] = Answer(int(headers[":status"]), headers, b"")
                case h2.events.DataReceived():
                    self.answers[event.stream_id].body += event.data
                    if self.reads:
                        self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.ended.add(event.stream_id)
                case h2.events.StreamReset():
                    self.resets[event.stream_id] = event.error_code
                case h2.events.ConnectionTerminated():
                    self.terminated = event
        await self.flush()
        return True

    async def answer(self, stream: int) -> Answer:
        """The whole response on a stream."""
        while stream not in self.ended and stream not in self.resets:
            if not await self.receive():
                raise ConnectionError("closed before the end of the answer")
        return self.answers[stream]

    async def get(self, path: str = "/", **headers: str) -> Answer:
        return await self.answer(await self.start(path, **headers))

    async def post(self, path: str, body: bytes) -> Answer:
        stream = await self.start(path, method="POST", end=False)
        await self.send_body(stream, body)
        return await self.answer(stream)


class MemoryClient:
    """pyOpenSSL as a client over a plain socket, for what Python's `ssl` does not do."""

    def __init__(self, context: SSL.Context) -> None:
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self, server: Server) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def run(self, action: Callable[[], Any]) -> Any:
        """Repeat an action of OpenSSL until it needs no more bytes of the server."""
        while True:
            try:
                result = action()
            except SSL.WantReadError:
                await self.exchange()
            else:
                await self.flush()
                return result

    async def exchange(self) -> None:
        await self.flush()
        data = await self.reader.read(65536)
        if not data:
            raise ConnectionError("closed")
        self.connection.bio_write(data)

    async def flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.writer.write(self.connection.bio_read(65536))
        await self.writer.drain()

    async def get(self) -> Any:
        self.connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return await self.run(lambda: self.connection.recv(65536))


def client_context(identity_files: tuple[Path, Path] | None = None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if identity_files is not None:
        context.use_certificate_file(str(identity_files[0]))
        context.use_privatekey_file(str(identity_files[1]))
    return context


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the conditions are plain facts without an event
            await asyncio.sleep(0.01)
