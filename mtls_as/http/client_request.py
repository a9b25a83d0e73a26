"""Requests of clients: a form is read, an endpoint answers it, and one event is emitted, whatever happens."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mtls_as.http.answers import Answer
from mtls_as.http.certificate import CertificateSource, peer_address, tls_group
from mtls_as.http.errors import as_oauth_error, error_answer
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.endpoints.client_request import ClientRequest
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 §5.1
_FORM: Final = b"application/x-www-form-urlencoded"
_CONTENT_TYPE, _ACCEPT, _AUTHORIZATION, _DPOP = _READ = (b"content-type", b"accept", b"authorization", b"dpop")
_NO_HEADERS: Final[dict[bytes, tuple[bytes, ...]]] = dict.fromkeys(_READ, ())

Handler = Callable[[ClientRequest, RequestEvent], Awaitable[Answer]]
"""Answers a request and notes in the event what became known. Raises `OAuthError`."""


async def answer_client_request(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    name: str,
    certificate: CertificateSource,
    clock: Clock,
    emit: EventSink,
    handle: Handler,
) -> Answer:
    """Answer one request to the endpoint `name`: its ASGI scope, and how to read its body, bounded in size and time."""
    started = time.perf_counter()
    event = RequestEvent(endpoint=name, peer=peer_address(scope), tls_group=tls_group(scope))
    headers = _headers(scope)
    try:
        # The body comes first: an answer before its end would cost a connection, perhaps a proxy's for many clients.
        body = await _read_form(scope, headers[_CONTENT_TYPE], read_body)
        request = ClientRequest(
            body=body,
            accept=_texts(headers[_ACCEPT]),
            certificate=certificate(scope, event),
            authorization=_texts(headers[_AUTHORIZATION]),
            dpop=_texts(headers[_DPOP]),
            at=clock(),
        )
        answer = await handle(request, event)
    except Exception as exception:  # noqa: BLE001 # whatever happens becomes an OAuth answer and one event
        error = as_oauth_error(exception)
        event.refuse(error)
        answer = error_answer(error, has_authorization_header=bool(headers[_AUTHORIZATION]))
    event.latency_seconds = time.perf_counter() - started
    emit(event)
    return answer


def _headers(scope: Mapping[str, Any]) -> dict[bytes, tuple[bytes, ...]]:
    """The values of the headers that are read here, found in one go."""
    found = dict(_NO_HEADERS)
    for name, value in scope["headers"]:
        if name in found:
            found[name] = (*found[name], value)
    return found


def _texts(values: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple([value.decode("latin-1") for value in values]) if values else ()


async def _read_form(
    scope: Mapping[str, Any], content_types: tuple[bytes, ...], read_body: Callable[[], Awaitable[bytes]]
) -> bytes:
    """The body, if it is a form and nothing else carries parameters (RFC 6749 §3.2)."""
    if scope.get("query_string"):
        raise _invalid_request(Refusal.MALFORMED_REQUEST, "the endpoint takes no query")
    if len(content_types) != 1 or not _is_form(content_types[0]):
        raise _invalid_request(Refusal.UNSUPPORTED_MEDIA_TYPE, "the content type is not that of a form")
    return await read_body()


def _is_form(content_type: bytes) -> bool:
    if content_type == _FORM:
        return True
    media_type, _, parameters = content_type.partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    return media_type.strip().lower() == _FORM and charset in {b"", b"charset=utf-8"}


def _invalid_request(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
