"""`spiffe_jwt` (draft-ietf-oauth-spiffe-client-auth-02 §3.1): the client assertion is the JWT-SVID of a workload."""

from typing import Final, TypeGuard

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.spiffe_domains import SpiffeDomains
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import SpiffeJwt
from mtls_as.rfc.spiffe_id import SpiffeID
from mtls_as.rfc.spiffe_jwt_svid import CLIENT_ASSERTION_TYPE, JWTSVIDError, verify_jwt_svid
from mtls_as.server.client_authentication.credentials import ClientAssertion, Credential, wrong_method

# Stopped without keys, without the key, without the signature.
_PROGRESS: Final = {
    Refusal.SPIFFE_BUNDLE_UNAVAILABLE: 0,
    Refusal.ASSERTION_KEY_UNKNOWN: 1,
    Refusal.ASSERTION_UNTRUSTED: 2,
}


def verify_jwt_assertion(
    authentication: SpiffeJwt, credential: Credential | None, *, domains: SpiffeDomains, issuer: str, at: float
) -> SpiffeID:
    """The ID of the workload that the assertion names, one of this client's. Raises `OAuthError` `invalid_client`.

    The signature is verified with the keys of the trust domain that the client registered, and with no others.
    """
    expected = authentication.spiffe_id
    text = _jwt_svid(credential)
    found = _verify(text, domains=domains, trust_domain=expected.trust_domain, issuer=issuer, at=at)
    if not expected.matches(found):
        detail = f"expected '{expected}', the JWT-SVID is of '{found}'"
        raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.SUBJECT_MISMATCH, detail)
    return found


def identify_workload(assertion: ClientAssertion, *, domains: SpiffeDomains, issuer: str, at: float) -> SpiffeID:
    """The ID in a JWT-SVID that came without `client_id` (RFC 7521 §4.2). Raises `OAuthError` `invalid_client`.

    No claim is read before a signature is good: the token is tried in each trust domain, all of which but the right one
    its `kid` alone rules out, and its ID must be in the domain whose key made the signature.
    """
    text = _jwt_svid(assertion)
    refused: list[OAuthError] = []
    for trust_domain in domains.names:
        try:
            return _verify(text, domains=domains, trust_domain=trust_domain, issuer=issuer, at=at)
        except OAuthError as error:
            refused.append(error)
    if not refused:
        raise wrong_method("no SPIFFE trust domain is configured")
    raise max(refused, key=_progress)


def is_jwt_svid(credential: Credential | None) -> TypeGuard[ClientAssertion]:
    """Whether a request says that it has an assertion which is a JWT-SVID."""
    return isinstance(credential, ClientAssertion) and credential.type == CLIENT_ASSERTION_TYPE


def _progress(error: OAuthError) -> int:
    """How far a domain got with a token that it refused: the furthest tells most."""
    return _PROGRESS.get(error.refusal, len(_PROGRESS))


def _jwt_svid(credential: Credential | None) -> str:
    if not isinstance(credential, ClientAssertion) or credential.text is None:
        raise wrong_method("the client authenticates with a JWT-SVID, and there is no client_assertion")
    if credential.type != CLIENT_ASSERTION_TYPE:
        raise wrong_method(f"the client_assertion_type of a JWT-SVID is {CLIENT_ASSERTION_TYPE}")
    return credential.text


def _verify(text: str, *, domains: SpiffeDomains, trust_domain: str, issuer: str, at: float) -> SpiffeID:
    try:
        keys = domains.jwt_authorities(trust_domain)
        return verify_jwt_svid(text, keys, trust_domain=trust_domain, audience=issuer, at=at).spiffe_id
    except CertificateRefused as error:
        raise OAuthError(ErrorCode.INVALID_CLIENT, error.refusal, error.detail) from None
    except JWTSVIDError as error:
        raise OAuthError(ErrorCode.INVALID_CLIENT, error.refusal, str(error)) from None
