"""`POST /token`: hands a client's request to the endpoint, and renders its answer."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec.structs import replace

from mtls_as.http.answers import Answer, json_answer
from mtls_as.http.certificate import CertificateSource
from mtls_as.http.client_request import NO_STORE, answer_client_request
from mtls_as.rfc.rfc9449_dpop import NONCE_HEADER
from mtls_as.server.endpoints.client_request import ClientRequest
from mtls_as.server.endpoints.token import TokenEndpoint
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock


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

    async def handle(request: ClientRequest, event: RequestEvent) -> Answer:
        return json_answer(await endpoint.answer(request, event), headers=NO_STORE)

    answer = await answer_client_request(
        scope, read_body, name="token", certificate=certificate, clock=clock, emit=emit, handle=handle
    )
    nonce = endpoint.proofs.next_nonce(clock())
    return answer if nonce is None else replace(answer, headers={**answer.headers, NONCE_HEADER: nonce})
