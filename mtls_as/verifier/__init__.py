"""The resource server's side: checks an access token, and that whoever sends it holds what it is bound to."""

from mtls_as.verifier.dpop import DPoPRequest, ProofMemory, ProofStore
from mtls_as.verifier.errors import (
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)
from mtls_as.verifier.verifier import AccessTokenVerifier, VerifiedToken

__all__ = [
    "AccessTokenVerifier",
    "DPoPRequest",
    "InsufficientScope",
    "InvalidDPoPProof",
    "InvalidToken",
    "ProofMemory",
    "ProofStore",
    "TokenRefusal",
    "VerificationUnavailable",
    "VerifiedToken",
]
