"""`spiffe_x509` (draft-ietf-oauth-spiffe-client-auth-02 §3.2): the certificate is the X.509-SVID of a workload.

Its path leads to the bundle of the workload's own trust domain, and nowhere else; the ID is the client's.
"""

from datetime import UTC, datetime

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.pki.spiffe_domains import SpiffeDomains
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import SpiffeX509
from mtls_as.rfc.spiffe_id import SpiffeID


def verify_x509_svid(
    authentication: SpiffeX509, certificate: PresentedCertificate, *, domains: SpiffeDomains, at: float
) -> SpiffeID:
    """The ID of the workload whose certificate this is, one of this client's. Raises `OAuthError` `invalid_client`.

    The path is verified in the trust domain that the client registered, whatever the certificate says of itself.
    """
    expected = authentication.spiffe_id
    try:
        trusted = domains.verify(certificate, trust_domain=expected.trust_domain, at=datetime.fromtimestamp(at, UTC))
    except CertificateRefused as error:
        raise OAuthError(ErrorCode.INVALID_CLIENT, error.refusal, error.detail) from None
    if not expected.matches(trusted.spiffe_id):
        detail = f"expected '{expected}', the certificate is of '{trusted.spiffe_id}'"
        raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.SUBJECT_MISMATCH, detail)
    return trusted.spiffe_id
