"""RFC 7800, the confirmation claim: what a token is bound to, and so what its presenter must prove to hold.

Two bindings are known here: a certificate (RFC 8705 §3.1) and the key of DPoP proofs (RFC 9449 §6.1). A token has one
of them or none, never both.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mtls_as.rfc import rfc8705_mtls
from mtls_as.rfc.rfc8705_mtls import ConfirmationError, is_thumbprint

DPOP_MEMBER: Final = "jkt"


@dataclass(frozen=True, slots=True)
class CertificateBinding:
    """The token goes with a certificate; `thumbprint` is its `x5t#S256`."""

    thumbprint: str


@dataclass(frozen=True, slots=True)
class DPoPBinding:
    """The token goes with DPoP proofs by one key; `thumbprint` is that of its JWK (RFC 7638)."""

    thumbprint: str


Confirmation = CertificateBinding | DPoPBinding
"""What a token is bound to."""


def format_confirmation(confirmation: Confirmation) -> dict[str, str]:
    """The `cnf` value of a binding."""
    match confirmation:
        case CertificateBinding(thumbprint=thumbprint):
            return rfc8705_mtls.confirmation(thumbprint)
        case DPoPBinding(thumbprint=thumbprint):
            return {DPOP_MEMBER: thumbprint}


@lru_cache(maxsize=1_024)
def _certificate_binding(thumbprint: str) -> CertificateBinding:
    """One for all tokens of a certificate."""
    return CertificateBinding(thumbprint)


def parse_confirmation(cnf: object) -> Confirmation:
    """Read a `cnf` value. Raises `ConfirmationError`, also for a second member, which would go unchecked (§3.1)."""
    if not isinstance(cnf, dict) or DPOP_MEMBER not in cnf:
        return _certificate_binding(rfc8705_mtls.parse_confirmation(cnf))
    thumbprint = cnf[DPOP_MEMBER]
    if len(cnf) != 1:
        raise ConfirmationError("cnf must have the member jkt and no other")
    if not isinstance(thumbprint, str) or not is_thumbprint(thumbprint):
        raise ConfirmationError("jkt must be the base64url of 32 bytes, without padding")
    return DPoPBinding(thumbprint)
