"""aiohttp: a session whose requests to one origin carry tokens bound to the certificate of their connections."""

import ssl
from typing import Any, Final

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.payload import BytesPayload
from yarl import URL

from mtls_as.client.credentials import Credentials
from mtls_as.client.refusals import calls_token_invalid, require_https
from mtls_as.client.token_source import TokenSource

_CHALLENGES: Final = "WWW-Authenticate"


def session(
    tokens: TokenSource,
    origin: str,
    *,
    scope: str | None = None,
    resource: str | None = None,
    **options: Any,  # noqa: ANN401 # as aiohttp.ClientSession
) -> aiohttp.ClientSession:
    """A session that sends tokens to `origin`, as in `https://api.example`, and to no other: no redirect has them.

    `options` are those of `aiohttp.ClientSession`. Raises `InsecureRequest` for an origin that is not https.
    """
    middleware = BoundTokens(tokens, origin, scope=scope, resource=resource)
    options["middlewares"] = (*options.get("middlewares", ()), middleware)
    connector = options.pop("connector", None) or aiohttp.TCPConnector(ssl=tokens.ssl_context())
    return aiohttp.ClientSession(connector=connector, request_class=BoundRequest, **options)


class BoundRequest(aiohttp.ClientRequest):
    """A request that goes over connections with the certificate of its token: for `request_class` of a session."""

    context: ssl.SSLContext | None = None

    @property
    def ssl(self) -> ssl.SSLContext | bool | aiohttp.Fingerprint:
        """As aiohttp asks for it when it connects."""
        return super().ssl if self.context is None else self.context

    @property
    def connection_key(self) -> ConnectionKey:
        """As aiohttp asks for it when it looks for a connection that was kept."""
        return super().connection_key._replace(ssl=self.ssl)


class BoundTokens:
    """The middleware, for a session with `request_class=BoundRequest`.

    A token that a resource server calls invalid is replaced, and the request sent once more where its body can be.
    Connections of a certificate that was renewed are not used any more, and end after aiohttp's `keepalive_timeout`.
    """

    def __init__(
        self, tokens: TokenSource, origin: str, *, scope: str | None = None, resource: str | None = None
    ) -> None:
        self._origin = URL(origin).origin()
        require_https(self._origin.scheme, self._origin.host or "")
        self._tokens = tokens
        self._scope = scope
        self._resource = resource
        self._made: tuple[Credentials, ssl.SSLContext] | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """As aiohttp calls it, for each redirect anew."""
        if _https(request.url).origin() != self._origin:
            return await handler(request)
        if not isinstance(request, BoundRequest):
            raise TypeError("the session needs request_class=BoundRequest")
        bound = await self._tokens.bound_async(scope=self._scope, resource=self._resource)
        request.headers["Authorization"], request.context = bound.header, self._context(bound.credentials)
        response = await handler(request)
        if _should_retry(request, response):
            response.release()
            bound = await self._tokens.bound_async(scope=self._scope, resource=self._resource, rejected=bound.token)
            request.headers["Authorization"], request.context = bound.header, self._context(bound.credentials)
            response = await handler(request)
        return response

    def _context(self, credentials: Credentials) -> ssl.SSLContext:
        if self._made is None or self._made[0] is not credentials:
            self._made = credentials, credentials.tls_context()
        return self._made[1]


def _https(url: URL) -> URL:
    """A WebSocket begins as a request over https (RFC 6455 §3)."""
    return url.with_scheme("https") if url.scheme == "wss" else url


def _should_retry(request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> bool:
    """Whether the token was the trouble, and the body can be sent again."""
    challenges = response.headers.getall(_CHALLENGES, [])
    return calls_token_invalid(response.status, challenges) and (
        not request.body or isinstance(request.body, bytes | BytesPayload)
    )
