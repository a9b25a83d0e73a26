"""`POST /token`: reads the request, calls the endpoint, renders the answer, and sees that its event is emitted."""

import time
from typing import Final, cast

from quart import Request, Response

from mtls_as.http.answers import json_response
from mtls_as.http.certificate import presented_certificate
from mtls_as.http.errors import as_oauth_error, error_response
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.endpoints.token import TokenEndpoint, TokenRequest
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock

_FORM: Final = "application/x-www-form-urlencoded"


async def answer_token_request(request: Request, endpoint: TokenEndpoint, *, clock: Clock, emit: EventSink) -> Response:
    """Answer one token request (RFC 6749 §5)."""
    started = time.perf_counter()
    event = RequestEvent(endpoint="token", peer=request.remote_addr)
    has_authorization_header = "Authorization" in request.headers
    try:
        token_request = TokenRequest(
            certificate=presented_certificate(request.scope),
            body=await _form_body(request),
            has_authorization_header=has_authorization_header,
            at=clock(),
        )
        document = await endpoint.answer(token_request, event)
    except Exception as exception:  # noqa: BLE001 # whatever happens becomes an OAuth answer and one event
        error = as_oauth_error(exception)
        event.refuse(error)
        response = error_response(error, has_authorization_header=has_authorization_header)
    else:
        response = json_response(document, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})
    event.latency_seconds = time.perf_counter() - started
    emit(event)
    return response


async def _form_body(request: Request) -> bytes:
    """The body, if it is a form and nothing else carries parameters (RFC 6749 §3.2)."""
    if request.query_string:
        raise _invalid_request(Refusal.MALFORMED_REQUEST, "the token endpoint takes no query")
    content_types = request.headers.getlist("Content-Type")
    if len(content_types) != 1 or not _is_form(content_types[0]):
        raise _invalid_request(Refusal.UNSUPPORTED_MEDIA_TYPE, f"the content type is not {_FORM}")
    return cast("bytes", await request.get_data(cache=False))


def _is_form(content_type: str) -> bool:
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().replace('"', "")
    return media_type.strip().lower() == _FORM and charset in {"", "charset=utf-8"}


def _invalid_request(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
