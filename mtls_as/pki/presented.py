"""The certificate of a connection: its key was proven there, nothing else about it is verified."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mtls_as.rfc.rfc5280_certificate import (
    MAX_CERTIFICATE_BYTES,
    MAX_CHAIN,
    Certificate,
    CertificateError,
    parse_certificate,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCertificate:
    """What a client presented: the leaf, which alone speaks for it, and the rest of what it sent."""

    leaf: Certificate
    unverified_chain: tuple[bytes, ...] = field(default=(), repr=False)
    """The certificates after the leaf, DER, unread: building material for a path, and no evidence of anything."""


def present(der_chain: Sequence[bytes]) -> PresentedCertificate:
    """Read the chain of a handshake, DER, leaf first, ten certificates at most. Raises `CertificateError`.

    Only the leaf is parsed: what stands behind it may be junk (RFC 8705 §7.2).
    """
    if not der_chain:
        raise CertificateError("the chain is empty")
    if len(der_chain) > MAX_CHAIN:
        raise CertificateError(f"the chain has more than {MAX_CHAIN} certificates")
    if any(len(encoding) > MAX_CERTIFICATE_BYTES for encoding in der_chain):
        raise CertificateError(f"a certificate of the chain has more than {MAX_CERTIFICATE_BYTES} bytes")
    return PresentedCertificate(leaf=parse_certificate(der_chain[0]), unverified_chain=tuple(der_chain[1:]))
