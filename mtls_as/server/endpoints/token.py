"""The token endpoint (RFC 6749 §3.2), as five steps; each takes only what the step before proved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError, format_scope
from mtls_as.rfc.rfc7800_confirmation import DPoPBinding
from mtls_as.rfc.rfc9449_dpop import TOKEN_TYPE as DPOP
from mtls_as.server.access_tokens import AccessTokenIssuer, IssuedToken
from mtls_as.server.claims import ClaimsHooks
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.dpop_proofs import DPoPProofs
from mtls_as.server.endpoints.client_request import ClientRequest, authenticate, read_form
from mtls_as.server.events import RequestEvent
from mtls_as.server.grants.grant import Grant
from mtls_as.server.policy import Authorization
from mtls_as.server.storage_contact import StorageContact


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpoint:
    """Authenticates the client, runs its grant and issues the token."""

    authenticator: ClientAuthenticator
    grants: Mapping[str, Grant]
    issuer: AccessTokenIssuer
    proofs: DPoPProofs
    contact: StorageContact
    claims_hooks: ClaimsHooks | None = None

    async def answer(self, request: ClientRequest, event: RequestEvent) -> dict[str, object]:
        """The successful answer of RFC 6749 §5.1. Notes in `event` what became known. Raises `OAuthError`.

        A DPoP proof is verified before the client, whose credential may be good for once only, and used up after it.
        """
        attempt = read_form(request, event)  # (1)
        self.contact.require()
        form = attempt.form
        event.grant_type = form.get("grant_type")
        grant_type = form.require("grant_type")
        proof = self.proofs.verify(request.dpop, at=request.at)
        event.dpop_key = proof.thumbprint if proof else None
        authenticated = await authenticate(self.authenticator, attempt, event)  # (2)
        grant = self._grant(grant_type, authenticated)  # (3)
        authorization = await grant.authorize(authenticated, form, at=request.at)  # (4)
        event.subject, event.source_token_id = authorization.subject, authorization.source_token_id
        event.actor = authorization.actors[0].subject if authorization.actors else None
        if proof is not None:
            await self.proofs.use(proof)
        if self.claims_hooks is not None:
            authorization = await self._with_claims(self.claims_hooks, authenticated, authorization, event)
        issued = await self.issuer.issue(authenticated, authorization, at=request.at, dpop_key=event.dpop_key)  # (5)
        event.scope, event.resource = format_scope(issued.scope), authorization.resource
        event.token_id = issued.token_id
        return _answer(issued, authorization)

    @staticmethod
    async def _with_claims(
        hooks: ClaimsHooks, authenticated: AuthenticatedClient, authorization: Authorization, event: RequestEvent
    ) -> Authorization:
        claims, note = await hooks.claims(authenticated, authorization, grant_type=event.grant_type or "")
        event.note = "; ".join(text for text in (event.note, note) if text) or None
        return replace(authorization, claims={**authorization.claims, **claims})

    def _grant(self, grant_type: str, authenticated: AuthenticatedClient) -> Grant:
        grant = self.grants.get(grant_type)
        if grant is None:
            detail = f"{grant_type} is not a grant type of this server"
            raise OAuthError(ErrorCode.UNSUPPORTED_GRANT_TYPE, Refusal.UNSUPPORTED_GRANT, detail)
        if grant_type not in authenticated.client.metadata.grant_types:
            detail = f"the client is not registered for {grant_type}"
            raise OAuthError(ErrorCode.UNAUTHORIZED_CLIENT, Refusal.GRANT_NOT_ALLOWED, detail)
        return grant


def _answer(issued: IssuedToken, authorization: Authorization) -> dict[str, object]:
    answer: dict[str, object] = {
        "access_token": issued.access_token,
        "token_type": DPOP if isinstance(issued.confirmation, DPoPBinding) else "Bearer",
        "expires_in": issued.expires_in,
        "scope": format_scope(issued.scope),
    }
    if authorization.issued_token_type is not None:
        answer["issued_token_type"] = authorization.issued_token_type  # RFC 8693 §2.2.1
    if authorization.authorization_details:
        answer["authorization_details"] = list(authorization.authorization_details)  # RFC 9396 §7
    return answer
