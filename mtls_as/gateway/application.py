"""The gateway as an application of its listener, by ASGI and past it."""

from collections.abc import Mapping
from typing import Any, Final

from mtls_as.gateway.decisions import CheckAnswer, Gateway
from mtls_as.gateway.questions import CHECK_PATH
from mtls_as.tls.direct_answers import DirectEndpoint

_CHECK: Final = CHECK_PATH.encode("ascii")


class CurrentGateway:
    """Each request goes to the gateway in force when it begins, and ends there.

    Questions in plain HTTP/1.1 come by `direct`, which saves most of what they cost. Bodies are of no interest: a proxy
    that sends one is answered all the same.
    """

    max_body = 0
    body_timeout = 5.0

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def direct(self, _method: bytes, target: bytes) -> DirectEndpoint | None:
        """What answers a question directly (`mtls_as.tls.direct_answers`)."""
        return self._answer if target.startswith(_CHECK) else None

    async def _answer(self, scope: Mapping[str, Any], _body: bytes | None) -> CheckAnswer:
        return await self.gateway.answer(scope)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as ASGI applications are
        """Answer by ASGI."""
        match scope["type"]:
            case "http":
                await _send(await self.gateway.answer(scope), scope, send)
            case "lifespan":
                await _live(receive, send)
            case _:
                await receive()
                await send({"type": "websocket.close"})


async def _send(answer: CheckAnswer, scope: Any, send: Any) -> None:  # noqa: ANN401 # as ASGI applications are
    headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _live(receive: Any, send: Any) -> None:  # noqa: ANN401 # as ASGI applications are
    """There is nothing to begin or to end."""
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})
