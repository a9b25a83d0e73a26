"""`POST /revocations` of the admin listener: hands an operator's request to the endpoint."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mtls_as.http.answers import Answer
from mtls_as.http.certificate import HandshakeCertificate
from mtls_as.http.client_request import NO_STORE, answer_client_request
from mtls_as.server.endpoints.administration import RevocationAdministration
from mtls_as.server.endpoints.client_request import ClientRequest
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock


async def answer_administration_request(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    endpoint: RevocationAdministration,
    clock: Clock,
    emit: EventSink,
) -> Answer:
    """Answer one request of an operator: its ASGI scope, and how to read its body, bounded in size and time."""

    async def handle(request: ClientRequest, event: RequestEvent) -> Answer:
        await endpoint.answer(request, event)
        return Answer(status=204, headers=NO_STORE, body=b"")

    return await answer_client_request(
        scope,
        read_body,
        name="administration",
        certificate=HandshakeCertificate(),
        clock=clock,
        emit=emit,
        handle=handle,
    )
