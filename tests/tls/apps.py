"""Applications for the tests: small, plain ASGI."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/octet-stream")],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client is gone")
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def http(handler: Any) -> Any:
    """An application of one handler `(scope, receive, send)`, with the lifespan taken care of."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await handler(scope, receive, send)

    return app


@http
async def tell_tls(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the TLS extension as JSON."""
    extensions = scope["extensions"]
    ours = extensions["mtls_as"]
    told = {
        "tls": extensions["tls"],
        "der": [der.hex() for der in ours["client_der_chain"]],
        "listener": ours["listener"],
        "tls_group": ours["tls_group"],
        "http_version": scope["http_version"],
        "scheme": scope["scheme"],
    }
    await answer(send, json.dumps(told).encode())


@http
async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send every piece of the body back as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


@http
async def count(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body; `/wait/<seconds>` waits first."""
    if scope["path"].startswith("/wait/"):
        await asyncio.sleep(float(scope["path"].removeprefix("/wait/")))
    await answer(send, str(len(await read_body(receive))).encode())


@dataclass(frozen=True)
class Told:
    """A direct answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def tell(told: object, *, status: int = 200) -> Told:
    """A direct answer in JSON."""
    body = json.dumps(told).encode()
    return Told(body, status, {"Content-Type": "application/json", "Content-Length": str(len(body))})


class Both:
    """An application that answers `/` directly, where it may, and by ASGI, and remembers what it was asked.

    `/slow` waits before it answers, `/broken` fails; everything else is for ASGI alone.
    """

    max_body = 1000

    def __init__(self, *, body_timeout: float = 10.0) -> None:
        self.body_timeout = body_timeout
        self.asked: list[dict[str, Any]] = []
        self.lanes: list[str] = []

    def direct(self, method: bytes, target: bytes) -> Any:
        return self._answer_directly if target in {b"/", b"/slow", b"/broken"} else None

    async def _answer_directly(self, scope: Any, body: bytes | None) -> Told:
        self.lanes.append("direct")
        return tell({"error": "late"}, status=408) if body is None else await self._answer(scope, body)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.lanes.append("asgi")
        told = await self._answer(scope, await read_body(receive))
        headers = [(name.lower().encode(), value.encode()) for name, value in told.headers.items()]
        await send({"type": "http.response.start", "status": told.status, "headers": headers})
        await send({"type": "http.response.body", "body": told.body})

    async def _answer(self, scope: Any, body: bytes) -> Told:
        asked = {name: scope[name] for name in ("method", "path", "scheme", "http_version", "client")}
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        asked |= {"headers": headers, "body": body.decode("latin-1"), "query": scope["query_string"].decode()}
        self.asked.append(asked)
        if scope["path"] == "/slow":
            async with asyncio.timeout(5):  # which works only within a task
                await asyncio.sleep(0.1)
        if scope["path"] == "/broken":
            raise RuntimeError("a secret")
        return tell({"body": body.decode("latin-1")})
