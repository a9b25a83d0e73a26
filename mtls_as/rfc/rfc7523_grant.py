"""RFC 7523 §2.1 and §3, JWTs of other issuers as authorization grants, and what holds for all tokens of other issuers.

Where the standards leave a choice: `exp` may not be far off; `jti` is required of a grant, so that each is good
for once; a grant is for this server's issuer and for nobody else.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7519_claims import numeric_date, required_numeric_date
from mtls_as.rfc.rfc7519_jwt import JWTError

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TYPES: Final = ("authorization-grant+jwt", "jwt", None)
"""The values of `typ` of a grant, in lower case: draft-ietf-oauth-rfc7523bis names the first, others send `JWT` or
none. A JWT of any other type, an access token for one, was signed for another purpose (RFC 8725 §3.11)."""
LEEWAY: Final = 10.0
"""Seconds that the issuer's clock may be ahead. Nothing is used after its `exp`."""
MAX_NAME_LENGTH: Final = 2048


class ForeignTokenError(Exception):
    """A token or assertion of another issuer does not count here and now. `refusal` and the message are for the log."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignClaims:
    """What a token of another issuer says that is good for now."""

    issuer: str
    subject: str
    """A name among those that the issuer gives."""
    audience: tuple[str, ...]
    expires_at: float
    """Epoch seconds."""
    jwt_id: str | None


def validate_foreign_claims(
    claims: Mapping[str, object], *, issuer: str, at: float, max_lifetime: float
) -> ForeignClaims:
    """Judge the claims of a JWT whose signature is good, at a time in epoch seconds (RFC 7523 §3).

    (1) `iss` is the issuer whose key signed it; (2) there are `sub` and `aud`; (3) `exp` is ahead, and not by more than
    `max_lifetime`; (4) `iat` and `nbf`, if there, are not ahead; (5) `jti`, if there, is a string. Whom it is for is
    still to be judged. Raises `ForeignTokenError` and nothing else.
    """
    if claims.get("iss") != issuer:  # (1)
        raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, "iss is not the issuer whose key signed it")
    subject = _name(claims, "sub")  # (2)
    audience = _audience(claims)
    try:
        expires_at = _check_times(claims, at, max_lifetime)  # (3) (4)
    except JWTError as error:
        raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, str(error)) from None
    jwt_id = _name(claims, "jti") if "jti" in claims else None  # (5)
    return ForeignClaims(issuer=issuer, subject=subject, audience=audience, expires_at=expires_at, jwt_id=jwt_id)


def require_grant(claims: ForeignClaims, *, audience: str) -> str:
    """The `jti` of a JWT that is a grant for `audience` and for nobody else (RFC 7523 §3, item 3).

    Whoever else it were for could use it here in the client's stead. The caller must still see that the issuer's `jti`
    was never used before. Raises `ForeignTokenError`.
    """
    if claims.audience != (audience,):
        raise ForeignTokenError(
            Refusal.ASSERTION_WRONG_AUDIENCE, "aud is not the issuer of this server and nothing else"
        )
    if claims.jwt_id is None:
        raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, "there is no jti")
    return claims.jwt_id


def require_audience(claims: ForeignClaims, *, among: Collection[str]) -> None:
    """Raise `ForeignTokenError` unless a token is for one of some audiences."""
    if not set(claims.audience) & set(among):
        raise ForeignTokenError(
            Refusal.ASSERTION_WRONG_AUDIENCE, "aud names neither this server nor what the client is"
        )


def _name(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH:
        reason = f"{name} is not a string of 1 to {MAX_NAME_LENGTH} characters"
        raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, reason)
    return value


def _audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    value = claims.get("aud")
    members = value if isinstance(value, list) else [value]
    texts = tuple(member for member in members if isinstance(member, str))
    if not texts or len(texts) != len(members):
        raise ForeignTokenError(Refusal.ASSERTION_MALFORMED, "aud is neither a string nor an array of strings")
    return texts


def _check_times(claims: Mapping[str, object], at: float, max_lifetime: float) -> float:
    expires_at = required_numeric_date(claims, "exp")
    if at >= expires_at:
        raise ForeignTokenError(Refusal.ASSERTION_EXPIRED, f"exp was {at - expires_at:.0f} s ago")
    if expires_at > at + max_lifetime + LEEWAY:
        reason = f"exp is more than {max_lifetime:.0f} s ahead"
        raise ForeignTokenError(Refusal.ASSERTION_LIFETIME_TOO_LONG, reason)
    for name in ("iat", "nbf"):
        time = numeric_date(claims, name)
        if time is not None and time > at + LEEWAY:
            raise ForeignTokenError(Refusal.ASSERTION_NOT_YET_VALID, f"{name} is {time - at:.0f} s ahead")
    return expires_at
