"""Other issuers whose JWTs count here, as tokens to exchange (RFC 8693) or as grants (RFC 7523 §2.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7519_jwt import BadSignatureError, JWTError, UnfitKeyError, UnknownKey, unverified_claims, verify
from mtls_as.rfc.rfc7523_grant import ForeignClaims, ForeignTokenError, validate_foreign_claims
from mtls_as.rfc.rfc7591_client_metadata import JWKSUri
from mtls_as.server.ports import RemoteKeySets


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """The configuration of one other issuer."""

    issuer: str
    keys: JWKSet | JWKSUri
    algorithms: tuple[str, ...]
    scope: tuple[str, ...]
    """What may be had here at most with anything that it signs."""
    subject_prefix: str
    """Stands before its subjects in our tokens, so that none of them is taken for a client or for another issuer's."""
    max_lifetime: float
    """Seconds that anything it signs may still be valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignToken:
    """A JWT that a trusted issuer signed, and that is valid now. Whom it is for is still to be judged."""

    issuer: TrustedIssuer
    judged: ForeignClaims
    claims: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuers:
    """The issuers there are, by their names."""

    issuers: Mapping[str, TrustedIssuer]
    remote_key_sets: RemoteKeySets

    @classmethod
    def of(cls, issuers: Iterable[TrustedIssuer], *, remote_key_sets: RemoteKeySets) -> Self:
        """These issuers."""
        return cls(issuers=MappingProxyType({each.issuer: each for each in issuers}), remote_key_sets=remote_key_sets)

    async def verify(self, text: str, *, types: tuple[str | None, ...], at: float) -> ForeignToken:
        """A JWT of one of the `types` (values of `typ`), valid at a time in epoch seconds.

        (1) It names an issuer that is configured; (2) one of that issuer's keys signed it, and no other's; (3) its
        claims are good for now. No key and no URL is taken from the token. Raises `ForeignTokenError`.
        """
        issuer = self._issuer(text)  # (1)
        try:
            claims = await self._verified(text, issuer, types)  # (2)
        except (UnknownKey, UnfitKeyError) as error:
            raise ForeignTokenError(Refusal.ASSERTION_KEY_UNKNOWN, str(error)) from None
        except BadSignatureError as error:
            raise ForeignTokenError(Refusal.ASSERTION_UNTRUSTED, str(error)) from None
        except JWTError as error:
            raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, str(error)) from None
        except DocumentUnavailable as error:
            raise ForeignTokenError(Refusal.ISSUER_KEYS_UNAVAILABLE, str(error)) from None
        judged = validate_foreign_claims(  # (3)
            claims, issuer=issuer.issuer, at=at, max_lifetime=issuer.max_lifetime
        )
        return ForeignToken(issuer=issuer, judged=judged, claims=claims)

    def _issuer(self, text: str) -> TrustedIssuer:
        try:
            named = unverified_claims(text).get("iss")
        except JWTError as error:
            raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, str(error)) from None
        issuer = self.issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise ForeignTokenError(Refusal.ISSUER_UNKNOWN, "it is of an issuer that is not configured")
        return issuer

    async def _verified(self, text: str, issuer: TrustedIssuer, types: tuple[str | None, ...]) -> Mapping[str, object]:
        if isinstance(issuer.keys, JWKSet):
            return verify(text, issuer.keys, type=types, algorithms=issuer.algorithms).claims
        published = self.remote_key_sets.at(issuer.keys.url)
        try:
            return verify(text, await published.keys(), type=types, algorithms=issuer.algorithms).claims
        except UnknownKey:
            # A miss may be a roll-over: one refresh, which the key set itself limits.
            return verify(text, await published.refreshed(), type=types, algorithms=issuer.algorithms).claims
