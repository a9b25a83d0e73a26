"""The JWT bearer grant (RFC 7523 §2.1): a trusted issuer says for whom the client may have a token, once."""

from dataclasses import dataclass, replace
from typing import ClassVar

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError
from mtls_as.rfc.rfc7523_grant import GRANT_TYPE, LEEWAY, TYPES, ForeignClaims, ForeignTokenError, require_grant
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.client_authentication.private_key_jwt import CLOCK_DIFFERENCE
from mtls_as.server.client_policy import JwtBearerPolicy
from mtls_as.server.policy import Authorization, Policy
from mtls_as.server.ports import ReplayStore, StorageUnavailable
from mtls_as.server.presented_tokens import PresentedToken, PresentedTokenError, PresentedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtBearerGrant:
    """Gives tokens for the subjects of assertions, which end with them."""

    grant_type: ClassVar[str] = GRANT_TYPE
    issuer: str
    policy: Policy
    tokens: PresentedTokens
    replays: ReplayStore

    async def authorize(self, authenticated: AuthenticatedClient, form: Form, *, at: float) -> Authorization:
        """What the token may say.

        (1) The assertion is of an issuer that this client may use, for this server alone, valid, and, if it is bound,
        of this connection's certificate; (2) the client may speak for its subject; (3) resource, scope and details are
        the client's, and within what is left to the issuer; (4) no node has seen its `jti` before. Only what passed
        the first three is remembered.

        Raises `OAuthError`: `invalid_grant` for (1), (2) and (4), `temporarily_unavailable` if (4) cannot be told, and
        what `Policy.authorize` raises.
        """
        text = form.require("assertion")
        try:
            token, jwt_id, claims = await self._assertion(text, authenticated, at)  # (1)
            subject = _subject(authenticated.client.jwt_bearer, token, claims)  # (2)
        except ForeignTokenError as error:
            raise _refused(error.refusal, str(error)) from None
        except PresentedTokenError as error:
            raise _refused(error.refusal, error.detail) from None
        authorization = self.policy.authorize(authenticated.client, form, within=token.ceiling)  # (3)
        await self._use(token.issuer, jwt_id, token.expires_at)  # (4)
        return replace(
            authorization,
            subject=subject,
            actors=token.actors,
            ends_by=token.expires_at,
            source_token_id=jwt_id,
        )

    async def _assertion(
        self, text: str, authenticated: AuthenticatedClient, at: float
    ) -> tuple[PresentedToken, str, ForeignClaims]:
        token = await self.tokens.assertion(text, types=TYPES, at=at)
        policy, claims = authenticated.client.jwt_bearer, token.foreign
        if claims is None or policy is None or token.issuer not in policy.issuers:
            raise ForeignTokenError(Refusal.ISSUER_UNKNOWN, f"the client may not use assertions of {token.issuer}")
        jwt_id = require_grant(claims, audience=self.issuer)
        token.require_possession(authenticated)
        return token, jwt_id, claims

    async def _use(self, issuer: str, jwt_id: str, expires_at: float) -> None:
        """An issuer has no space in its name, so no two issuers share a use."""
        try:
            until = expires_at + LEEWAY + CLOCK_DIFFERENCE
            is_first = await self.replays.use(f"{GRANT_TYPE} {issuer} {jwt_id}", until)
        except StorageUnavailable as error:
            code, refusal = ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE
            raise OAuthError(code, refusal, str(error)) from None
        if not is_first:
            raise _refused(Refusal.ASSERTION_REPLAYED, "an assertion of this issuer with this jti was used before")


def _subject(policy: JwtBearerPolicy | None, token: PresentedToken, claims: ForeignClaims) -> str:
    """What the subject is called here: as the client's policy says, or as all subjects of its issuer are."""
    if policy is None or policy.subjects is None:
        return token.subject.subject
    if claims.subject not in policy.subjects:
        raise ForeignTokenError(Refusal.SUBJECT_NOT_ALLOWED, "the client may not speak for this subject")
    return policy.subjects[claims.subject]


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_GRANT, refusal, detail)
