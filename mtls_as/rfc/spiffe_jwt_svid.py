"""JWT-SVID, short-lived JWTs that name a workload by its SPIFFE ID, as client assertions.

From the JWT-SVID standard and draft-ietf-oauth-spiffe-client-auth-02 (§3.1). Of the algorithms of JWT-SVID §2.1 the two
that this project signs with itself are accepted, ES256 (the default of SPIRE) and PS256: FAPI 2.0 bans RS256 for client
assertions, and nothing needs the larger variants.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7519_claims import numeric_date, required_numeric_date
from mtls_as.rfc.rfc7519_jwt import BadSignatureError, JWTError, UnfitKeyError, UnknownKey, verify
from mtls_as.rfc.spiffe_id import SpiffeID, SpiffeIDError, parse_spiffe_id

CLIENT_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
ALGORITHMS: Final = ("ES256", "PS256")
MAX_LIFETIME: Final = 3600.0
"""Seconds that a JWT-SVID may still be valid: it is a bearer credential, and its standard sets no limit (§3.3)."""
LEEWAY: Final = 10.0
"""Seconds that the clock of the issuer may be ahead; none for `exp`."""

TYPES: Final = ("jwt", "jose", None)
"""The values of `typ`, in lower case (JWT-SVID §2.3)."""
_HEADERS: Final = frozenset({"alg", "kid", "typ"})  # JWT-SVID §2: no other may be there


class JWTSVIDError(Exception):
    """The token is not a JWT-SVID that counts here and now. `refusal` and the message are for the log."""

    def __init__(self, refusal: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTSVID:
    """A JWT-SVID that was verified for one trust domain, one audience and one time."""

    spiffe_id: SpiffeID
    expires_at: float
    """Epoch seconds."""


def verify_jwt_svid(token: str, keys: JWKSet, *, trust_domain: str, audience: str, at: float) -> JWTSVID:
    """Verify a JWT-SVID with the keys of one trust domain. Raises `JWTSVIDError` and nothing else.

    (1) A compact JWT with `kid`, an allowed `alg`, and no header beyond JWT-SVID §2, whose signature is by that key;
    `kid` is required here, as bundles require it of every key (§6.1). (2) `sub` is a SPIFFE ID with a path, of this
    very trust domain. (3) `aud` is `audience` and nothing else (draft §3.1). (4) `exp` is there, ahead, and not too far
    ahead; `nbf` and `iat`, if there, are past. `at` is in epoch seconds.

    Nothing keeps a JWT-SVID from being presented again until it expires: workloads keep and reuse theirs, `jti` is
    optional, and the draft asks for no check (JWT-SVID §7.1).
    """
    claims = _verified_claims(token, keys)  # (1)
    spiffe_id = _subject(claims, trust_domain)  # (2)
    if claims.get("aud") not in (audience, [audience]):  # (3)
        reason = "aud is not the issuer of this server and nothing else"
        raise JWTSVIDError(Refusal.ASSERTION_WRONG_AUDIENCE, reason)
    return JWTSVID(spiffe_id=spiffe_id, expires_at=_check_times(claims, at))  # (4)


def _verified_claims(token: str, keys: JWKSet) -> Mapping[str, object]:
    try:
        verified = verify(token, keys, type=TYPES, algorithms=ALGORITHMS)
    except (UnknownKey, UnfitKeyError) as error:
        raise JWTSVIDError(Refusal.ASSERTION_KEY_UNKNOWN, str(error)) from None
    except BadSignatureError as error:
        raise JWTSVIDError(Refusal.ASSERTION_UNTRUSTED, str(error)) from None
    except JWTError as error:
        raise JWTSVIDError(Refusal.ASSERTION_MALFORMED, str(error)) from None
    if not _HEADERS.issuperset(verified.header):
        raise JWTSVIDError(Refusal.ASSERTION_MALFORMED, "the header of a JWT-SVID has alg, kid and typ alone")
    return verified.claims


def _subject(claims: Mapping[str, object], trust_domain: str) -> SpiffeID:
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise JWTSVIDError(Refusal.ASSERTION_MALFORMED, "sub is not a string")
    try:
        spiffe_id = parse_spiffe_id(subject)
    except SpiffeIDError as error:
        raise JWTSVIDError(Refusal.NOT_AN_SVID, f"sub is not a SPIFFE ID: {error}") from None
    if not spiffe_id.path:
        raise JWTSVIDError(Refusal.NOT_AN_SVID, "the SPIFFE ID has no path, so it names no workload")
    if spiffe_id.trust_domain != trust_domain:
        reason = f"'{spiffe_id}' is signed with a key of the trust domain '{trust_domain}'"
        raise JWTSVIDError(Refusal.NOT_AN_SVID, reason)
    return spiffe_id


def _check_times(claims: Mapping[str, object], at: float) -> float:
    try:
        expires_at = required_numeric_date(claims, "exp")
        begins_at = {name: numeric_date(claims, name) for name in ("iat", "nbf")}
    except JWTError as error:
        raise JWTSVIDError(Refusal.ASSERTION_MALFORMED, str(error)) from None
    if at >= expires_at:
        raise JWTSVIDError(Refusal.ASSERTION_EXPIRED, f"exp was {at - expires_at:.0f} s ago")
    if expires_at > at + MAX_LIFETIME:
        reason = f"exp is more than {MAX_LIFETIME:.0f} s ahead"
        raise JWTSVIDError(Refusal.ASSERTION_LIFETIME_TOO_LONG, reason)
    for name, time in begins_at.items():
        if time is not None and time > at + LEEWAY:
            raise JWTSVIDError(Refusal.ASSERTION_NOT_YET_VALID, f"{name} is {time - at:.0f} s ahead")
    return expires_at
