"""Why a token was refused: a public description, fixed for each kind of refusal, and a private detail for the log."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mtls_as.rfc.refusal import Refusal


class TokenRefusal(StrEnum):
    """A stable reason code for logs and metrics. It is private, as is the detail that goes with it."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    CLAIM_REFUSED = "claim_refused"
    EXPIRED = "expired"
    NOT_BOUND = "not_bound"
    NO_CERTIFICATE = "no_certificate"
    OTHER_CERTIFICATE = "other_certificate"
    WRONG_SCHEME = "wrong_scheme"
    NOT_OVER_TLS = "not_over_tls"
    REVOKED = "revoked"
    INACTIVE = "inactive"


_INVALID: Final = "The access token is malformed, expired or not valid here."
_DESCRIPTIONS: Final[Mapping[TokenRefusal, str]] = MappingProxyType(
    {
        # What a client can repair it may know. None of these is said about a forged token, beyond what its sender sees
        # anyway; for a changed certificate RFC 8705 §6.3 wants it said.
        TokenRefusal.EXPIRED: "The access token is expired.",
        TokenRefusal.NO_CERTIFICATE: "The access token is bound to a certificate, and this connection has none.",
        TokenRefusal.OTHER_CERTIFICATE: "The access token is bound to another certificate than this connection's.",
        TokenRefusal.WRONG_SCHEME: "The access token is bound in another way than it was presented.",
        TokenRefusal.NOT_OVER_TLS: "Access tokens are accepted over TLS only.",
    }
)


class InvalidToken(Exception):  # noqa: N818 # the name of the OAuth error
    """The token is not good for this request: HTTP 401 `invalid_token` (RFC 6750 §3.1, RFC 8705 §3).

    `description` is public; `reason` and `detail` are for the log: they hold no token, and quoted input is escaped.
    """

    error: Final = "invalid_token"

    def __init__(self, reason: TokenRefusal, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.description = _DESCRIPTIONS.get(reason, _INVALID)
        self.reason = reason
        self.detail = detail


class InvalidDPoPProof(Exception):  # noqa: N818 # the name of the OAuth error
    """The proof is not good for this request and its token: HTTP 401 `invalid_dpop_proof` (RFC 9449 §7.1).

    `description` is public; `refusal` and `detail` are for the log, and quote no input.
    """

    error: Final = "invalid_dpop_proof"
    description: Final = "The DPoP proof is missing, malformed, or not valid for this request."

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail


class InsufficientScope(Exception):  # noqa: N818 # the name of the OAuth error
    """The token is good, and does not allow this: HTTP 403 `insufficient_scope` (RFC 6750 §3.1).

    `required` is every scope that the request needs, to tell the client.
    """

    error: Final = "insufficient_scope"
    description: Final = "The access token does not have the scope that this request needs."

    def __init__(self, required: tuple[str, ...]) -> None:
        super().__init__(f"needs {' '.join(required)}")
        self.required = required


class VerificationUnavailable(Exception):  # noqa: N818 # a state of the world, not a mistake
    """Nothing can be said about this token now: no key of the issuer, no status list, no answer of its. HTTP 503."""
