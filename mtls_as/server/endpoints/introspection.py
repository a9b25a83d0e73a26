"""The introspection endpoint (RFC 7662), with signed answers (RFC 9701)."""

from collections.abc import Mapping
from dataclasses import dataclass

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import NONE
from mtls_as.rfc.rfc7662_introspection import INACTIVE, introspection_answer
from mtls_as.rfc.rfc9701_jwt_introspection import TOKEN_INTROSPECTION_TYPE, introspection_claims
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.endpoints.client_request import ClientRequest, authenticate, read_form
from mtls_as.server.events import RequestEvent
from mtls_as.server.issued_tokens import ActiveTokens, GenuineToken, TokenNotActive
from mtls_as.server.token_signing import TokenSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionEndpoint:
    """Tells a resource server of the tokens that are for it, and of no others, not even that they exist (§4)."""

    issuer: str
    authenticator: ClientAuthenticator
    tokens: ActiveTokens
    audiences: Mapping[str, frozenset[str]]
    """By `client_id`, the identifiers of the resources that this client is."""
    signer: TokenSigner
    algorithm: str

    async def answer(self, request: ClientRequest, event: RequestEvent) -> Mapping[str, object]:
        """The answer of RFC 7662 §2.2. Notes in `event` what became known. Raises `OAuthError`."""
        return (await self._introspect(request, event))[1]

    async def signed_answer(self, request: ClientRequest, event: RequestEvent) -> str:
        """The same as a JWT for the caller alone (RFC 9701 §5). Raises `OAuthError`."""
        caller, answer = await self._introspect(request, event)
        claims = introspection_claims(
            issuer=self.issuer, audience=caller.client.client_id, issued_at=int(request.at), answer=answer
        )
        key = self.signer.key(self.algorithm, request.at)
        return await self.signer.sign(claims, type=TOKEN_INTROSPECTION_TYPE, key=key)

    async def _introspect(
        self, request: ClientRequest, event: RequestEvent
    ) -> tuple[AuthenticatedClient, Mapping[str, object]]:
        """(1) The caller proves who it is (§2.1); (2) the token is active; (3) the caller is whom the token is for."""
        attempt = read_form(request, event)
        token = attempt.form.require("token")
        caller = await authenticate(self.authenticator, attempt, event)  # (1)
        if caller.method == NONE:
            detail = "a client that proves nothing asks what a token says"
            raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.WRONG_AUTHENTICATION_METHOD, detail)
        try:
            found = await self.tokens.find(token, at=request.at)  # (2)
            self._require_audience(found, caller)  # (3)
        except TokenNotActive as reason:
            event.note_inactive(reason.refusal, reason.detail, reason.token_id)
            return caller, dict(INACTIVE)
        event.token_id = found.token_id
        return caller, introspection_answer(found.claims)

    def _require_audience(self, token: GenuineToken, caller: AuthenticatedClient) -> None:
        """The rule is the resource's own list. That a token was issued to the caller entitles it to nothing (§4)."""
        if self.audiences.get(caller.client.client_id, frozenset()).isdisjoint(token.audience):
            detail = f"it is for {', '.join(token.audience)}, which does not name the caller in introspection_clients"
            raise TokenNotActive(Refusal.TOKEN_NOT_FOR_CALLER, detail, token_id=token.token_id)
