"""Authentication for httpx: every request carries a token bound to the client's certificate."""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any, Final, Self

import httpx

from mtls_as.client.credentials import CertificateSource
from mtls_as.client.exchange import AccessToken
from mtls_as.client.refusals import calls_token_invalid, require_https
from mtls_as.client.renewed_context import RenewedContext
from mtls_as.client.token_source import BoundToken, TokenSource
from mtls_as.client.transports import CREDENTIALS, AsyncRenewedTransport, RenewedTransport

_MOST_OUTDATED: Final = 100
_CONNECTION_OPTIONS: Final = ("http1", "http2", "limits", "proxy")


class MutualTLSAuth(httpx.Auth):
    """An `httpx.Auth` that gets bound tokens with a certificate and keeps them fresh, for sync and async clients alike.

        auth = MutualTLSAuth(issuer="https://as.example", client_id="reports", certificate=…, private_key=…)
        with auth.client() as http: ...

    Requests must go over connections that present the certificate, since a bound token is only good together with it
    (RFC 8705 §3): those of `client()` and `async_client()`, or of a client with `verify=auth.ssl_context()`. Tokens
    are those of a `TokenSource`, which has the same arguments and errors; `scope` and `resource` go into the token
    request. A token that a resource server calls invalid is replaced, and the request sent once more where its body
    can be. A redirect to another origin gets no token.

    While requests are made, raises `TokenRequestError`, `AuthorizationServerError`, and `InsecureRequest` for a URL
    that is not https.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        certificate: str | Path | CertificateSource,
        private_key: str | Path | None = None,
        scope: str | None = None,
        resource: str | None = None,
        ca: str | Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tokens = TokenSource(
            issuer=issuer, client_id=client_id, certificate=certificate, private_key=private_key, ca=ca, clock=clock
        )
        self._scope = scope
        self._resource = resource

    @classmethod
    def using(cls, tokens: TokenSource, *, scope: str | None = None, resource: str | None = None) -> Self:
        """One for a scope and a resource, with the tokens of a source that others use, too."""
        auth = cls.__new__(cls)
        auth.tokens, auth._scope, auth._resource = tokens, scope, resource  # noqa: SLF001 # its own constructor
        return auth

    def client(self, **options: Any) -> httpx.Client:  # noqa: ANN401 # as httpx.Client
        """A client whose every connection presents the certificate of the token that goes over it, renewed or not.

        `options` are those of `httpx.Client`. Proxies of the environment are not used. Raises `TypeError` for options
        that would say something else about certificates.
        """
        connections = _take_connection_options(options)
        return httpx.Client(
            auth=self, transport=RenewedTransport(self.tokens, **connections), trust_env=False, **options
        )

    def async_client(self, **options: Any) -> httpx.AsyncClient:  # noqa: ANN401 # as httpx.AsyncClient
        """The same, asynchronous; `options` are those of `httpx.AsyncClient`."""
        transport = AsyncRenewedTransport(self.tokens, **_take_connection_options(options))
        return httpx.AsyncClient(auth=self, transport=transport, trust_env=False, **options)

    def ssl_context(self) -> RenewedContext:
        """A context for the `verify` of a client: each new connection presents the certificate of its moment.

        A connection that was kept from before a renewal is noticed when its request is refused; then it is closed, and
        the request sent over another one.
        """
        return self.tokens.ssl_context()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by `httpx.Client`."""
        require_https(request.url.scheme, request.url.host)
        bound = self.tokens.bound(scope=self._scope, resource=self._resource)
        response = yield _with_token(request, bound)
        for _ in range(_MOST_OUTDATED):
            if not (_should_retry(request, response) and self._is_outdated(response)):
                break
            unread, response.stream = response.stream, httpx.ByteStream(b"")
            assert isinstance(unread, httpx.SyncByteStream)  # noqa: S101 # for the type checker
            unread.close()
            response = yield request
        if _should_retry(request, response):
            bound = self.tokens.bound(scope=self._scope, resource=self._resource, rejected=bound.token)
            yield _with_token(request, bound)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by `httpx.AsyncClient`."""
        require_https(request.url.scheme, request.url.host)
        bound = await self.tokens.bound_async(scope=self._scope, resource=self._resource)
        response = yield _with_token(request, bound)
        for _ in range(_MOST_OUTDATED):
            if not (_should_retry(request, response) and self._is_outdated(response)):
                break
            unread, response.stream = response.stream, httpx.ByteStream(b"")
            assert isinstance(unread, httpx.AsyncByteStream)  # noqa: S101 # for the type checker
            await unread.aclose()
            response = yield request
        if _should_retry(request, response):
            bound = await self.tokens.bound_async(scope=self._scope, resource=self._resource, rejected=bound.token)
            yield _with_token(request, bound)

    def token(self, *, rejected: AccessToken | None = None) -> AccessToken:
        """A token that is still good: the one at hand, unless it is `rejected` or about to end, else a new one."""
        return self.tokens.token(scope=self._scope, resource=self._resource, rejected=rejected)

    async def token_async(self, *, rejected: AccessToken | None = None) -> AccessToken:
        """`token` for asynchronous callers."""
        return await self.tokens.token_async(scope=self._scope, resource=self._resource, rejected=rejected)

    def _is_outdated(self, response: httpx.Response) -> bool:
        """Whether it came over a kept connection of a certificate that was renewed since.

        With HTTP/1.1 such a connection ends when its answer is closed unread, and nobody else can get hold of it.
        One of HTTP/2 has requests of others under way.
        """
        if response.http_version != "HTTP/1.1":
            return False
        stream = response.extensions.get("network_stream")
        return stream is not None and self.ssl_context().is_outdated(stream.get_extra_info("ssl_object"))


def fetch_token(
    *,
    issuer: str,
    client_id: str,
    certificate: str | Path,
    private_key: str | Path,
    scope: str | None = None,
    resource: str | None = None,
    ca: str | Path | None = None,
) -> AccessToken:
    """Fetch one token, bound to the certificate. Arguments and errors are those of `MutualTLSAuth`."""
    source = TokenSource(issuer=issuer, client_id=client_id, certificate=certificate, private_key=private_key, ca=ca)
    return source.token(scope=scope, resource=resource)


def _take_connection_options(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are for the transport, which httpx would not hand on to one that it has not made."""
    if found := [name for name in ("verify", "cert", "mounts") if name in options]:
        raise TypeError(f"{found[0]}: the certificate and whom to trust are the token source's")
    return {name: options.pop(name) for name in _CONNECTION_OPTIONS if name in options}


def _with_token(request: httpx.Request, bound: BoundToken) -> httpx.Request:
    request.headers["Authorization"] = bound.header
    request.extensions[CREDENTIALS] = bound.credentials
    return request


def _should_retry(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether the token was the trouble, and the body can be sent again."""
    challenges = response.headers.get_list("www-authenticate")
    return calls_token_invalid(response.status_code, challenges) and isinstance(request.stream, httpx.ByteStream)
