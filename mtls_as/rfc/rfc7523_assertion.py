"""RFC 7523, JWTs as client assertions (§2.2, §3), as FAPI 2.0 narrows them: the method `private_key_jwt`.

A client signs with a key that it registered who it is, for whom, until when, and with a name for this one statement.
Where the standards leave a choice: the audience is the issuer and nothing else, as a string; five minutes are the
longest life; `jti` is required, so that each assertion can be let in once; RSA signs with PSS alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7519_claims import numeric_date, required_numeric_date
from mtls_as.rfc.rfc7519_jwt import BadSignatureError, JWTError, UnfitKeyError, UnknownKey, unverified_claims, verify

CLIENT_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("PS256", "ES256", "EdDSA")
"""FAPI 2.0 §5.4.1; RS256 is not among them."""
TYPES: Final = ("client-authentication+jwt", "jwt", None)
"""The values of `typ`, in lower case: draft-ietf-oauth-rfc7523bis names the first, older clients send `JWT` or none.
Any other type was signed for another purpose (RFC 8725 §3.11)."""
MAX_LIFETIME: Final = 300.0
"""Seconds that an assertion may still be valid, beside the leeway."""
LEEWAY: Final = 10.0
"""Seconds that the client's clock may be ahead (FAPI 2.0 §5.3.2.1 wants 10 accepted, and 60 refused). An assertion is
never used after its `exp`."""
MAX_JWT_ID_LENGTH: Final = 256


class ClientAssertionError(Exception):
    """The assertion does not count here and now. `refusal` and the message are for the log."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAssertionClaims:
    """An assertion that is good, once: the caller must still see that this client never used `jwt_id` before."""

    jwt_id: str
    expires_at: float
    """Epoch seconds; it is refused from then on."""


def unverified_subject(token: str) -> str:
    """Who the assertion says its client is (RFC 7521 §4.2): whose keys to verify it with, and nothing more.

    Raises `ClientAssertionError`.
    """
    try:
        subject = unverified_claims(token).get("sub")
    except JWTError as error:
        raise ClientAssertionError(Refusal.ASSERTION_MALFORMED, str(error)) from None
    if not isinstance(subject, str) or not subject:
        raise ClientAssertionError(Refusal.ASSERTION_MALFORMED, "sub is missing or not a string")
    return subject


def verify_signature(token: str, keys: JWKSet) -> Mapping[str, object]:
    """The claims of an assertion that one of the client's keys signed (RFC 7523 §3, item 9).

    Raises `ClientAssertionError`; its refusal is `assertion_key_unknown` if no signature was looked at for want of a
    key, and then fresh keys may help.
    """
    try:
        return verify(token, keys, type=TYPES, algorithms=ALGORITHMS).claims
    except (UnknownKey, UnfitKeyError) as error:
        raise ClientAssertionError(Refusal.ASSERTION_KEY_UNKNOWN, str(error)) from None
    except BadSignatureError as error:
        raise ClientAssertionError(Refusal.ASSERTION_UNTRUSTED, str(error)) from None
    except JWTError as error:
        raise ClientAssertionError(Refusal.ASSERTION_MALFORMED, str(error)) from None


def validate_claims(claims: Mapping[str, object], *, client_id: str, audience: str, at: float) -> ClientAssertionClaims:
    """Judge the claims of an assertion whose signature is good, at a time in epoch seconds (RFC 7523 §3).

    (1) `iss` and `sub` are the client; (2) `aud` is `audience`, as a string: an array could name others too, who could
    then use the assertion here (FAPI 2.0 §5.3.2.1); (3) `exp` is ahead, and not too far; (4) `nbf` and `iat`, if there,
    are not; (5) `jti` is there. Raises `ClientAssertionError`.
    """
    if claims.get("iss") != client_id or claims.get("sub") != client_id:  # (1)
        raise ClientAssertionError(Refusal.SUBJECT_MISMATCH, "iss and sub are not both this client")
    if claims.get("aud") != audience:  # (2)
        raise ClientAssertionError(Refusal.ASSERTION_WRONG_AUDIENCE, "aud is not the issuer of this server as a string")
    try:
        expires_at = _check_times(claims, at)  # (3) (4)
    except JWTError as error:
        raise ClientAssertionError(Refusal.ASSERTION_MALFORMED, str(error)) from None
    jwt_id = claims.get("jti")  # (5)
    if not isinstance(jwt_id, str) or not 0 < len(jwt_id) <= MAX_JWT_ID_LENGTH:
        reason = f"jti is not a string of 1 to {MAX_JWT_ID_LENGTH} characters"
        raise ClientAssertionError(Refusal.ASSERTION_MALFORMED, reason)
    return ClientAssertionClaims(jwt_id=jwt_id, expires_at=expires_at)


def _check_times(claims: Mapping[str, object], at: float) -> float:
    expires_at = required_numeric_date(claims, "exp")
    if at >= expires_at:
        raise ClientAssertionError(Refusal.ASSERTION_EXPIRED, f"exp was {at - expires_at:.0f} s ago")
    if expires_at > at + MAX_LIFETIME + LEEWAY:
        reason = f"exp is more than {MAX_LIFETIME:.0f} s ahead"
        raise ClientAssertionError(Refusal.ASSERTION_LIFETIME_TOO_LONG, reason)
    for name in ("iat", "nbf"):
        time = numeric_date(claims, name)
        if time is not None and time > at + LEEWAY:
            raise ClientAssertionError(Refusal.ASSERTION_NOT_YET_VALID, f"{name} is {time - at:.0f} s ahead")
    return expires_at
