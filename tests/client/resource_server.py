"""An authorization server and a resource in one, which keeps connections, and lets in what is bound to each of them."""

import asyncio
import json
import ssl
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.authority import Authority, Identity

METADATA = "/.well-known/oauth-authorization-server"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource"


class BoundServer:
    """`/token` gives tokens that name the connection's certificate; `/api` takes them there alone.

    `/slow` answers one half, and the other after `finish_slow()`; `/redirect` leads to `location`. What a certificate
    was used for, and how many requests were refused, is counted.
    """

    def __init__(self, client_ca: Authority, *, authority: Authority | None = None) -> None:
        self.client_ca = client_ca
        self.authority = authority or Authority.create("Server CA")
        self.port = 0
        self.tokens = self.refusals = 0
        self.location = ""
        self.lifetime = 300
        self.down = False
        """Whether the authorization server answers 503."""
        self.revoked = set[str]()
        self.bearers: list[str | None] = []
        self.bodies: list[bytes] = []
        self.resource_metadata: dict[str, object] | None = None
        self._connections: list[bytes | None] = []
        self._finish = threading.Event()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def write_ca(self, folder: Path) -> Path:
        path = folder / "server-ca.pem"
        path.write_text(self.authority.pem)
        return path

    def connections_of(self, identity: Identity) -> int:
        """Connections over which the resource was asked with this certificate."""
        return self._connections.count(identity.der)

    def finish_slow(self) -> None:
        self._finish.set()

    def revoke(self) -> None:
        """Call every token of now invalid."""
        self.revoked |= {f"token-{number}" for number in range(1, self.tokens + 1)}

    def restart(self) -> None:
        """End all connections, and serve again in the same place."""
        self.__exit__(None, None, None)
        self.__enter__()

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
        self._finish.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        self._writers = set[asyncio.StreamWriter]()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._context())
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.02)  # for the loop to close what was aborted

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(
                *self.authority.issue_server("localhost", "127.0.0.1").write(Path(folder), "server")
            )
        context.load_verify_locations(cadata=self.client_ca.pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: Any = writer.get_extra_info("ssl_object")
        certificate: bytes | None = tls.getpeercert(binary_form=True)
        asked = False
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *fields = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
                body = await _body(reader, headers)
                path = line.split(" ")[1]
                if path.startswith(("/api", "/slow")) and not asked:
                    asked = True
                    self._connections.append(certificate)
                await self._answer(writer, path, headers, body, certificate)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: bytes, certificate: bytes | None
    ) -> None:
        if path.startswith("/slow"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin ")
            await writer.drain()
            await asyncio.to_thread(self._finish.wait, 5)
            writer.write(b"end")
        elif path.startswith("/redirect"):
            self.bearers.append(headers.get("authorization"))
            _write(writer, 307, {}, Location=self.location)
        else:
            _write(writer, *self._reply(path, headers, body, certificate))
        await writer.drain()

    def _reply(
        self, path: str, headers: dict[str, str], body: bytes, certificate: bytes | None
    ) -> tuple[int, object] | tuple[int, object, str]:
        if path == METADATA:
            return 200, {"issuer": self.url, "token_endpoint": self.url + "/token"}
        if path == RESOURCE_METADATA:
            return (200, self.resource_metadata) if self.resource_metadata else (404, {})
        if path == "/token":
            return self._give_token(certificate)
        authorization = headers.get("authorization")
        self.bearers.append(authorization)
        self.bodies.append(body)
        if authorization is None:
            return 401, {}, f'Bearer resource_metadata="{self.url}{RESOURCE_METADATA}"'
        token, _, thumbprint = authorization.removeprefix("Bearer ").partition(".")
        if certificate is None or thumbprint != _thumbprint(certificate) or token in self.revoked:
            self.refusals += 1
            return 401, {}, 'Bearer error="invalid_token", error_description="No."'
        return 200, {"token": token, "body": body.decode()}

    def _give_token(self, certificate: bytes | None) -> tuple[int, object]:
        if self.down or certificate is None:
            return (503, {}) if self.down else (401, {"error": "invalid_client"})
        self.tokens += 1
        value = f"token-{self.tokens}.{_thumbprint(certificate)}"
        return 200, {"access_token": value, "token_type": "Bearer", "expires_in": self.lifetime}


def _thumbprint(certificate: bytes) -> str:
    from mtls_as.rfc.rfc8705_mtls import x5t_s256

    return x5t_s256(certificate)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _write(writer: asyncio.StreamWriter, status: int, body: object, challenge: str = "", **headers: str) -> None:
    content = json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    if challenge:
        fields["WWW-Authenticate"] = challenge
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} Test\r\n{head}\r\n".encode() + content)
