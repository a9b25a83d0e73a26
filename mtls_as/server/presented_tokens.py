"""Tokens and assertions that a client hands in to get another token: our own and other issuers', as one value.

What a presented token allows is the ceiling of what comes after it; whether this client may use it is for the grant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import parse_scope
from mtls_as.rfc.rfc7519_jwt import JWTError, unverified_claims
from mtls_as.rfc.rfc7523_grant import ForeignClaims, ForeignTokenError
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, Confirmation, parse_confirmation
from mtls_as.rfc.rfc8693_token_exchange import ActorError, Chain, Party, parse_chain
from mtls_as.rfc.rfc8705_mtls import ConfirmationError, thumbprints_equal, x5t_s256
from mtls_as.rfc.rfc9396_rar import AuthorizationDetailsError, Details, read_authorization_details
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.issued_tokens import ActiveTokens, GenuineToken, TokenNotActive
from mtls_as.server.policy import Ceiling
from mtls_as.server.trusted_issuers import ForeignToken, TrustedIssuers

ACCESS_TOKEN_TYPES: Final = ("at+jwt", "jwt", None)
"""The values of `typ`, in lower case, of other issuers' tokens: many do not mark them. What is marked as something
else, such as a client assertion, is no token."""


class PresentedTokenError(Exception):
    """A token or assertion that does not count. `refusal` and `detail` are for the log."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedToken:
    """A token that is genuine and valid now."""

    issuer: str
    subject: Party
    """As our own tokens name it."""
    client_id: str | None
    """The client that it was issued to; None for the tokens of other issuers, whose clients are not ours."""
    audience: tuple[str, ...]
    ceiling: Ceiling
    actors: Chain
    confirmation: Confirmation | None
    expires_at: float
    """Epoch seconds."""
    token_id: str | None
    claims: Mapping[str, object]
    foreign: ForeignClaims | None = None
    """What was judged of another issuer's token."""

    def require_possession(self, authenticated: AuthenticatedClient) -> None:
        """Raise `PresentedTokenError` unless the connection's certificate is the one it is bound to, if it is bound."""
        if self.confirmation is None:
            return
        certificate = authenticated.certificate
        if isinstance(self.confirmation, CertificateBinding) and certificate is not None:
            if thumbprints_equal(self.confirmation.thumbprint, x5t_s256(certificate.leaf.der)):
                return
            raise _refused(Refusal.TOKEN_NOT_OF_THIS_CONNECTION, "it is bound to another certificate")
        raise _refused(Refusal.TOKEN_NOT_OF_THIS_CONNECTION, "what it is bound to is not proven on this connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedTokens:
    """Reads what clients present."""

    issuer: str
    """Our own."""
    active: ActiveTokens
    trusted: TrustedIssuers

    async def token(self, text: str, *, at: float) -> PresentedToken:
        """An access token, of this server or of a trusted issuer, active at a time in epoch seconds.

        Raises `PresentedTokenError`, and `OAuthError` `temporarily_unavailable` where that cannot be told.
        """
        if self._is_foreign(text):
            return await self.assertion(text, types=ACCESS_TOKEN_TYPES, at=at)
        try:
            found = await self.active.find(text, at=at)
        except TokenNotActive as error:
            raise _refused(error.refusal, error.detail) from None
        return _live(_read_own(found, issuer=self.issuer), at)

    async def own(self, text: str, *, at: float) -> PresentedToken:
        """The same, of this server alone."""
        if self._is_foreign(text):
            raise _refused(Refusal.ISSUER_UNKNOWN, "actor tokens are those of this server")
        return await self.token(text, at=at)

    async def assertion(self, text: str, *, types: tuple[str | None, ...], at: float) -> PresentedToken:
        """A JWT of a trusted issuer whose `typ` is among `types`. Raises `PresentedTokenError`."""
        try:
            return _live(_read_foreign(await self.trusted.verify(text, types=types, at=at), issuer=self.issuer), at)
        except ForeignTokenError as error:
            raise _refused(error.refusal, str(error)) from None

    def _is_foreign(self, text: str) -> bool:
        """Whether it names another issuer: then it is no token of ours, whatever else it is."""
        if "." not in text:
            return False
        try:
            return unverified_claims(text).get("iss") != self.issuer
        except JWTError as error:
            raise _refused(Refusal.TOKEN_UNKNOWN, str(error)) from None


def _read_own(found: GenuineToken, *, issuer: str) -> PresentedToken:
    claims = found.claims
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise _refused(Refusal.TOKEN_UNKNOWN, "there is no sub")
    return PresentedToken(
        issuer=issuer,
        subject=Party(issuer=issuer, subject=subject),
        client_id=found.client_id,
        audience=found.audience,
        ceiling=Ceiling(scope=_scope(claims), authorization_details=_details(claims)),
        actors=_actors(claims, issuer),
        confirmation=_confirmation(claims),
        expires_at=found.expires_at,
        token_id=found.token_id,
        claims=claims,
    )


def _read_foreign(found: ForeignToken, *, issuer: str) -> PresentedToken:
    """What another issuer says, under names that cannot be taken for ours; at most the scope that is left to it."""
    claims, trusted, judged = found.claims, found.issuer, found.judged
    actors = _actors(claims, trusted.issuer)
    if any(party.issuer == issuer for party in actors):
        raise _refused(Refusal.ACTOR_NOT_ALLOWED, "act of another issuer's token names a party of this server")
    scope = set(trusted.scope)
    if "scope" in claims:
        scope &= _scope(claims)
    return PresentedToken(
        issuer=trusted.issuer,
        subject=Party(issuer=issuer, subject=trusted.subject_prefix + judged.subject),
        client_id=None,
        audience=judged.audience,
        ceiling=Ceiling(scope=frozenset(scope), authorization_details=_details(claims)),
        actors=actors,
        confirmation=_confirmation(claims),
        expires_at=judged.expires_at,
        token_id=judged.jwt_id,
        claims=claims,
        foreign=judged,
    )


def _live(token: PresentedToken, at: float) -> PresentedToken:
    """Times are whole seconds in our tokens: one that ends within this second leaves nothing."""
    if int(token.expires_at) <= int(at):
        raise _refused(Refusal.TOKEN_EXPIRED, "it ends within this second")
    return token


def _scope(claims: Mapping[str, object]) -> frozenset[str]:
    text = claims.get("scope", "")
    try:
        return frozenset(parse_scope(text)) if isinstance(text, str) and text else frozenset()
    except ValueError as error:
        raise _refused(Refusal.ASSERTION_MALFORMED, f"scope: {error}") from None


def _details(claims: Mapping[str, object]) -> Details:
    try:
        value = claims.get("authorization_details")
        return () if value is None else read_authorization_details(value)
    except AuthorizationDetailsError as error:
        raise _refused(Refusal.ASSERTION_MALFORMED, f"authorization_details: {error}") from None


def _actors(claims: Mapping[str, object], issuer: str) -> Chain:
    try:
        return parse_chain(claims, issuer=issuer)
    except ActorError as error:
        raise _refused(Refusal.ACTOR_NOT_ALLOWED, str(error)) from None


def _confirmation(claims: Mapping[str, object]) -> Confirmation | None:
    try:
        return parse_confirmation(claims["cnf"]) if "cnf" in claims else None
    except ConfirmationError as error:
        raise _refused(Refusal.TOKEN_NOT_OF_THIS_CONNECTION, str(error)) from None


def _refused(refusal: Refusal, detail: str) -> PresentedTokenError:
    return PresentedTokenError(refusal, detail)
