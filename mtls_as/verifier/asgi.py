"""ASGI middleware that lets a request through only with a token bound to the certificate of its own connection."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from mtls_as.rfc.rfc6750_bearer import BearerError, MalformedBearerRequest, bearer_token, challenge
from mtls_as.verifier.errors import InsufficientScope, InvalidToken, TokenRefusal, VerificationUnavailable
from mtls_as.verifier.verifier import AccessTokenVerifier, VerifiedToken

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Frameworks type their applications each in its own way; what they share is the protocol.
Application = Callable[[Any, Any, Any], Awaitable[None]]

_POLICY_VIOLATION: Final = 1008  # RFC 6455 §7.4.1
_SECURE_SCHEMES: Final = frozenset({"https", "wss"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """An answer instead of the application's."""

    status: HTTPStatus
    error: BearerError | None = None
    description: str | None = None
    scope: tuple[str, ...] = ()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"cache-control", b"no-store")]
        if self.status != HTTPStatus.SERVICE_UNAVAILABLE:
            value = challenge(error=self.error, description=self.description, scope=self.scope)
            headers.append((b"www-authenticate", value.encode("ascii")))
        return headers


class RequireBoundToken:
    """Wraps an ASGI application so that every HTTP request and WebSocket needs a valid access token.

    The token must hold all of `scopes`. The certificate is the one that the server's own TLS layer reports in the `tls`
    extension of the ASGI scope; no header is ever read for it. The application finds the `VerifiedToken` as
    `scope["access_token"]` and `scope["state"]["access_token"]`. Others are answered as RFC 6750 §3 says: 401 without
    a token or with an invalid one, 403 for a missing scope, 400 for a malformed request; 503 while no key is known.
    """

    def __init__(self, app: Application, verifier: AccessTokenVerifier, *, scopes: Iterable[str] = ()) -> None:
        self._app = app
        self._verifier = verifier
        self._scopes = tuple(scopes)
        challenge(scope=self._scopes)  # characters that no scope has are noticed at once

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as `Application`
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError("only http, websocket and lifespan scopes can be protected")
        verified = await self._verify(scope)
        if isinstance(verified, VerifiedToken):
            # Copies: a server may share one state among all its connections.
            state = {**(scope.get("state") or {}), "access_token": verified}
            await self._app({**scope, "state": state, "access_token": verified}, receive, send)
        elif scope["type"] == "http":
            await _answer(verified, scope, send, prefix="http.response")
        else:
            await _refuse_websocket(verified, scope, receive, send)

    async def _verify(self, scope: Scope) -> VerifiedToken | _Refusal:
        try:
            authorization = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
            token = bearer_token(authorization, scope.get("query_string") or b"")
            if token is None:
                return _Refusal(status=HTTPStatus.UNAUTHORIZED, scope=self._scopes)
            return await self._verifier.verify(token, certificate=_certificate(scope), scopes=self._scopes)
        except MalformedBearerRequest as error:
            return _Refusal(status=HTTPStatus.BAD_REQUEST, error=BearerError.INVALID_REQUEST, description=str(error))
        except InvalidToken as error:
            _log.info("access token refused: %s", error)
            return _Refusal(
                status=HTTPStatus.UNAUTHORIZED, error=BearerError.INVALID_TOKEN, description=error.description
            )
        except InsufficientScope as error:
            return _Refusal(
                status=HTTPStatus.FORBIDDEN,
                error=BearerError.INSUFFICIENT_SCOPE,
                description=error.description,
                scope=error.required,
            )
        except VerificationUnavailable as error:
            _log.warning("access tokens cannot be verified: %s", error)
            description = "Access tokens cannot be verified now. Try again later."
            return _Refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, description=description)


def _certificate(scope: Scope) -> bytes | str | None:
    """The leaf of the connection, whose key the client has proved: element 0 and no other. Raises `InvalidToken`."""
    if scope.get("scheme") not in _SECURE_SCHEMES:
        raise InvalidToken(TokenRefusal.NOT_OVER_TLS, "the request did not come over TLS")
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    for extension, member in (("mtls_as", "client_der_chain"), ("tls", "client_cert_chain")):
        chain = (extensions.get(extension) or {}).get(member)
        if chain:
            leaf: bytes | str = next(iter(chain))
            return leaf
    return None


async def _refuse_websocket(refusal: _Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer(refusal, scope, send, prefix="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


async def _answer(refusal: _Refusal, scope: Scope, send: Send, *, prefix: str) -> None:
    members = {"error": refusal.error, "error_description": refusal.description}
    text = json.dumps({name: value for name, value in members.items() if value})
    body = text.encode("ascii") if refusal.description else b""
    headers = [*refusal.headers, (b"content-length", str(len(body)).encode("ascii"))]
    if body:
        headers.append((b"content-type", b"application/json"))
    await send({"type": f"{prefix}.start", "status": int(refusal.status), "headers": headers})
    await send({"type": f"{prefix}.body", "body": b"" if scope.get("method") == "HEAD" else body, "more_body": False})
