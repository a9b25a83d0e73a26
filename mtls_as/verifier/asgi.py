"""ASGI middleware that lets a request through only with a token that its sender proves to be bound to."""

from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import quote

from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier.certificates import CertificateSource, TLSExtension
from mtls_as.verifier.guard import ResourceGuard, TokenVerifier
from mtls_as.verifier.request import UNKNOWN_PEER, Answer, ResourceRequest
from mtls_as.verifier.verifier import VerifiedToken

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Frameworks type their applications each in its own way; what they share is the protocol.
Application = Callable[[Any, Any, Any], Awaitable[None]]

STATE_KEY: Final = "access_token"
"""Where the application finds the `VerifiedToken`, in the scope and in the scope's `state`."""

POLICY_VIOLATION: Final = 1008
"""How a WebSocket is closed that is not let in (RFC 6455 §7.4.1)."""

_SECURE_SCHEMES: Final = frozenset({"https", "wss"})


class RequireBoundToken:
    """Wraps an ASGI application so that every HTTP request and WebSocket needs a valid access token.

    The certificate is the one that the server's own TLS layer reports in the `tls` extension of the ASGI scope, unless
    `certificates` names another place. The application finds the `VerifiedToken` as `scope["access_token"]` and
    `scope["state"]["access_token"]`. Everything else is as in `ResourceGuard`, whose arguments the others are.
    """

    def __init__(
        self,
        app: Application,
        verifier: TokenVerifier,
        *,
        certificates: CertificateSource = TLSExtension(),  # noqa: B008 - frozen
        scopes: Iterable[str] = (),
        authorization_details: Iterable[str] = (),
        actors: Collection[str] | None = None,
        dpop_url: str | None = None,
        metadata: ResourceMetadata | None = None,
    ) -> None:
        self._app = app
        self._guard = ResourceGuard(
            verifier,
            certificates=certificates,
            scopes=scopes,
            authorization_details=authorization_details,
            actors=actors,
            dpop_url=dpop_url,
            metadata=metadata,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as `Application`
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError("only http, websocket and lifespan scopes can be protected")
        admitted = await self._guard.admit(describe(scope))
        if isinstance(admitted, VerifiedToken):
            # Copies: a server may share one state among all its connections.
            state = {**(scope.get("state") or {}), STATE_KEY: admitted}
            await self._app({**scope, "state": state, STATE_KEY: admitted}, receive, send)
        elif scope["type"] == "http":
            await _answer(admitted, scope, send, prefix="http.response")
        else:
            await _refuse_websocket(admitted, scope, receive, send)


def describe(scope: Scope) -> ResourceRequest:
    """The request of an ASGI scope. A WebSocket begins with a GET (RFC 6455 §4.1), and its scope names no method."""
    return ResourceRequest(
        method=scope.get("method", "GET"),
        path=(scope.get("raw_path") or quote(scope["path"]).encode("ascii")).decode("latin-1"),
        query=scope.get("query_string") or b"",
        headers=scope["headers"],
        secure=scope.get("scheme") in _SECURE_SCHEMES,
        peer=_peer(scope),
        connection=scope,
    )


def _peer(scope: Scope) -> str | None:
    """None only where nothing speaks against a unix socket, which has no port either."""
    client, server = scope.get("client"), scope.get("server")
    if client and client[0]:
        address: str = client[0]
        return address
    return None if server is None or server[1] is None else UNKNOWN_PEER


async def _refuse_websocket(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer(answer, scope, send, prefix="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})


async def _answer(answer: Answer, scope: Scope, send: Send, *, prefix: str) -> None:
    headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode("ascii")))
    body = b"" if scope.get("method") == "HEAD" else answer.body
    await send({"type": f"{prefix}.start", "status": int(answer.status), "headers": headers})
    await send({"type": f"{prefix}.body", "body": body, "more_body": False})
