"""The gate of the admin listener: health and metrics ask nobody who they are, so only named networks reach them."""

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

from mtls_as.http.answers import json_answer, send_answer
from mtls_as.http.certificate import peer_address
from mtls_as.http.fast_lane import Application

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSAL: Final = json_answer(
    {"error": "access_denied", "error_description": "This address is not in listeners.admin.networks."},
    status=403,
    headers={"Cache-Control": "no-store"},
)


class NetworkGuard:
    """ASGI middleware that refuses requests over connections from other addresses than those of `networks`."""

    def __init__(self, app: Application, networks: Iterable[Network]) -> None:
        self._app = app
        self._networks = tuple(networks)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as `Application`
        """Refuse, or pass on."""
        if scope["type"] == "lifespan" or self._is_inside(peer_address(scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send_answer(_REFUSAL, send)

    def _is_inside(self, peer: str | None) -> bool:
        if peer is None:
            return False
        address = ipaddress.ip_address(peer)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # a socket of both families says ::ffff:192.0.2.1
        return any(address in network for network in self._networks)
