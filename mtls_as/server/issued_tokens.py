"""The server's own access tokens as it reads them again: whose a token is, and whether it is still active."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7519_jwt import SUPPORTED_ALGORITHMS, JWTError, verify
from mtls_as.rfc.rfc9068_at_jwt import ACCESS_TOKEN_TYPE
from mtls_as.server.opaque_tokens import is_opaque_token, token_hash
from mtls_as.server.ports import ClientFinder, OpaqueTokenStore, SigningKeySource, StorageUnavailable
from mtls_as.server.revocations import Revocations

CLOCK_DIFFERENCE: Final = 300.0
"""Seconds that the clocks of nodes may differ."""

MAX_KNOWN: Final = 2048
"""Signed tokens whose signatures are not verified again; the oldest go first."""

_ALGORITHMS: Final = frozenset(SUPPORTED_ALGORITHMS)


class TokenNotActive(Exception):  # noqa: N818 - it says what is the case
    """A token that this server did not issue, or that is good no more. `refusal` and `detail` are for the log alone."""

    def __init__(self, refusal: Refusal, detail: str, *, token_id: str | None = None) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail
        self.token_id = token_id


@dataclass(frozen=True, slots=True)
class GenuineToken:
    """A token that this server issued, and what it says; made by `TokenReader` alone. It may have ended since."""

    claims: Mapping[str, object]
    token_id: str
    client_id: str
    audience: tuple[str, ...]
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReader:
    """Reads the tokens of one issuer, of either form. A JWT costs no access to the storage."""

    issuer: str
    signing_keys: SigningKeySource
    opaque_tokens: OpaqueTokenStore
    _known: dict[bytes, tuple[JWKSet, GenuineToken]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By the SHA-256 of a JWT: the keys among which its own was found, and what it says."""

    async def read(self, token: str, *, at: float) -> GenuineToken:
        """The token, if this server issued it, with a key that has not been withdrawn at this time (epoch seconds).

        Raises `TokenNotActive`, or `OAuthError` `temporarily_unavailable` if that cannot be told. Whether the token has
        ended meanwhile is for the caller to check.
        """
        if not is_opaque_token(token):
            return self._read_jwt(token, at)
        try:
            claims = await self.opaque_tokens.find(token_hash(token))
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        if claims is None:
            raise TokenNotActive(Refusal.TOKEN_UNKNOWN, "no such opaque token is stored")
        return self._read_claims(claims)

    def _read_jwt(self, token: str, at: float) -> GenuineToken:
        """Resource servers ask again and again about a token whose signature stays what it is, as do its keys."""
        if not token.isascii():
            raise TokenNotActive(Refusal.TOKEN_UNKNOWN, "it is not ASCII")
        keys = self.signing_keys.current().verifying(at)
        name = hashlib.sha256(token.encode("ascii")).digest()
        known = self._known.get(name)
        if known is not None and known[0] is keys:
            return known[1]
        try:
            genuine = self._read_claims(verify(token, keys, type=ACCESS_TOKEN_TYPE, algorithms=_ALGORITHMS).claims)
        except JWTError as error:
            raise TokenNotActive(Refusal.TOKEN_UNKNOWN, str(error)) from None
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[name] = (keys, genuine)
        return genuine

    def _read_claims(self, claims: Mapping[str, object]) -> GenuineToken:
        """The claims are of our own making, and yet whatever may have made them must not crash us."""
        match claims:
            case {"iss": self.issuer, "jti": str(token_id), "client_id": str(client_id), "exp": int(end), "aud": aud}:
                audience = tuple(aud) if isinstance(aud, list) else (str(aud),)
                return GenuineToken(claims, token_id, client_id, audience, end)
        raise TokenNotActive(Refusal.TOKEN_UNKNOWN, "it has not the claims of an access token of this issuer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveTokens:
    """Tells which of the tokens that a reader knows are active (RFC 7662 §2.2, §4)."""

    reader: TokenReader
    revocations: Revocations
    clients: ClientFinder

    async def find(self, token: str, *, at: float) -> GenuineToken:
        """The token, if it is active at this time (epoch seconds).

        (1) This server issued it; (2) it has not expired, and no clock that was ahead has issued it: what revoked
        tokens of before does not reach one of later; (3) nothing has revoked it; (4) its client is still
        registered and enabled. Raises `TokenNotActive`, or `OAuthError` `temporarily_unavailable` if nobody can tell.
        """
        genuine = await self.reader.read(token, at=at)  # (1)
        if at >= genuine.expires_at:  # (2)
            raise _not_active(Refusal.TOKEN_EXPIRED, f"exp was {at - genuine.expires_at:.0f} s ago", genuine)
        issued_at = genuine.claims.get("iat")
        if isinstance(issued_at, int | float) and issued_at > at + CLOCK_DIFFERENCE:
            raise _not_active(Refusal.TOKEN_UNKNOWN, f"it is of {issued_at - at:.0f} s from now", genuine)
        try:
            revocation = await self.revocations.find(genuine.claims)  # (3)
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        if revocation is not None:
            raise _not_active(Refusal.TOKEN_REVOKED, f"revoked by {revocation.kind}", genuine)
        client = await self.clients.find(genuine.client_id)  # (4)
        if client is None or not client.enabled:
            raise _not_active(Refusal.TOKEN_REVOKED, "its client is disabled, or registered no more", genuine)
        return genuine


def _not_active(refusal: Refusal, detail: str, token: GenuineToken) -> TokenNotActive:
    return TokenNotActive(refusal, detail, token_id=token.token_id)


def _unavailable(error: StorageUnavailable) -> OAuthError:
    return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error))
