"""X509-SVID, certificates that name a workload by its SPIFFE ID: what such a certificate looks like.

From the X509-SVID standard (§2 to §5.2) and draft-ietf-oauth-spiffe-client-auth-02 (§3.2). Only the form is judged
here; whether an authority of the trust domain issued it is for `mtls_as.pki`.
"""

from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc5280_general_name import OtherName, URIName
from mtls_as.rfc.spiffe_id import SpiffeID, SpiffeIDError, parse_spiffe_id

_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
_SIGNING_USAGES: Final = frozenset({"keyCertSign", "cRLSign"})
_URI: Final = "uniformResourceIdentifier"


class X509SVIDError(Exception):
    """The certificate is not an X.509-SVID. `refusal` and the message are for the log."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


def read_x509_svid(certificate: Certificate) -> SpiffeID:
    """The SPIFFE ID of a leaf certificate. Raises `X509SVIDError` and nothing else.

    (1) One URI among the alternative names, and no second one, not even a malformed one (§2).
    (2) It is a SPIFFE ID with a path (§3.1).
    (3) The certificate is not a CA's (§4.1).
    (4) Its key signs, and signs neither certificates nor CRLs (§4.3).
    (5) An extended key usage, if there is one, allows clientAuth (§4.4).
    """
    spiffe_id = _only_id(certificate)  # (1) (2)
    if certificate.is_ca:  # (3)
        raise X509SVIDError(Refusal.CA_CERTIFICATE_AS_LEAF, "it is the certificate of a CA")
    usages = certificate.key_usages or frozenset()  # (4)
    if "digitalSignature" not in usages or not _SIGNING_USAGES.isdisjoint(usages):
        names = ", ".join(sorted(usages)) or "none"
        reason = f"its key usage is {names}; an SVID has digitalSignature, and neither keyCertSign nor cRLSign"
        raise X509SVIDError(Refusal.WRONG_KEY_USAGE, reason)
    extended = certificate.extended_key_usages  # (5)
    if extended is not None and _CLIENT_AUTH not in extended:
        raise X509SVIDError(Refusal.WRONG_EXTENDED_KEY_USAGE, "its extended key usage leaves clientAuth out")
    return spiffe_id


def authority_problem(certificate: Certificate) -> str | None:
    """What keeps a certificate from being a signing certificate of a trust domain (§3.2, §4), or None."""
    if not certificate.is_ca:
        return "is not the certificate of a CA"
    if certificate.key_usages is not None and "keyCertSign" not in certificate.key_usages:
        return "may not sign certificates"
    for name in certificate.subject_alternative_names:
        # The standard's own example ends with a slash, which is no path yet.
        if isinstance(name, URIName) and name.value.startswith("spiffe://") and _has_path(name.value.removesuffix("/")):
            return "is named as a workload: the SPIFFE ID of an authority has no path"
    return None


def _only_id(certificate: Certificate) -> SpiffeID:
    names = certificate.subject_alternative_names
    uris = [name.value for name in names if isinstance(name, URIName)]
    malformed = [name for name in names if isinstance(name, OtherName) and name.kind == _URI]
    if len(uris) != 1 or malformed:
        count = len(uris) + len(malformed)
        reason = "its URI is malformed" if count == 1 else f"it has {count} URIs, and an SVID has exactly one"
        raise X509SVIDError(Refusal.NOT_AN_SVID, reason)
    try:
        spiffe_id = parse_spiffe_id(uris[0])
    except SpiffeIDError as error:
        raise X509SVIDError(Refusal.NOT_AN_SVID, f"its URI is not a SPIFFE ID: {error}") from None
    if not spiffe_id.path:
        raise X509SVIDError(Refusal.NOT_AN_SVID, "its SPIFFE ID has no path, so it names no workload")
    return spiffe_id


def _has_path(uri: str) -> bool:
    try:
        return bool(parse_spiffe_id(uri).path)
    except SpiffeIDError:
        return True
