"""ASGI middleware that lets a request through only with a token that its sender proves to be bound to."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6750_bearer import BEARER, BearerError, MalformedBearerRequest, bearer_token, challenge
from mtls_as.rfc.rfc9449_dpop import ALGORITHMS, ProofError, single_proof
from mtls_as.rfc.rfc9449_dpop import TOKEN_TYPE as DPOP
from mtls_as.verifier.dpop import DPoPRequest
from mtls_as.verifier.errors import (
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)
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
    scheme: str = BEARER
    """The scheme that was tried."""
    accepts_dpop: bool

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"cache-control", b"no-store")]
        return headers + [(b"www-authenticate", value.encode("ascii")) for value in self._challenges()]

    def _challenges(self) -> Iterator[str]:
        """That of the scheme that was tried, with what is wrong, and after the usual one that of DPoP if accepted."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return
        algorithms = ALGORITHMS if self.scheme == DPOP else ()
        yield challenge(
            scheme=self.scheme,
            error=self.error,
            description=self.description,
            scope=self.scope,
            algorithms=algorithms,
        )
        if self.accepts_dpop and self.scheme != DPOP:
            yield challenge(scheme=DPOP, algorithms=ALGORITHMS)


class RequireBoundToken:
    """Wraps an ASGI application so that every HTTP request and WebSocket needs a valid access token.

    The token must hold all of `scopes`. The certificate is the one that the server's own TLS layer reports in the `tls`
    extension of the ASGI scope; no header is ever read for it. The application finds the `VerifiedToken` as
    `scope["access_token"]` and `scope["state"]["access_token"]`. Others are answered as RFC 6750 §3 says: 401 without
    a token or with an invalid one, 403 for a missing scope, 400 for a malformed request; 503 while no key is known.

    With a verifier that accepts DPoP, tokens come by the scheme `DPoP` too (RFC 9449 §7.1). It needs `dpop_url`: what
    stands before the path in every URL, as clients know it (`https://api.example`); no header is ever read for that.
    Raises `ValueError` for one without the other, or for what is no such URL.
    """

    def __init__(
        self,
        app: Application,
        verifier: AccessTokenVerifier,
        *,
        scopes: Iterable[str] = (),
        dpop_url: str | None = None,
    ) -> None:
        if verifier.accepts_dpop != (dpop_url is not None):
            raise ValueError("DPoP needs both a dpop_url here and the verifier's dpop, a place to note used proofs in")
        if dpop_url is not None and (not is_https_url(dpop_url) or "?" in dpop_url):
            raise ValueError("dpop_url is an https URL without query and fragment")
        self._app = app
        self._verifier = verifier
        self._scopes = tuple(scopes)
        self._dpop_url = None if dpop_url is None else dpop_url.rstrip("/")
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
        refusal = partial(_Refusal, accepts_dpop=self._dpop_url is not None)
        try:
            presented = self._presented(scope)
        except MalformedBearerRequest as error:
            return refusal(status=HTTPStatus.BAD_REQUEST, error=BearerError.INVALID_REQUEST, description=str(error))
        if presented is None:
            return refusal(status=HTTPStatus.UNAUTHORIZED, scope=self._scopes)
        scheme, token = presented
        refusal = partial(refusal, scheme=scheme)
        try:
            certificate = _certificate(scope)
            request = self._dpop_request(scope) if scheme == DPOP else None
            return await self._verifier.verify(token, certificate=certificate, dpop=request, scopes=self._scopes)
        except (InvalidToken, InvalidDPoPProof) as error:
            _log.info("access token refused: %s", error)
            code = BearerError(error.error)
            return refusal(status=HTTPStatus.UNAUTHORIZED, error=code, description=error.description)
        except InsufficientScope as error:
            return refusal(
                status=HTTPStatus.FORBIDDEN,
                error=BearerError.INSUFFICIENT_SCOPE,
                description=error.description,
                scope=error.required,
            )
        except VerificationUnavailable as error:
            _log.warning("access tokens cannot be verified: %s", error)
            description = "Access tokens cannot be verified now. Try again later."
            return refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, description=description)

    def _presented(self, scope: Scope) -> tuple[str, str] | None:
        """The scheme and the token of a request. Raises `MalformedBearerRequest`."""
        authorization = _header_values(scope, b"authorization")
        for scheme in (BEARER,) if self._dpop_url is None else (BEARER, DPOP):
            token = bearer_token(authorization, scope.get("query_string") or b"", scheme=scheme)
            if token is not None:
                return scheme, token
        return None

    def _dpop_request(self, scope: Scope) -> DPoPRequest:
        """What the proof must be for: the path as it was sent, below our own URL. Raises `InvalidDPoPProof`."""
        proofs = [value.decode("latin-1") for value in _header_values(scope, b"dpop")]
        try:
            proof = single_proof(proofs)
        except ProofError as error:
            raise InvalidDPoPProof(error.refusal, str(error)) from None
        path: str = (scope.get("raw_path") or quote(scope["path"]).encode("ascii")).decode("latin-1")
        separator = "" if path.startswith("/") else "/"
        # A WebSocket begins with a GET (RFC 6455 §4.1), and its scope names no method.
        return DPoPRequest(proof=proof, method=scope.get("method", "GET"), url=f"{self._dpop_url}{separator}{path}")


def _header_values(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name.lower() == wanted]


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
