"""The HTTPS endpoint of the claims hook: asked for each token, bounded in time and size."""

import json
import ssl
from collections.abc import Mapping
from typing import Final

import httpx

from mtls_as.remote.bounded import build_request, send

MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_CONNECTIONS: Final = 50

_OK: Final = 200


class RemoteClaims:
    """Asks one configured `https` URL, by POST with JSON: no redirects, no proxies of the environment, no cookies.

    `ssl_context` says whom to trust, and may hold a client certificate; `seconds` bounds an answer from connecting to
    its last byte. Connections are not kept, so that a reload leaves none behind.
    """

    def __init__(self, url: str, *, ssl_context: ssl.SSLContext, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._client = httpx.AsyncClient(
            verify=ssl_context,
            follow_redirects=False,
            trust_env=False,
            timeout=seconds,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0),
        )

    async def ask(self, request: Mapping[str, object]) -> object:
        """The JSON of an answer with status 200, labelled as JSON, 16 KiB at most. Raises `AnswerError` alone."""
        content = json.dumps(request).encode("ascii")
        answer = await send(
            self._client,
            build_request("POST", self._url, json=content),
            seconds=self._seconds,
            limit=MAX_ANSWER_BYTES,
        )
        return answer.expect(_OK).json()
