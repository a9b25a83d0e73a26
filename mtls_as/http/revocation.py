"""`POST /revoke`: hands a client's request to the endpoint; there is nothing to say in an answer (RFC 7009 §2.2)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mtls_as.http.answers import Answer
from mtls_as.http.certificate import CertificateSource
from mtls_as.http.client_request import NO_STORE, answer_client_request
from mtls_as.server.endpoints.client_request import ClientRequest
from mtls_as.server.endpoints.revocation import RevocationEndpoint
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock


async def answer_revocation_request(
    scope: Mapping[str, Any],
    read_body: Callable[[], Awaitable[bytes]],
    *,
    certificate: CertificateSource,
    endpoint: RevocationEndpoint,
    clock: Clock,
    emit: EventSink,
) -> Answer:
    """Answer one revocation request: its ASGI scope, and how to read its body, bounded in size and time."""

    async def handle(request: ClientRequest, event: RequestEvent) -> Answer:
        await endpoint.answer(request, event)
        return Answer(status=200, headers={"Content-Length": "0", **NO_STORE}, body=b"")

    return await answer_client_request(
        scope, read_body, name="revocation", certificate=certificate, clock=clock, emit=emit, handle=handle
    )
