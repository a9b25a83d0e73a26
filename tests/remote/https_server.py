"""A real HTTPS server for tests, in a thread of its own; what it answers, byte for byte, is up to the test."""

import asyncio
import json
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.authority import Authority, Identity


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str
    certificate: bytes | None


Stream = Callable[[asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[Request], bytes | Stream]


def answer(body: object = b"{}", *, status: int = 200, media_type: str = "application/json", **headers: str) -> bytes:
    """A complete HTTP/1.1 answer; `body` is bytes, or becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        "Content-Type": media_type,
        "Content-Length": str(len(content)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Test\r\n{head}\r\n".encode() + content


@dataclass
class HTTPSServer:
    """Serves `https://localhost:<port>` until the block ends; `requests` are all that came."""

    handler: Handler
    authority: Authority = field(default_factory=Authority.create)
    client_authority: Authority | None = None
    identity: Identity | None = None
    """What the server proves itself with, if not with a certificate of `authority` for `localhost`."""
    requests: list[Request] = field(default_factory=list)
    port: int = field(init=False)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this server and no other."""
        return ssl.create_default_context(cadata=self.authority.pem)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context())
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:
            identity = self.identity or self.authority.issue_server("localhost", "127.0.0.1")
            context.load_cert_chain(*identity.write(Path(folder), "server"))
        if self.client_authority:
            context.load_verify_locations(cadata=self.client_authority.pem)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader, writer)
            self.requests.append(request)
            reply = self.handler(request)
            if isinstance(reply, bytes):
                writer.write(reply)
                await writer.drain()
            else:
                await reply(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away, as some tests want it to
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = line.split(" ")
    tls: Any = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True)
    return Request(method=method, path=path, headers=headers, body=body.decode(), certificate=certificate)
