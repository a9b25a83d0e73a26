"""The fast lane: the hot endpoints answered straight from ASGI, by the very functions that the Quart routes call.

A framework's request and response objects cost more than issuing a token does. All other requests go on to the
application untouched.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from mtls_as.http.answers import send_answer
from mtls_as.http.routes import HTTPEndpoint

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
# Frameworks type their applications each in its own way; what they share is the protocol.
Application = Callable[[Any, Any, Any], Awaitable[None]]


class FastLane:
    """ASGI middleware that answers the `hot` endpoints, by method and path, itself.

    `max_body` (bytes) and `body_timeout` (seconds) bound what `read_body` takes, as the application's own limits do.
    """

    def __init__(
        self, app: Application, hot: Mapping[tuple[str, str], HTTPEndpoint], *, max_body: int, body_timeout: float
    ) -> None:
        self._app = app
        self._hot = hot
        self._max_body = max_body
        self._body_timeout = body_timeout

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as `Application`
        """Answer, or pass on."""
        if scope["type"] == "http":
            endpoint = self._hot.get((scope["method"], scope["path"]))
            if endpoint is not None:
                answer = await endpoint(scope, partial(self._read, receive))
                await send_answer(answer, send)
                return
        await self._app(scope, receive, send)

    async def _read(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._body_timeout):
                return await _read_bounded(receive, self._max_body)
        except TimeoutError:
            raise RequestTimeout from None


async def _read_bounded(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestTimeout
        body += message.get("body", b"")
        if len(body) > limit:
            raise RequestEntityTooLarge
        if not message.get("more_body"):
            return bytes(body)
