"""Octets that carry a signature of their own, from configured URLs: revocation lists and OCSP answers.

Plain `http` is allowed, since whoever reads them verifies them, and a CA's own servers often speak nothing else: on the
way they can only be held up. What was said of redirects, proxies and credentials in `mtls_as.remote.documents` holds.
"""

import ssl
from typing import Final

import httpx

from mtls_as.remote.bounded import AnswerError, send
from mtls_as.remote.connections import Connections
from mtls_as.remote.documents import HTTP_OK, DocumentUnavailable
from mtls_as.rfc.rfc3986_uri import is_http_url

MAX_LIST_BYTES: Final = 64 * 1024 * 1024
LIST_SECONDS: Final = 60.0
MAX_ANSWER_BYTES: Final = 64 * 1024
ANSWER_SECONDS: Final = 5.0

_QUESTION: Final = "application/ocsp-request"


class SignedObjectFetcher:
    """Fetches lists and asks responders, each within bounds of size and time; `ssl_context` as for documents."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        list_seconds: float = LIST_SECONDS,
        max_list_bytes: int = MAX_LIST_BYTES,
    ) -> None:
        self._list_seconds = list_seconds
        self._max_list_bytes = max_list_bytes
        self._connections = Connections(ssl_context, seconds=list_seconds)

    async def get(self, url: str) -> bytes:
        """The octets at an `http` or `https` URL, 64 MiB and a minute at most. Raises `DocumentUnavailable` alone."""
        return await self._send("GET", url, seconds=self._list_seconds, limit=self._max_list_bytes)

    async def ask(self, url: str, question: bytes) -> bytes:
        """The answer to an OCSP question (RFC 6960 appendix A.1). Raises `DocumentUnavailable` alone."""
        return await self._send("POST", url, question, seconds=ANSWER_SECONDS, limit=MAX_ANSWER_BYTES)

    async def aclose(self) -> None:
        """Close what is still open."""
        await self._connections.aclose()

    async def _send(self, method: str, url: str, body: bytes | None = None, *, seconds: float, limit: int) -> bytes:
        if not is_http_url(url):
            raise DocumentUnavailable(f"{url[:200]!a}: not an http or https URL")
        headers = {"Accept-Encoding": "identity"} | ({} if body is None else {"Content-Type": _QUESTION})
        try:
            request = httpx.Request(method, url, headers=headers, content=body)
            answer = await send(self._connections.client, request, seconds=seconds, limit=limit)
            return answer.expect(HTTP_OK).body
        except (AnswerError, httpx.InvalidURL, UnicodeError) as error:
            raise DocumentUnavailable(f"{url}: {error}") from None
