"""Asking an authorization server what a token means: over connections that are kept, by mutual TLS."""

import asyncio
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from mtls_as.remote.bounded import Answer, AnswerError, build_request, send
from mtls_as.remote.documents import HTTP_OK

MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 20
SECONDS: Final = 5.0


class IntrospectionClient:
    """Asks one server: no redirects, no proxies or credentials from the environment, no cookies.

    `ssl_context` says whom to trust, and holds the certificate that proves who asks. `seconds` bounds an answer, from
    the wait for a connection to the last byte.
    """

    def __init__(self, ssl_context: ssl.SSLContext, *, seconds: float = SECONDS) -> None:
        self._ssl_context = ssl_context
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, url: str, *, token: str, client_id: str, accept: str) -> Answer:
        """An answer with status 200 to a question about a token (RFC 7662 §2.1). Raises `AnswerError` alone."""
        form = {"token": token, "token_type_hint": "access_token", "client_id": client_id}
        request = build_request("POST", url, form=form, accept=accept)
        answer = await send(self._connections(), request, seconds=self._seconds, limit=MAX_ANSWER_BYTES)
        return answer.expect(HTTP_OK)

    async def aclose(self) -> None:
        """Close what is still open."""
        if self._client is not None:
            await self._client.aclose()

    def _connections(self) -> httpx.AsyncClient:
        """Kept connections belong to an event loop; whoever uses another one gets new ones."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = httpx.AsyncClient(
                verify=self._ssl_context,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=False,
                trust_env=False,
                timeout=self._seconds,
                limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
            )
        return self._client


__all__ = ["AnswerError", "IntrospectionClient"]
