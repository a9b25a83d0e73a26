"""A resource server for HTTP and gRPC, a program of its own, that counts for each client how often it said no.

Clients name themselves in the header `x-client`. `GET /counts` says what was counted; it needs no token.
"""

import json
import os
import ssl
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import grpc
from quart import Quart

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier, ResourceGuard, ResourceRequest, VerifiedToken
from mtls_as.verifier.asgi import RequireBoundToken
from mtls_as.verifier.grpc import PeerCertificate
from mtls_as.verifier.grpc import RequireBoundToken as RequireBoundCall

KEY, CERTIFICATE, CA = (Path(os.environ[name]).read_bytes() for name in ("PRIVATE_KEY", "CERTIFICATE", "CA"))
COUNTS: dict[str, Counter[str]] = defaultdict(Counter)

app = Quart(__name__)


@app.get("/reports")
async def reports() -> str:
    return "reports"


class CountingGuard(ResourceGuard):
    """For gRPC, whose answers no interceptor sees."""

    async def check(self, request: ResourceRequest, *arguments: Any, **options: Any) -> Any:
        checked = await super().check(request, *arguments, **options)
        name = next(value.decode() for header, value in request.headers if header == b"x-client")
        COUNTS[name]["200" if isinstance(checked, VerifiedToken) else str(int(checked.status))] += 1
        return checked


class Counting:
    """For HTTP."""

    def __init__(self, inner: Any, outer: Any) -> None:
        self._protected = inner
        self._open = outer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._open(scope, receive, send)
            return
        if scope["path"] == "/counts":
            body = json.dumps(COUNTS).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        name = next(value.decode() for header, value in scope["headers"] if header == b"x-client")

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                COUNTS[name][str(message["status"])] += 1
            await send(message)

        await self._protected(scope, receive, counted)


verifier = AccessTokenVerifier(
    issuer=os.environ["ISSUER"],
    audience=os.environ["AUDIENCE"],
    ssl_context=ssl.create_default_context(cafile=os.environ["CA"]),
)


@app.before_serving
async def serve_grpc() -> None:
    guard = CountingGuard(verifier, certificates=PeerCertificate(), scopes=["reports:read"])
    server = grpc.aio.server(interceptors=[RequireBoundCall(guard)])

    async def answer(_request: bytes, _context: Any) -> bytes:
        return b"reports"

    methods = {"List": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_registered_method_handlers("example.Reports", methods)
    credentials = grpc.ssl_server_credentials([(KEY, CERTIFICATE)], CA, require_client_auth=True)
    server.add_secure_port(os.environ["GRPC_BIND"], credentials)
    await server.start()
    app.extensions["grpc"] = server  # it ends with whoever holds it


@app.after_serving
async def end_grpc() -> None:
    await app.extensions["grpc"].stop(1)


if __name__ == "__main__":
    serve(
        Counting(RequireBoundToken(app, verifier, scopes=["reports:read"]), app),
        bind=os.environ["BIND"],
        certificate=os.environ["CERTIFICATE"],
        private_key=os.environ["PRIVATE_KEY"],
    )
