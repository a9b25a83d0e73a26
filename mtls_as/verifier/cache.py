"""Tokens that were verified, so that the same token again costs a hash and a look-up instead of a signature check.

What is remembered is that a token is genuine and what it says: never that a request may pass. Certificate, proof, scope
and status are checked at each use. Only genuine tokens get in, so that forged ones push nothing out.
"""

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims
from mtls_as.rfc.status_list import StatusReference
from mtls_as.verifier.token import VerifiedToken

MAX_TOKENS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024

# Claims of many small members take some 16 bytes of memory for each character of the token; few tokens are like that.
_BYTES_PER_CHARACTER: Final = 16
_BYTES_PER_TOKEN: Final = 1_024


class Accepted(NamedTuple):
    """A genuine token of our issuer for us, between two times in epoch seconds."""

    token: VerifiedToken
    begins: float
    ends: float
    keys: JWKSet | None
    """The key set by which it is genuine; None for the issuer's own word."""
    status: StatusReference | None
    """Where it says whether it was revoked."""


def accepted(
    claims: AccessTokenClaims,
    *,
    leeway: float,
    keys: JWKSet | None,
    status: StatusReference | None = None,
    until: float = float("inf"),
) -> Accepted:
    """A token whose claims are acceptable: as long as they are, and no longer than `until`."""
    begins = claims.issued_at
    if "nbf" in claims.other:
        not_before = claims.other["nbf"]
        begins = max(begins, not_before) if isinstance(not_before, int | float) else float("inf")
    return Accepted(VerifiedToken(claims=claims), begins - leeway, min(until, claims.expires_at + leeway), keys, status)


def token_digest(token: str) -> bytes:
    """By what a token is remembered: nobody learns from the time of a look-up how much of a token he has guessed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class TokenCache:
    """The tokens last used, bounded in number and in an estimate of their bytes. To be used on one event loop."""

    def __init__(self, *, max_tokens: int = MAX_TOKENS, max_bytes: int = MAX_BYTES) -> None:
        self._max_tokens = max_tokens
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tokens: OrderedDict[bytes, tuple[Accepted, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, digest: bytes, keys: JWKSet | None, *, at: float) -> Accepted | None:
        """The token, if it is good at this time (epoch seconds), and by these very keys if it is good by keys."""
        found = self._tokens.get(digest)
        if found is None:
            return None
        token = found[0]
        if token.begins <= at < token.ends and (token.keys is None or token.keys is keys):
            self._tokens.move_to_end(digest)
            return token
        if at >= token.ends or keys is not None:  # without keys, nobody can tell whether they have changed
            self._remove(digest)
        return None

    def add(self, digest: bytes, token: Accepted, *, length: int) -> None:
        """Remember a token of so many characters, in place of those that were not used for longest."""
        size = length * _BYTES_PER_CHARACTER + _BYTES_PER_TOKEN
        if digest in self._tokens:
            self._remove(digest)
        if size > self._max_bytes or self._max_tokens < 1:
            return
        self._tokens[digest] = token, size
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._tokens) > self._max_tokens:
            self._remove(next(iter(self._tokens)))

    def _remove(self, digest: bytes) -> None:
        self._bytes -= self._tokens.pop(digest)[1]
