"""Software statements (RFC 7591 §2.3): what a configured issuer says of a piece of software, signed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7519_jwt import JWTError, UnknownKey, VerifiedJWT, unverified_claims, verify
from mtls_as.rfc.rfc7523_assertion import ALGORITHMS
from mtls_as.rfc.rfc7591_client_metadata import JWKSUri
from mtls_as.rfc.rfc7591_registration import STATEMENT_TYPES, judge_statement
from mtls_as.server.ports import RemoteKeySets

_NO_KEYS: Final = "the keys of its issuer cannot be had now"


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareStatements:
    """Verifies statements of the issuers that the configuration names. `audience` is this server's own issuer."""

    issuers: Mapping[str, JWKSet | JWKSUri]
    audience: str
    remote_key_sets: RemoteKeySets

    async def verify(self, statement: str, *, at: float) -> Mapping[str, object]:
        """The claims of a statement.

        (1) It names an issuer that is configured; (2) one of that issuer's keys signed it, and (3) it holds here and
        now. Raises `OAuthError`: `unapproved_software_statement` for (1), `invalid_software_statement`, or
        `temporarily_unavailable`.
        """
        try:
            issuer = unverified_claims(statement).get("iss")
            keys = self.issuers.get(issuer) if isinstance(issuer, str) else None  # (1)
            if keys is None or not isinstance(issuer, str):
                detail = "the issuer of the software statement is not configured"
                raise OAuthError(ErrorCode.UNAPPROVED_SOFTWARE_STATEMENT, Refusal.SOFTWARE_STATEMENT_UNAPPROVED, detail)
            verified = await self._verify(statement, keys)  # (2)
            judge_statement(verified.claims, issuer=issuer, audience=self.audience, at=at)  # (3)
        except JWTError as error:
            raise OAuthError(
                ErrorCode.INVALID_SOFTWARE_STATEMENT, Refusal.SOFTWARE_STATEMENT_INVALID, str(error)
            ) from None
        except DocumentUnavailable as error:
            detail = f"{_NO_KEYS}: {error}"
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.ISSUER_KEYS_UNAVAILABLE, detail) from None
        return verified.claims

    async def _verify(self, statement: str, keys: JWKSet | JWKSUri) -> VerifiedJWT:
        if isinstance(keys, JWKSet):
            return verify(statement, keys, type=STATEMENT_TYPES, algorithms=ALGORITHMS)
        published = self.remote_key_sets.at(keys.url)
        try:
            return verify(statement, await published.keys(), type=STATEMENT_TYPES, algorithms=ALGORITHMS)
        except UnknownKey:
            return verify(statement, await published.refreshed(), type=STATEMENT_TYPES, algorithms=ALGORITHMS)
