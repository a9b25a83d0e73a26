"""`tls_client_auth`, the PKI method (RFC 8705 §2.1): a path to the client's own anchors, then exactly one subject."""

from datetime import UTC, datetime

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import TlsClientAuth
from mtls_as.rfc.rfc8705_mtls import match_subject


async def verify_subject(
    authentication: TlsClientAuth,
    certificate: PresentedCertificate,
    *,
    trust_domains: TrustDomains,
    trust: str,
    at: float,
) -> None:
    """Verify the path in the trust domain `trust`, then the leaf's subject. Raises `OAuthError` `invalid_client`."""
    try:
        trusted = await trust_domains.verify_online(certificate, domain=trust, at=datetime.fromtimestamp(at, UTC))
    except CertificateRefused as error:
        raise OAuthError(ErrorCode.INVALID_CLIENT, error.refusal, error.detail) from None
    mismatch = match_subject(authentication.subject, trusted.presented.leaf)
    if mismatch is not None:
        raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.SUBJECT_MISMATCH, str(mismatch))
