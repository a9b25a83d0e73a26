"""Client secrets: 256 random bits that the server makes, shows once, and keeps a digest of.

The digest is one SHA-256. Slow hashes (Argon2, bcrypt) are for passwords, which people choose and attackers can list;
nobody lists 2^256 secrets, however fast the hash. A slow one would only cost each token request, and let strangers cost
the server more. So nobody may choose a secret, neither the client nor the operator.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from mtls_as.rfc.rfc4648_base64url import encode_base64url

SECRET_BYTES: Final = 32
MAX_SECRETS: Final = 2
"""How many of one client can be valid at once: the new one, and the one it replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """What is kept of a secret. Times are epoch seconds; one without an end is valid until it is replaced."""

    digest: bytes = field(repr=False)
    created_at: float
    expires_at: float | None = None

    def is_valid(self, at: float) -> bool:
        return self.expires_at is None or at < self.expires_at


_NOBODYS: Final = StoredSecret(digest=bytes(SECRET_BYTES), created_at=0.0)


def make_secret(*, at: float, random: Callable[[int], bytes] = secrets.token_bytes) -> tuple[str, StoredSecret]:
    """A new secret as 43 characters of base64url, to be shown once, and what is kept of it."""
    text = encode_base64url(random(SECRET_BYTES))
    return text, StoredSecret(digest=_digest(text), created_at=at)


def is_secret(text: str, stored: Iterable[StoredSecret], *, at: float) -> bool:
    """Whether the text is one of these secrets, and still valid: in a time that depends on neither."""
    digest, found = _digest(text), False
    padding = (_NOBODYS,) * MAX_SECRETS
    for secret in (*stored, *padding)[:MAX_SECRETS]:
        found |= hmac.compare_digest(secret.digest, digest) and secret.is_valid(at)
    return found


def rotate(stored: Iterable[StoredSecret], new: StoredSecret, *, at: float, overlap: float) -> tuple[StoredSecret, ...]:
    """The secrets once `new` is among them: the newest of the old ones goes on for `overlap` seconds, the rest ends."""
    valid = sorted((secret for secret in stored if secret.is_valid(at)), key=lambda secret: secret.created_at)
    ends_at = at + overlap
    previous = [
        replace(secret, expires_at=ends_at if secret.expires_at is None else min(secret.expires_at, ends_at))
        for secret in valid[-1:]
    ]
    return (*(secret for secret in previous if secret.is_valid(at)), new)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
