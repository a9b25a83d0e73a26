"""The fast lane: the hot endpoints answered without a framework, by the very functions that the Quart routes call.

A framework's request and response objects cost more than issuing a token does, and so does ASGI. Requests in plain
HTTP/1.1 come by `direct`, past ASGI; others, as in HTTP/2, by ASGI. What is not hot goes on to the application.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from functools import partial
from typing import Any

from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from mtls_as.http.answers import Answer, send_answer
from mtls_as.http.routes import HTTPEndpoint

DirectEndpoint = Callable[[Mapping[str, Any], bytes | None], Coroutine[Any, Any, Answer]]
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
        self._direct = {
            (method.encode("ascii"), path.encode("ascii")): partial(_answer_directly, endpoint)
            for (method, path), endpoint in hot.items()
        }
        self.max_body = max_body
        self.body_timeout = body_timeout

    def direct(self, method: bytes, target: bytes) -> DirectEndpoint | None:
        """What answers a request directly (`mtls_as.tls.DirectAnswers`)."""
        return self._direct.get((method, target))

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
            async with asyncio.timeout(self.body_timeout):
                return await _read_bounded(receive, self.max_body)
        except TimeoutError:
            raise RequestTimeout from None


def _answer_directly(
    endpoint: HTTPEndpoint, scope: Mapping[str, Any], body: bytes | None
) -> Coroutine[Any, Any, Answer]:
    async def read() -> bytes:
        if body is None:
            raise RequestTimeout
        return body

    return endpoint(scope, read)


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
