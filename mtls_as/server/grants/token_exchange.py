"""The token exchange grant (RFC 8693): a resource server, or a client, gets another token for one that it has.

A resource server presents a token that was sent to it, so it cannot prove to hold the certificate which that token is
bound to. What stands in the place of this proof: the token is for the very resource that the client *is*, by
configuration, and comes from a client whose tokens it may exchange. A token that was issued to the client itself must
be of this connection's certificate.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError
from mtls_as.rfc.rfc8693_token_exchange import (
    GRANT_TYPE,
    JWT,
    ActorError,
    Chain,
    ExchangeRequest,
    Party,
    check_may_act,
    delegate,
    parse_exchange_request,
)
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.policy import Authorization, Policy
from mtls_as.server.presented_tokens import PresentedToken, PresentedTokenError, PresentedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchangeGrant:
    """Gives tokens that allow no more, and live no longer, than those they are given for."""

    grant_type: ClassVar[str] = GRANT_TYPE
    issuer: str
    policy: Policy
    tokens: PresentedTokens
    opaque_resources: Collection[str] = ()
    """The resources whose tokens are no JWTs."""

    async def authorize(self, authenticated: AuthenticatedClient, form: Form, *, at: float) -> Authorization:
        """What the new token may say.

        (1) The subject token is genuine, active, and this client's to exchange; (2) so is the actor token, if there is
        one; (3) the subject token lets this actor act; (4) resource, scope and details are the client's, and within the
        subject token's; (5) the new token ends with both.

        Raises `OAuthError`: `invalid_request` for (1) to (3) (RFC 8693 §2.2.2), and what `Policy.authorize` raises.
        """
        request = parse_exchange_request(form)
        try:
            subject = await self._subject(request, authenticated, at)  # (1)
            actor = await self._actor(request, authenticated, at)  # (2)
            actors = self._chain(subject, actor, authenticated)  # (3)
        except PresentedTokenError as error:
            raise _refused(error.refusal, error.detail) from None
        except ActorError as error:
            raise _refused(Refusal.ACTOR_NOT_ALLOWED, str(error)) from None
        targets = dict.fromkeys((*form.every("resource"), *form.every("audience")))
        client = authenticated.client
        authorization = self.policy.authorize(client, form, within=subject.ceiling, targets=targets)  # (4)
        if request.requested_token_type == JWT and authorization.resource in self.opaque_resources:
            raise _refused(Refusal.TOKEN_TYPE_UNSUPPORTED, f"tokens for {authorization.resource} are opaque")
        return replace(
            authorization,
            subject=subject.subject.subject,
            actors=actors,
            ends_by=min(token.expires_at for token in (subject, actor) if token is not None),  # (5)
            issued_token_type=request.requested_token_type,
            source_token_id=subject.token_id,
        )

    async def _subject(self, request: ExchangeRequest, authenticated: AuthenticatedClient, at: float) -> PresentedToken:
        token = await self.tokens.token(request.subject.text, at=at)
        policy = authenticated.client.exchange
        if token.foreign is None:
            self._check_own(token, authenticated, policy.clients)
        elif token.issuer not in policy.issuers:
            raise _not_allowed(f"the client may not exchange tokens of {token.issuer}")
        elif set(token.audience).isdisjoint(policy.audiences):
            if self.issuer not in token.audience:
                raise _not_allowed("the token is neither for this server nor for the resource that the client is")
            token.require_possession(authenticated)
        return token

    async def _actor(
        self, request: ExchangeRequest, authenticated: AuthenticatedClient, at: float
    ) -> PresentedToken | None:
        if request.actor is None:
            return None
        token = await self.tokens.own(request.actor.text, at=at)
        self._check_own(token, authenticated, authenticated.client.exchange.actors)
        if token.actors:
            raise PresentedTokenError(Refusal.ACTOR_NOT_ALLOWED, "somebody acts for the subject of the actor token")
        return token

    @staticmethod
    def _check_own(token: PresentedToken, authenticated: AuthenticatedClient, partners: Collection[str]) -> None:
        """A token of ours is issued to the client itself, or sent to it by a partner."""
        client = authenticated.client
        if token.client_id == client.client_id:
            token.require_possession(authenticated)
            return
        if set(token.audience).isdisjoint(client.exchange.audiences):
            raise _not_allowed("the token is not for the resource that the client is")
        if token.client_id not in partners:
            raise _not_allowed(f"the client may not use tokens of {token.client_id}")

    def _chain(
        self, subject: PresentedToken, actor: PresentedToken | None, authenticated: AuthenticatedClient
    ) -> Chain:
        """Who acts in the new token: the actor token's subject, or else the client, unless it may be silent."""
        client = authenticated.client
        party = Party(issuer=self.issuer, subject=client.client_id) if actor is None else actor.subject
        check_may_act(subject.claims, party, issuer=subject.issuer)
        if actor is None and client.exchange.impersonation:
            return subject.actors
        return delegate(subject.actors, to=party, subject=subject.subject)


def _not_allowed(detail: str) -> PresentedTokenError:
    return PresentedTokenError(Refusal.EXCHANGE_NOT_ALLOWED, detail)


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
