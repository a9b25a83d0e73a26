"""From an operator's request to an operation of the administration, and back: one way for all of them."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from mtls_as.http.answers import Answer, json_answer
from mtls_as.http.certificate import HandshakeCertificate, peer_address, tls_group
from mtls_as.http.client_request import NO_STORE
from mtls_as.http.errors import as_oauth_error, error_answer
from mtls_as.http.operation import Operation
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError, parse_form
from mtls_as.server.endpoints.admin.call import (
    AdminCall,
    AdministrationError,
    AdminOutcome,
    AdminResult,
    Handler,
    Handlers,
)
from mtls_as.server.endpoints.admin.guard import AdminCredentials, AdminGuard
from mtls_as.server.endpoints.admin.routes import AdminRoute
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock, StorageUnavailable

_STATUS: Final[Mapping[AdminOutcome, int]] = {
    AdminOutcome.DONE: 200,
    AdminOutcome.CREATED: 201,
    AdminOutcome.INCOMPLETE: 202,
    AdminOutcome.IMPOSSIBLE: 409,
}
# The certificate of this very connection. Headers that pretend to forward one are noted, and play no part.
_CERTIFICATE: Final = HandshakeCertificate()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAPI:
    """What does the operations, and who guards them."""

    guard: AdminGuard
    handlers: Handlers
    clock: Clock
    emit: EventSink

    def endpoint(self, route: AdminRoute, operation: Operation) -> Callable[..., Coroutine[Any, Any, Answer]]:
        """What answers requests to an operation. Raises `KeyError` for one that nothing does."""
        return partial(_answer, api=self, route=route, operation=operation, handle=self.handlers[route])


async def _answer(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    api: AdminAPI,
    route: AdminRoute,
    operation: Operation,
    handle: Handler,
) -> Answer:
    """Answer one request, bounded in size and time. Nothing of it is read before the guard has let its sender in."""
    started = time.perf_counter()
    event = RequestEvent(
        endpoint="administration", action=route.name, peer=peer_address(scope), tls_group=tls_group(scope)
    )
    authorization = _headers(scope, b"authorization")
    try:
        # The body comes first: an answer before its end would cost the connection.
        body, at, query = await read_body(), api.clock(), scope.get("query_string") or b""
        shown = AdminCredentials(
            authorization=authorization, query=query, certificate=_certificate(scope, event), at=at
        )
        caller = await api.guard.admit(shown, event, needs=route.needs)
        call = AdminCall(
            caller=caller,
            parameters=_parameters(scope, operation),
            query=_query(query, operation),
            body=_checked(body, scope, operation),
            version=_version(scope, route),
            at=at,
        )
        answer = _rendered(await _done(handle, call, event))
    except Exception as exception:  # noqa: BLE001 # whatever happens becomes an OAuth answer and one event
        error = as_oauth_error(exception)
        event.refuse(error)
        answer = error_answer(error, has_authorization_header=bool(authorization))
    event.latency_seconds = time.perf_counter() - started
    api.emit(event)
    return answer


async def _done(handle: Handler, call: AdminCall, event: RequestEvent) -> AdminResult:
    try:
        return await handle(call, event)
    except StorageUnavailable as error:
        raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None


def _rendered(result: AdminResult) -> Answer:
    headers = dict(NO_STORE)
    if result.version is not None:
        headers["ETag"] = f'"{result.version}"'
    if result.document is None:
        return Answer(status=204, headers=headers, body=b"")
    return json_answer(result.document, status=_STATUS[result.outcome], headers=headers)


def _certificate(scope: Mapping[str, Any], event: RequestEvent) -> PresentedCertificate | None:
    try:
        return _CERTIFICATE(scope, event)
    except OAuthError as error:  # it authenticates no client here: it is half of what a token needs
        raise OAuthError(ErrorCode.INVALID_TOKEN, error.refusal, error.detail) from None


def _headers(scope: Mapping[str, Any], name: bytes) -> tuple[bytes, ...]:
    return tuple(value for header, value in scope["headers"] if header == name)


def _parameters(scope: Mapping[str, Any], operation: Operation) -> dict[str, str]:
    """The parts of the path, from its raw form: a name may hold a slash, which the sender has escaped."""
    raw: bytes = scope["raw_path"]
    parts, names = raw.split(b"/"), operation.path.split("/")
    if len(parts) != len(names):  # the framework takes several slashes at the beginning for one
        raise AdministrationError(Refusal.TARGET_UNKNOWN, "there is no such path")
    try:
        return {
            name[1:-1]: unquote_to_bytes(part).decode("utf-8")
            for name, part in zip(names, parts, strict=True)
            if name.startswith("{")
        }
    except UnicodeDecodeError:
        raise AdministrationError(Refusal.MALFORMED_REQUEST, "the path is not UTF-8") from None


def _query(query: bytes, operation: Operation) -> Form:
    form = parse_form(query)
    if unknown := sorted(form.names - operation.query.keys()):
        raise AdministrationError(Refusal.MALFORMED_REQUEST, f"there is no parameter {unknown[0]} here")
    return form


def _checked(body: bytes, scope: Mapping[str, Any], operation: Operation) -> bytes:
    """The body, if it is what the operation takes: of its media type, or none."""
    if operation.request is None:
        if body:
            raise AdministrationError(Refusal.MALFORMED_REQUEST, "there is a body, and it would mean nothing")
        return body
    content_types = _headers(scope, b"content-type")
    media_type, _, parameters = (content_types[0] if len(content_types) == 1 else b"").partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    wanted = operation.request.media_type
    if media_type.strip().lower() != wanted.encode() or charset not in {b"", b"charset=utf-8"}:
        raise AdministrationError(Refusal.UNSUPPORTED_MEDIA_TYPE, f"the content type is not {wanted}")
    return body


def _version(scope: Mapping[str, Any], route: AdminRoute) -> str | None:
    """The one strong entity tag of `If-Match` (RFC 9110 §13.1.1); `*` means any version."""
    values = _headers(scope, b"if-match")
    if not values or values == (b"*",):
        return None
    if route.method != "PUT":
        raise AdministrationError(Refusal.MALFORMED_REQUEST, "If-Match goes with PUT alone")
    value = values[0].strip()
    if len(values) > 1 or len(value) < 2 or not value.startswith(b'"') or not value.endswith(b'"'):
        raise AdministrationError(Refusal.MALFORMED_REQUEST, "If-Match takes one entity tag")
    return value[1:-1].decode("latin-1")
