"""Discovery and the token request: what is asked, and how the answer is read."""

import contextlib
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import httpx

from mtls_as.client.errors import AuthorizationServerError, TokenRequestError
from mtls_as.remote.bounded import TOTAL_SECONDS, Answer, AnswerError, build_request, send
from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url, parse_metadata

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
_HTTP_OK: Final = 200
_DEFAULT_LIFETIME: Final = 60  # seconds, when the server does not say (RFC 6749 §5.1 only recommends it)
_MAX_LIFETIME: Final = 365 * 86400
_MARGIN: Final = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token as the server gave it. Times are epoch seconds; `scope` is None where it is what was asked for."""

    value: str = field(repr=False)
    scope: str | None
    expires_at: float
    refresh_at: float
    """When to ask for the next one: a little before this one ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What a client asks for with the client credentials grant (RFC 6749 §4.4, RFC 8707 §2)."""

    issuer: str
    client_id: str
    scope: str | None
    resource: str | None

    def form(self) -> dict[str, str]:
        """The form of the token request; the connection's certificate is the client's authentication (RFC 8705 §2)."""
        members = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "scope": self.scope,
            "resource": self.resource,
        }
        return {name: value for name, value in members.items() if value is not None}


async def fetch(wanted: TokenRequest, context: ssl.SSLContext, *, at: float, jitter: float) -> AccessToken:
    """Discover the token endpoint and ask it for a token. Raises `TokenRequestError`, `AuthorizationServerError`.

    `at` is the time now, from which the token's life is counted; so the estimate errs on the short side. `jitter`, from
    0 to 1, is how much earlier than need be the token is to be replaced, so that many clients do not come at once.
    """
    async with _connections(context, TOTAL_SECONDS) as client:
        url = metadata_url(wanted.issuer)
        with _naming(url):
            endpoint = _read_token_endpoint(await send(client, build_request("GET", url)), issuer=wanted.issuer)
        return await _ask(client, endpoint, wanted, at=at, jitter=jitter, seconds=TOTAL_SECONDS)


async def fetch_from(
    endpoint: str, wanted: TokenRequest, context: ssl.SSLContext, *, at: float, seconds: float
) -> AccessToken:
    """Ask a token endpoint that is known already, for so many seconds at most. Raises what `fetch` raises."""
    async with _connections(context, seconds) as client:
        return await _ask(client, endpoint, wanted, at=at, jitter=0, seconds=seconds)


def _connections(context: ssl.SSLContext, seconds: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=seconds)


@contextlib.contextmanager
def _naming(url: str) -> Iterator[None]:
    """Say whose answer is of no use."""
    try:
        yield
    except (AnswerError, MetadataError) as error:
        raise AuthorizationServerError(f"{url}: {error}") from error


async def _ask(
    client: httpx.AsyncClient, endpoint: str, wanted: TokenRequest, *, at: float, jitter: float, seconds: float
) -> AccessToken:
    with _naming(endpoint):
        answer = await send(client, build_request("POST", endpoint, form=wanted.form()), seconds=seconds)
        return _read_token(answer, at=at, jitter=jitter)


def _read_token_endpoint(answer: Answer, *, issuer: str) -> str:
    """RFC 8414 §3.2 and §3.3; the alias comes first (RFC 8705 §5). Raises `AnswerError`, `MetadataError`."""
    endpoint = parse_metadata(answer.expect(_HTTP_OK).json(), issuer=issuer).mtls_token_endpoint
    if endpoint is None:
        raise MetadataError("there is no token endpoint")
    return endpoint


def _read_token(answer: Answer, *, at: float, jitter: float) -> AccessToken:
    """RFC 6749 §5.1 and §5.2. Raises `TokenRequestError`, `AnswerError`."""
    members = answer.json()
    if not isinstance(members, dict):
        raise AnswerError("the answer is not an object")
    if answer.status != _HTTP_OK:
        code, description = members.get("error"), members.get("error_description", "")
        if not isinstance(code, str) or not isinstance(description, str):
            raise AnswerError(f"status {answer.status} without an OAuth error")
        raise TokenRequestError(_printable(code), _printable(description))
    value, kind, scope = (members.get(name) for name in ("access_token", "token_type", "scope"))
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise AnswerError("there is no usable access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AnswerError("the token_type is not Bearer")
    if scope is not None and not isinstance(scope, str):
        raise AnswerError("the scope is not a string")
    lifetime = members.get("expires_in", _DEFAULT_LIFETIME)
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not 0 < lifetime <= _MAX_LIFETIME:
        raise AnswerError("expires_in is not a number of seconds")
    expires_at, margin = at + lifetime, min(_MARGIN, lifetime / 10) * (1 + jitter)
    return AccessToken(value=value, scope=scope, expires_at=expires_at, refresh_at=expires_at - margin)


def _printable(text: str) -> str:
    return ascii(text[:200])[1:-1]
