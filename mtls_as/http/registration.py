"""`/register` and `/register/{client_id}`: JSON in, JSON out, one event for each request (RFC 7591, RFC 7592)."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mtls_as.http.answers import Answer, json_answer
from mtls_as.http.certificate import CertificateSource, peer_address, tls_group
from mtls_as.http.client_request import NO_STORE
from mtls_as.http.errors import as_oauth_error, error_answer
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc6750_bearer import MalformedBearerRequest, bearer_token
from mtls_as.server.endpoints.registration import RegistrantRequest, RegistrationEndpoint
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock

_JSON: Final = b"application/json"


async def answer_registration_request(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    certificate: CertificateSource,
    endpoint: RegistrationEndpoint,
    clock: Clock,
    emit: EventSink,
) -> Answer:
    """Answer one request to register, read, update or delete a client: by its method, and its path's last part."""
    started = time.perf_counter()
    event = RequestEvent(endpoint="registration", peer=peer_address(scope), tls_group=tls_group(scope))
    authorization = [value for name, value in scope["headers"] if name == b"authorization"]
    try:
        # The body comes first: an answer before its end would cost a connection, perhaps a proxy's for many clients.
        body = await read_body()
        if scope["method"] in {"POST", "PUT"}:
            _require_json(scope)
        request = RegistrantRequest(
            body=body, token=_token(scope, authorization), certificate=certificate(scope, event), at=clock()
        )
        answer = await _answer(scope, endpoint, request, event)
    except Exception as exception:  # noqa: BLE001 # whatever happens becomes an OAuth answer and one event
        error = as_oauth_error(exception)
        event.refuse(error)
        answer = error_answer(error, has_authorization_header=bool(authorization))
    event.latency_seconds = time.perf_counter() - started
    emit(event)
    return answer


async def _answer(
    scope: Mapping[str, Any], endpoint: RegistrationEndpoint, request: RegistrantRequest, event: RequestEvent
) -> Answer:
    # The framework matched the decoded path, so what is left of it has no slash.
    client_id = scope["path"].rpartition("/")[2]
    match scope["method"]:
        case "POST":
            return json_answer(await endpoint.register(request, event), status=201, headers=NO_STORE)
        case "PUT":
            return json_answer(await endpoint.update(request, client_id, event), headers=NO_STORE)
        case "DELETE":
            await endpoint.delete(request, client_id, event)
            return Answer(status=204, headers=NO_STORE, body=b"")
        case _:
            return json_answer(await endpoint.read(request, client_id, event), headers=NO_STORE)


def _token(scope: Mapping[str, Any], authorization: list[bytes]) -> str | None:
    try:
        return bearer_token(authorization, scope.get("query_string") or b"")
    except MalformedBearerRequest as error:
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.MALFORMED_REQUEST, str(error)) from None


def _require_json(scope: Mapping[str, Any]) -> None:
    content_types = [value for name, value in scope["headers"] if name == b"content-type"]
    media_type, _, parameters = (content_types[0] if len(content_types) == 1 else b"").partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    if media_type.strip().lower() != _JSON or charset not in {b"", b"charset=utf-8"}:
        detail = "the content type is not application/json"
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.UNSUPPORTED_MEDIA_TYPE, detail)
