"""requests: a session whose requests carry tokens bound to the certificate of their connections."""

import ssl
import threading
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from mtls_as.client.credentials import Credentials
from mtls_as.client.errors import ClientConfigurationError
from mtls_as.client.refusals import calls_token_invalid, require_https
from mtls_as.client.token_source import BoundToken, TokenSource

_VERIFYING: Final = "CERT_REQUIRED"


def session(tokens: TokenSource, *, scope: str | None = None, resource: str | None = None) -> requests.Session:
    """A session with `BoundAuth` and `BoundAdapter`; nothing of the environment (proxies, `.netrc`) is used.

    Its `verify` and `cert` say nothing: whom to trust is said by the token source. A redirect to another origin gets
    no token.
    """
    new = requests.Session()
    new.trust_env = False
    new.auth = BoundAuth(tokens, scope=scope, resource=resource)
    new.mount("https://", BoundAdapter(tokens))
    return new


class BoundAuth(AuthBase):
    """The `auth` of a session or request that goes through a `BoundAdapter` of the same token source.

    Raises `InsecureRequest` for a URL that is not https, `TokenRequestError`, `AuthorizationServerError`.
    """

    def __init__(self, tokens: TokenSource, *, scope: str | None = None, resource: str | None = None) -> None:
        self._tokens = tokens
        self._scope = scope
        self._resource = resource

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As requests calls it."""
        _require_https(request)
        request.headers["Authorization"] = self.authorization()
        return request

    def authorization(self, *, rejected: BoundToken | None = None) -> "Authorization":
        """The value of the header, with a token that is not `rejected`."""
        bound = self._tokens.bound(
            scope=self._scope, resource=self._resource, rejected=rejected.token if rejected else None
        )
        return Authorization(self, bound)


class Authorization(str):
    """The value of a header that knows what it is bound to. A redirect to another origin loses it with the header."""

    __slots__ = ("auth", "bound")

    auth: BoundAuth
    bound: BoundToken

    def __new__(cls, auth: BoundAuth, bound: BoundToken) -> "Authorization":  # noqa: PYI034 # of one class alone
        value = super().__new__(cls, bound.header)
        value.auth, value.bound = auth, bound
        return value

    def __repr__(self) -> str:
        return "'Bearer …'"


class BoundAdapter(HTTPAdapter):
    """For `session.mount("https://", …)`: sends a request over connections with the certificate of its token.

    A token that a resource server calls invalid is replaced, and the request sent once more where its body can be.
    Connections of a certificate that was renewed end when their requests are done. Raises `ClientConfigurationError`
    for `verify=False` and for `cert`.
    """

    def __init__(self, tokens: TokenSource, **options: Any) -> None:  # noqa: ANN401 # as HTTPAdapter
        self._tokens = tokens
        self._lock = threading.Lock()
        self._made: tuple[Credentials, ssl.SSLContext] | None = None
        super().__init__(**options)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 # as HTTPAdapter
        timeout: Any = None,  # noqa: ANN401 # as HTTPAdapter
        verify: bool | str = True,  # noqa: FBT001, FBT002 # as HTTPAdapter
        cert: Any = None,  # noqa: ANN401 # as HTTPAdapter
        proxies: Any = None,  # noqa: ANN401 # as HTTPAdapter
    ) -> requests.Response:
        """As requests calls it."""
        if not verify or cert is not None:
            raise ClientConfigurationError("verify, cert: the certificate and whom to trust are the token source's")
        authorization = request.headers.get("Authorization")
        if isinstance(authorization, Authorization):
            _require_https(request)
        response = super().send(request, stream=stream, timeout=timeout, proxies=proxies)
        if isinstance(authorization, Authorization) and _should_retry(request, response):
            response.close()
            request.headers["Authorization"] = authorization.auth.authorization(rejected=authorization.bound)
            response = super().send(request, stream=stream, timeout=timeout, proxies=proxies)
        return response

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ANN401 # as HTTPAdapter
        cert: Any = None,  # noqa: ANN401 # as HTTPAdapter
    ) -> Any:  # noqa: ANN401 # as HTTPAdapter
        """As requests calls it: the pool of connections is that of the token's certificate."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        authorization = request.headers.get("Authorization")
        bound = authorization.bound if isinstance(authorization, Authorization) else None
        credentials = bound.credentials if bound is not None else self._tokens.credentials()
        return host, {"ssl_context": self._context(credentials), "cert_reqs": _VERIFYING}

    def cert_verify(self, *_arguments: Any, **_options: Any) -> None:  # noqa: ANN401 # as HTTPAdapter
        """As requests calls it. It would add CAs of its own to those that are trusted."""

    def _context(self, credentials: Credentials) -> ssl.SSLContext:
        with self._lock:
            if self._made is None or self._made[0] is not credentials:
                if self._made is not None:
                    self.poolmanager.clear()
                self._made = credentials, credentials.tls_context()
            return self._made[1]


def _require_https(request: requests.PreparedRequest) -> None:
    parts = urlsplit(request.url or "")
    require_https(parts.scheme, parts.hostname or "")


def _should_retry(request: requests.PreparedRequest, response: requests.Response) -> bool:
    """Whether the token was the trouble, and the body can be sent again."""
    challenges = response.raw.headers.getlist("WWW-Authenticate")
    return calls_token_invalid(response.status_code, challenges) and isinstance(request.body, bytes | str | None)
