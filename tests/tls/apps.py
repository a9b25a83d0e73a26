"""Applications for the tests: small, plain ASGI."""

import asyncio
import json
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
