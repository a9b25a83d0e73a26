"""The gate of the proxy listener: nobody but the proxy gets any answer but one."""

from typing import Any

from mtls_as.forwarded import CERTIFICATE_HEADERS, HopError, TrustedProxy
from mtls_as.http.answers import send_answer
from mtls_as.http.certificate import handshake_chain, hop_refusal, note_ignored_headers, peer_address
from mtls_as.http.errors import error_answer
from mtls_as.http.fast_lane import Application
from mtls_as.server.events import EventSink, RequestEvent


class ProxyGuard:
    """ASGI middleware that refuses every request which did not come over the hop from the proxy, and says so."""

    def __init__(self, app: Application, proxy: TrustedProxy, *, emit: EventSink) -> None:
        self._app = app
        self._proxy = proxy
        self._emit = emit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as `Application`
        """Refuse, or pass on."""
        if scope["type"] != "lifespan":
            try:
                self._proxy.hop.check(peer=peer_address(scope), der_chain=handshake_chain(scope))
            except HopError as error:
                await self._refuse(error, scope, send)
                return
        await self._app(scope, receive, send)

    async def _refuse(self, error: HopError, scope: Any, send: Any) -> None:  # noqa: ANN401 # as `Application`
        refusal = hop_refusal(error)
        event = RequestEvent(endpoint="proxy", peer=peer_address(scope))
        event.refuse(refusal)
        note_ignored_headers(scope, CERTIFICATE_HEADERS | self._proxy.headers, event)
        self._emit(event)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send_answer(error_answer(refusal, has_authorization_header=False), send)
