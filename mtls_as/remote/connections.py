"""How documents are fetched: no redirects, nothing from the environment, no cookies, no connection that is kept."""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

_MAX_CONNECTIONS: Final = 100


class Connections:
    """An `httpx.AsyncClient`, made when something is first fetched: most processes never do, and it takes 3 MiB.

    `ssl_context` says whom to trust; without one, the CAs of the system. `seconds` is for each step of an exchange.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None, *, seconds: float) -> None:
        self._ssl_context = ssl_context
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None

    @property
    def client(self) -> httpx.AsyncClient:
        """What sends requests. Connections are not kept, so that it serves any event loop."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._ssl_context or ssl.create_default_context(),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=False,
                trust_env=False,
                timeout=self._seconds,
                limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0),
            )
        return self._client

    async def aclose(self) -> None:
        """Close what is still open."""
        if self._client is not None:
            await self._client.aclose()
