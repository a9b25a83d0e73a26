"""Claims hooks: further claims for a token, from a Python entry point (`mtls_as.claims`) or from an HTTPS endpoint.

A hook can add to a token, and never change what it means: an answer with a reserved claim refuses the token. Without
hooks a token costs nothing more.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from mtls_as.remote.bounded import AnswerError
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.rfc.rfc9068_at_jwt import ClaimsError, read_further_claims
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.policy import Authorization

ENTRY_POINT_GROUP: Final = "mtls_as.claims"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsRequest:
    """What a hook learns of the token that is to be made."""

    client_id: str
    subject: str
    actor: str | None
    """Who acts for the subject now, if it is not the subject itself (RFC 8693 §4.1)."""
    grant_type: str
    resource: str
    scope: tuple[str, ...]
    authentication_method: str
    certificate_thumbprint: str | None
    """The `x5t#S256` of the certificate on the connection."""


ClaimsCallable = Callable[[ClaimsRequest], Mapping[str, object]]
"""An entry point: it runs in the event loop of every request, and so must not wait for anything."""


class ClaimsEndpoint(Protocol):
    """Who is asked over the network."""

    def ask(self, request: Mapping[str, object]) -> Awaitable[object]:
        """The JSON of the answer. Raises `AnswerError`, and nothing else, if there is none in time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsHooks:
    """The hooks that are configured: at least one."""

    entry_point: ClaimsCallable | None
    endpoint: ClaimsEndpoint | None
    fails_open: bool = False
    """Whether a token is issued without the claims of an endpoint that gives no answer."""

    async def claims(
        self, authenticated: AuthenticatedClient, authorization: Authorization, *, grant_type: str
    ) -> tuple[Mapping[str, object], str | None]:
        """The claims of all hooks, the endpoint's last; and what an operator should know of them.

        Raises `OAuthError` `server_error` if a hook fails, or answers with what is no claim that it may set.
        """
        request = _request(authenticated, authorization, grant_type)
        called = {} if self.entry_point is None else _call(self.entry_point, request)
        if self.endpoint is None:
            return called, None
        try:
            answer = await self.endpoint.ask(dataclasses.asdict(request))
        except AnswerError as error:
            if self.fails_open:
                return called, f"issued without the claims of the hook: {error}"
            raise _failed(str(error)) from None
        return {**called, **_read(answer)}, None


def _request(authenticated: AuthenticatedClient, authorization: Authorization, grant_type: str) -> ClaimsRequest:
    certificate = authenticated.certificate
    return ClaimsRequest(
        client_id=authenticated.client.client_id,
        subject=authorization.subject or authenticated.client.client_id,
        actor=authorization.actors[0].subject if authorization.actors else None,
        grant_type=grant_type,
        resource=authorization.resource,
        scope=authorization.scope,
        authentication_method=authenticated.method,
        certificate_thumbprint=None if certificate is None else x5t_s256(certificate.leaf.der),
    )


def _call(entry_point: ClaimsCallable, request: ClaimsRequest) -> Mapping[str, object]:
    try:
        answer = entry_point(request)
    except Exception as error:  # whatever a plug-in raises, no token goes out without its claims
        raise _failed(f"the entry point raised {type(error).__name__}: {error}") from error
    return _read(answer)


def _read(answer: object) -> Mapping[str, object]:
    try:
        return read_further_claims(answer)
    except ClaimsError as error:
        raise _failed(f"the hook's answer: {error}") from None


def _failed(detail: str) -> OAuthError:
    return OAuthError(ErrorCode.SERVER_ERROR, Refusal.CLAIMS_HOOK_FAILED, detail)
