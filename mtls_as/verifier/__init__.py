"""The resource server's side: checks an access token and that it came over its own certificate's connection."""

from mtls_as.verifier.errors import (
    InsufficientScope,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)
from mtls_as.verifier.verifier import AccessTokenVerifier, VerifiedToken

__all__ = [
    "AccessTokenVerifier",
    "InsufficientScope",
    "InvalidToken",
    "TokenRefusal",
    "VerificationUnavailable",
    "VerifiedToken",
]
