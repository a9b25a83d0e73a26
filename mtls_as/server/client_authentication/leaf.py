"""What a certificate must be by itself, where no path is asked of it."""

from datetime import UTC, datetime
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError

MINIMUM_KEY_STRENGTH: Final = 112


def check_leaf(leaf: Certificate, *, at: float) -> None:
    """Check validity dates and the strength of the key. Raises `OAuthError` `invalid_client`.

    For self-signed certificates (RFC 8705 §2.2), and for those that bind the token of a client that authenticated
    otherwise. Binding needs the proof that the client holds the key, which the handshake gave, and not who vouches for
    its name (§6.2, §7.2): nobody draws a name from it, and whoever asks for the token chooses the key it is bound to.
    """
    moment = datetime.fromtimestamp(at, UTC)
    if moment < leaf.not_before:
        raise _refused(Refusal.CERTIFICATE_NOT_YET_VALID, f"it is valid from {leaf.not_before.isoformat()}")
    if moment > leaf.not_after:
        raise _refused(Refusal.CERTIFICATE_EXPIRED, f"it was valid until {leaf.not_after.isoformat()}")
    if leaf.key_strength < MINIMUM_KEY_STRENGTH:
        detail = f"{leaf.key_description} is weaker than {MINIMUM_KEY_STRENGTH} bits of security"
        raise _refused(Refusal.WEAK_KEY, detail)


def _refused(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, refusal, detail)
