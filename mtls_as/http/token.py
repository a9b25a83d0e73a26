"""`POST /token`: reads the request, calls the endpoint, renders the answer, and sees that its event is emitted."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mtls_as.http.answers import Answer, json_answer
from mtls_as.http.certificate import CertificateSource, peer_address
from mtls_as.http.errors import as_oauth_error, error_answer
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.endpoints.token import TokenEndpoint, TokenRequest
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock

_FORM: Final = b"application/x-www-form-urlencoded"
_CACHING: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 §5.1


async def answer_token_request(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    certificate: CertificateSource,
    endpoint: TokenEndpoint,
    clock: Clock,
    emit: EventSink,
) -> Answer:
    """Answer one token request (RFC 6749 §5): its ASGI scope, and how to read its body, bounded in size and time."""
    started = time.perf_counter()
    event = RequestEvent(endpoint="token", peer=peer_address(scope))
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    has_authorization_header = any(name == b"authorization" for name, _ in headers)
    try:
        # The body comes first: an answer before its end would cost a connection, which may be a proxy's for many clients.
        body = await _read_form(scope, headers, read_body)
        token_request = TokenRequest(
            body=body,
            certificate=certificate(scope, event),
            has_authorization_header=has_authorization_header,
            at=clock(),
        )
        document = await endpoint.answer(token_request, event)
    except Exception as exception:  # noqa: BLE001 # whatever happens becomes an OAuth answer and one event
        error = as_oauth_error(exception)
        event.refuse(error)
        answer = error_answer(error, has_authorization_header=has_authorization_header)
    else:
        answer = json_answer(document, headers=_CACHING)
    event.latency_seconds = time.perf_counter() - started
    emit(event)
    return answer


async def _read_form(
    scope: Mapping[str, Any], headers: list[tuple[bytes, bytes]], read_body: Callable[[], Awaitable[bytes]]
) -> bytes:
    """The body, if it is a form and nothing else carries parameters (RFC 6749 §3.2)."""
    if scope.get("query_string"):
        raise _invalid_request(Refusal.MALFORMED_REQUEST, "the token endpoint takes no query")
    content_types = [value for name, value in headers if name == b"content-type"]
    if len(content_types) != 1 or not _is_form(content_types[0]):
        raise _invalid_request(Refusal.UNSUPPORTED_MEDIA_TYPE, "the content type is not that of a form")
    return await read_body()


def _is_form(content_type: bytes) -> bool:
    media_type, _, parameters = content_type.partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    return media_type.strip().lower() == _FORM and charset in {b"", b"charset=utf-8"}


def _invalid_request(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
