"""JSON documents from configured HTTPS URLs. A URL out of a request, a token or a certificate is never fetched."""

import ssl
from typing import Final

from mtls_as.remote.bounded import (
    MAX_DOCUMENT_BYTES,
    TOTAL_SECONDS,
    Answer,
    AnswerError,
    build_request,
    send,
)
from mtls_as.remote.connections import Connections
from mtls_as.rfc.rfc3986_uri import is_https_url

HTTP_OK: Final = 200


class DocumentUnavailable(Exception):  # noqa: N818 # a state of the world, not a mistake
    """The document could not be had just now. The message names its URL and why, and quotes nothing of the answer."""


class DocumentFetcher:
    """Fetches JSON over HTTPS: no redirects, no proxies or credentials from the environment, no cookies kept.

    `ssl_context` says whom to trust; without one, the CAs of the system. `seconds` bounds a fetch from connecting to
    the last byte, `limit` the bytes of a document. Connections are not kept, so that a fetcher serves any event loop.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        seconds: float = TOTAL_SECONDS,
        limit: int = MAX_DOCUMENT_BYTES,
    ) -> None:
        self.fetches = self.failures = 0
        """Of JSON, since the start."""
        self._seconds = seconds
        self._limit = limit
        self._connections = Connections(ssl_context, seconds=seconds)

    async def get_json(self, url: str) -> object:
        """The parsed document at an `https` URL: status 200, labelled JSON. Raises `DocumentUnavailable` alone."""
        self.fetches += 1
        try:
            return (await self._get(url, "application/json", self._limit)).json()
        except AnswerError as error:
            self.failures += 1
            raise DocumentUnavailable(f"{url}: {error}") from None

    async def get_text(self, url: str, *, media_type: str, limit: int) -> str:
        """ASCII text of one media type at an `https` URL, `limit` bytes at most. Raises `DocumentUnavailable` alone."""
        try:
            return (await self._get(url, media_type, limit)).text(media_type)
        except AnswerError as error:
            raise DocumentUnavailable(f"{url}: {error}") from None

    async def _get(self, url: str, accept: str, limit: int) -> Answer:
        if not is_https_url(url):
            raise DocumentUnavailable(f"{url[:200]!a}: not an https URL")
        request = build_request("GET", url, accept=accept)
        answer = await send(self._connections.client, request, seconds=self._seconds, limit=limit)
        return answer.expect(HTTP_OK)

    async def aclose(self) -> None:
        """Close what is still open."""
        await self._connections.aclose()
