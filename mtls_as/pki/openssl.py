"""OpenSSL's judgement of one finished path: signatures, dates, CA flags, path lengths, name constraints, criticality.

The path is built by `mtls_as.pki.path`; here it is only judged, against its own last certificate as the single anchor.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from OpenSSL import crypto

from mtls_as.pki.refused import PathError
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate

# PARTIAL_CHAIN makes an intermediate CA a full anchor, as RFC 5280 §6.1.1 (d) has it: trust is the operator's choice.
# X509_STRICT is left out: beyond what is checked anyway (CA flag and keyCertSign of every issuer, which OpenSSL never
# waives for intermediates and loading checks for anchors) it asks for the form of certificates, such as key identifiers
# and critical flags, that many private CAs never had. It would refuse them and make no path any safer.
_FLAGS: Final = crypto.X509StoreFlags.PARTIAL_CHAIN

# The codes of X509_verify_cert (openssl/x509_vfy.h); any other is PATH_INVALID.
_REFUSALS: Final = MappingProxyType(
    {
        2: Refusal.UNTRUSTED_ISSUER,  # unable to get issuer certificate
        4: Refusal.BAD_SIGNATURE,  # unable to decrypt the signature
        7: Refusal.BAD_SIGNATURE,  # signature failure
        9: Refusal.CERTIFICATE_NOT_YET_VALID,
        10: Refusal.CERTIFICATE_EXPIRED,
        18: Refusal.UNTRUSTED_ISSUER,  # self-signed leaf
        19: Refusal.UNTRUSTED_ISSUER,  # self-signed certificate in the chain
        20: Refusal.UNTRUSTED_ISSUER,  # unable to get the local issuer, also where key identifiers disagree
        21: Refusal.UNTRUSTED_ISSUER,  # unable to verify the first certificate
        22: Refusal.PATH_TOO_LONG,
        25: Refusal.PATH_TOO_LONG,  # path length constraint
        32: Refusal.WRONG_KEY_USAGE,  # an issuer without keyCertSign
        34: Refusal.UNKNOWN_CRITICAL_EXTENSION,
        47: Refusal.NAME_CONSTRAINT_VIOLATED,  # permitted subtree
        48: Refusal.NAME_CONSTRAINT_VIOLATED,  # excluded subtree
        49: Refusal.NAME_CONSTRAINT_VIOLATED,  # minimum and maximum
        51: Refusal.NAME_CONSTRAINT_VIOLATED,  # a type of constraint that OpenSSL does not check
        52: Refusal.NAME_CONSTRAINT_VIOLATED,  # syntax of the constraint
        53: Refusal.NAME_CONSTRAINT_VIOLATED,  # syntax of the name
    }
)


def load(certificate: Certificate) -> crypto.X509 | None:
    """OpenSSL's form of a certificate, or None for one that it cannot read."""
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, certificate.der)
    except crypto.Error:
        return None


def is_self_signed(certificate: crypto.X509) -> bool:
    """Whether the key in a certificate made the certificate's own signature, and it names itself as its issuer."""
    try:
        parsed = certificate.to_cryptography()
        parsed.verify_directly_issued_by(parsed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def judge(path: Sequence[crypto.X509], *, at: datetime) -> None:
    """Judge a path, leaf first, whose last certificate is the anchor. Raises `PathError`.

    A new store for each path: no flag, time or certificate of another request or another domain can be in it.
    """
    leaf, *intermediates, anchor = path
    store = crypto.X509Store()
    store.set_flags(_FLAGS)
    store.set_time(at.astimezone(UTC))
    store.add_cert(anchor)
    try:
        verified = crypto.X509StoreContext(store, leaf, intermediates).get_verified_chain()
    except crypto.X509StoreContextError as error:
        _drain_error_queue()
        code, depth, reason = error.errors
        raise PathError(_REFUSALS.get(code, Refusal.PATH_INVALID), depth, reason) from None
    if len(verified) != len(path):
        # OpenSSL went another way than the one to judge; that way is a path of its own, and judged by itself.
        raise PathError(Refusal.PATH_INVALID, 0, "not every certificate of the path is needed")


def _drain_error_queue() -> None:
    # A failed verification leaves entries in this thread's OpenSSL error queue, and the next TLS call of some other
    # connection would take them for its own failure. A load that fails takes them all away.
    with suppress(crypto.Error):
        crypto.load_certificate(crypto.FILETYPE_ASN1, b"")
