"""Opaque access tokens: 256 random bits that mean nothing, and the claims that the storage keeps for them.

The storage knows the SHA-256 of a token alone. So much randomness needs no salt and no slow hash.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.ports import OpaqueTokenStore, StorageUnavailable

OPAQUE_TOKEN_BYTES: Final = 32

_FORM: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueTokens:
    """Makes opaque tokens. `new_token` gives `OPAQUE_TOKEN_BYTES` random bytes in base64url."""

    store: OpaqueTokenStore
    new_token: Callable[[], str]

    async def write(self, claims: Mapping[str, object]) -> str:
        """A new token with these claims, `exp` among them, stored. Raises `OAuthError` `temporarily_unavailable`."""
        token, expires_at = self.new_token(), claims["exp"]
        if not isinstance(expires_at, int) or not is_opaque_token(token):
            raise OAuthError(ErrorCode.SERVER_ERROR, Refusal.INTERNAL_ERROR, "an opaque token without form or end")
        try:
            await self.store.add(token_hash(token), claims, expires_at=expires_at)
        except StorageUnavailable as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None
        return token


def is_opaque_token(text: str) -> bool:
    """Whether a text has the form of an opaque token; a JWT has dots in it."""
    return _FORM.fullmatch(text) is not None


def token_hash(token: str) -> str:
    """By what an opaque token is stored: SHA-256, base64url."""
    return encode_base64url(hashlib.sha256(token.encode("ascii")).digest())
