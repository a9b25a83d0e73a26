"""Authentication for httpx: every request carries a token bound to the client's certificate."""

import asyncio
import re
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import httpx

from mtls_as.client.credentials import client_context
from mtls_as.client.errors import ClientConfigurationError, InsecureRequest
from mtls_as.client.exchange import AccessToken, TokenRequest, fetch, fetch_blocking
from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url

_INVALID_TOKEN: Final = re.compile(r"\berror *= *\"?invalid_token\b")


class MutualTLSAuth(httpx.Auth):
    """An `httpx.Auth` that gets bound tokens with a certificate and keeps them fresh, for sync and async clients alike.

        auth = MutualTLSAuth(issuer="https://as.example", client_id="reports", certificate=…, private_key=…)
        client = httpx.Client(auth=auth, verify=auth.ssl_context())

    The httpx client must use `ssl_context()`, since a bound token is only good together with its certificate (RFC 8705
    §3). The token endpoint is found through the issuer's metadata. `certificate` is a PEM file with the chain, leaf
    first, `private_key` one with the key, `ca` one with the only CAs to trust. `scope` and `resource` go into the token
    request. One token is asked for at a time, before the old one ends, and once more when a resource server calls it
    invalid.

    Raises `ClientConfigurationError` here; while requests are made, `TokenRequestError`, `AuthorizationServerError`,
    and `InsecureRequest` for a URL that is not https.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        certificate: str | Path,
        private_key: str | Path,
        scope: str | None = None,
        resource: str | None = None,
        ca: str | Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            metadata_url(issuer)
        except MetadataError as error:
            raise ClientConfigurationError(f"issuer: {error}") from None
        self._wanted = TokenRequest(issuer=issuer, client_id=client_id, scope=scope, resource=resource)
        self._context = client_context(Path(certificate), Path(private_key), Path(ca) if ca is not None else None)
        self._clock = clock
        self._token: AccessToken | None = None
        self._lock = threading.Lock()
        self._async_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def ssl_context(self) -> ssl.SSLContext:
        """The context with the certificate, to be given to the httpx client as `verify`."""
        return self._context

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by `httpx.Client`."""
        _require_https(request)
        token = self.token()
        response = yield _with_token(request, token)
        if _should_retry(request, response):
            yield _with_token(request, self.token(rejected=token))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Called by `httpx.AsyncClient`."""
        _require_https(request)
        token = await self.token_async()
        response = yield _with_token(request, token)
        if _should_retry(request, response):
            yield _with_token(request, await self.token_async(rejected=token))

    def token(self, *, rejected: AccessToken | None = None) -> AccessToken:
        """A token that is still good: the one at hand, unless it is `rejected` or about to end, else a new one."""
        token = self._usable(rejected)
        if token is None:
            with self._lock:
                token = self._usable(rejected) or fetch_blocking(self._wanted, self._context, at=self._clock())
                self._token = token
        return token

    async def token_async(self, *, rejected: AccessToken | None = None) -> AccessToken:
        """`token` for asynchronous callers."""
        token = self._usable(rejected)
        if token is None:
            # A lock belongs to one event loop, and programs may run several, one after the other.
            async with self._async_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                token = self._usable(rejected) or await fetch(self._wanted, self._context, at=self._clock())
                self._token = token
        return token

    def _usable(self, rejected: AccessToken | None) -> AccessToken | None:
        token = self._token
        return token if token and token is not rejected and self._clock() < token.refresh_at else None


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
    return MutualTLSAuth(
        issuer=issuer,
        client_id=client_id,
        certificate=certificate,
        private_key=private_key,
        scope=scope,
        resource=resource,
        ca=ca,
    ).token()


def _require_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise InsecureRequest(f"a token is only sent over https, not to {request.url.scheme}://{request.url.host}")


def _with_token(request: httpx.Request, token: AccessToken) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token.value}"
    return request


def _should_retry(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether the token was the trouble (RFC 6750 §3.1), and the body can be sent again."""
    return (
        response.status_code == httpx.codes.UNAUTHORIZED
        and any(_INVALID_TOKEN.search(value) for value in response.headers.get_list("www-authenticate"))
        and isinstance(request.stream, httpx.ByteStream)
    )
