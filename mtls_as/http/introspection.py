"""`POST /introspect`: plain answers (RFC 7662 §2.2), or signed ones for those who accept them (RFC 9701 §4)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mtls_as.http.answers import Answer, json_answer, text_answer
from mtls_as.http.certificate import CertificateSource
from mtls_as.http.client_request import NO_STORE, answer_client_request
from mtls_as.rfc.rfc9701_jwt_introspection import MEDIA_TYPE, wants_signed_answer
from mtls_as.server.endpoints.client_request import ClientRequest
from mtls_as.server.endpoints.introspection import IntrospectionEndpoint
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock


async def answer_introspection_request(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    certificate: CertificateSource,
    endpoint: IntrospectionEndpoint,
    clock: Clock,
    emit: EventSink,
) -> Answer:
    """Answer one introspection request: its ASGI scope, and how to read its body, bounded in size and time."""

    async def handle(request: ClientRequest, event: RequestEvent) -> Answer:
        if wants_signed_answer(",".join(request.accept)):
            return text_answer(await endpoint.signed_answer(request, event), content_type=MEDIA_TYPE, headers=NO_STORE)
        return json_answer(await endpoint.answer(request, event), headers=NO_STORE)

    return await answer_client_request(
        scope, read_body, name="introspection", certificate=certificate, clock=clock, emit=emit, handle=handle
    )
