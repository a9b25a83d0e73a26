"""`self_signed_tls_client_auth` (RFC 8705 §2.2): the certificate, or its key, is one that the client registered.

No path is validated, as the RFC says; the validity dates and the strength of the key count all the same.
"""

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.remote.documents import DocumentUnavailable
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7517_jwk import JWK, JWKSet
from mtls_as.rfc.rfc7591_client_metadata import JWKSUri, SelfSignedTlsClientAuth
from mtls_as.server.client_authentication.leaf import check_leaf
from mtls_as.server.ports import RemoteKeySets


async def verify_registered(
    authentication: SelfSignedTlsClientAuth,
    certificate: PresentedCertificate,
    *,
    remote_key_sets: RemoteKeySets,
    at: float,
) -> None:
    """Find the certificate among the client's registered keys. Raises `OAuthError` `invalid_client`."""
    leaf = certificate.leaf
    check_leaf(leaf, at=at)
    registered = authentication.keys
    if isinstance(registered, JWKSet):
        found = _is_among(leaf, registered)
    else:
        found = await _is_among_remote(leaf, registered, remote_key_sets)
    if not found:
        detail = "neither the certificate nor its public key is among the client's registered keys"
        raise _refused(Refusal.KEY_NOT_REGISTERED, detail)


async def _is_among_remote(leaf: Certificate, uri: JWKSUri, remote_key_sets: RemoteKeySets) -> bool:
    key_set = remote_key_sets.at(uri.url)
    try:
        if _is_among(leaf, await key_set.keys()):
            return True
        # A miss may be a roll-over: one refresh, which the key set itself limits (RFC 8705 §2.2.2).
        return _is_among(leaf, await key_set.refreshed())
    except DocumentUnavailable as error:
        raise _refused(Refusal.REGISTERED_KEYS_UNAVAILABLE, str(error)) from None


def _is_among(leaf: Certificate, registered: JWKSet) -> bool:
    return any(_is_same(leaf, jwk) for jwk in registered.keys)


def _is_same(leaf: Certificate, jwk: JWK) -> bool:
    """A registered certificate must be this one, octet for octet; a bare key must be the certificate's key."""
    if jwk.x5c:
        return jwk.x5c[0] == leaf.der
    return jwk.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == leaf.public_key_info


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, refusal, detail)
