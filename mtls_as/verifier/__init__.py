"""The resource server's side: checks an access token, and that whoever sends it holds what it is bound to.

`AccessTokenVerifier` is the check itself, `ResourceGuard` all that an adapter asks. The adapters are modules of their
own, each of which imports its framework.
"""

from mtls_as.verifier.certificates import (
    CertificateRefused,
    CertificateSource,
    EnvironVariable,
    ForwardedCertificate,
    GivenCertificate,
    ServerSocket,
    TLSExtension,
)
from mtls_as.verifier.claims import InsufficientAuthorization, require_detail
from mtls_as.verifier.dpop import DPoPRequest, ProofMemory, ProofStore
from mtls_as.verifier.errors import (
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    TokenRefusal,
    VerificationUnavailable,
)
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.introspection import Introspection
from mtls_as.verifier.request import Answer, Refusal, ResourceRequest
from mtls_as.verifier.token import VerifiedToken
from mtls_as.verifier.verifier import AccessTokenVerifier

__all__ = [
    "AccessTokenVerifier",
    "Answer",
    "CertificateRefused",
    "CertificateSource",
    "DPoPRequest",
    "EnvironVariable",
    "ForwardedCertificate",
    "GivenCertificate",
    "InsufficientAuthorization",
    "InsufficientScope",
    "Introspection",
    "InvalidDPoPProof",
    "InvalidToken",
    "ProofMemory",
    "ProofStore",
    "Refusal",
    "ResourceGuard",
    "ResourceRequest",
    "ServerSocket",
    "TLSExtension",
    "TokenRefusal",
    "VerificationUnavailable",
    "VerifiedToken",
    "require_detail",
]
