"""RFC 7662, OAuth 2.0 Token Introspection: what an answer says of a token."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims, ClaimsError, validate_claims

INACTIVE: Final[Mapping[str, object]] = MappingProxyType({"active": False})
"""All that is said of a token which is not active, or of which the caller is to know nothing (§2.2)."""


_ACCESS_TOKEN_TYPES: Final = frozenset({"bearer", "dpop"})
_NO_ID: Final = "-"


def introspection_answer(claims: Mapping[str, object]) -> dict[str, object]:
    """The answer for an active token with these claims (§2.2): each at the top level, `cnf` too (RFC 8705 §3.2).

    No claim can stand for `active` or `token_type`. Whether the token is active, and whether the caller may know, is
    for the caller of this function to decide.
    """
    return {**claims, "active": True, "token_type": token_type(claims)}


def read_introspection_answer(
    answer: object, *, issuer: str, audience: str, at: float, leeway: float
) -> AccessTokenClaims | None:
    """What an answer says of an access token that is active, for us and in time; None for one that is not active.

    RFC 7662 §2.2 leaves every member but `active` open. Here `iss`, `aud`, `exp`, `client_id` and a `token_type` of
    access tokens must be there and right, so that neither a refresh token nor one for somebody else passes. Without
    `sub` the token speaks for its client; without `iat` it is as old as can be, and `jwt_id` is empty without `jti`.
    Raises `ClaimsError` and nothing else, `TokenExpired` among it.
    """
    if not isinstance(answer, dict):
        raise ClaimsError("", "the answer is not an object")
    active = answer.get("active")
    if not isinstance(active, bool):
        raise ClaimsError("active", "is missing or neither true nor false")
    if not active:
        return None
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() not in _ACCESS_TOKEN_TYPES:
        raise ClaimsError("token_type", "is not that of an access token")
    members = {"sub": answer.get("client_id"), "iat": 0, "jti": _NO_ID} | answer
    claims = validate_claims(members, issuer=issuer, audience=audience, at=at, leeway=leeway)
    return claims if "jti" in answer else claims._replace(jwt_id="")


def token_type(claims: Mapping[str, object]) -> str:
    """How a token with these claims is to be used: `DPoP` if it is bound to such a key (RFC 9449 §6.2), else `Bearer`.

    A token that is bound to a certificate is a bearer token too, by name (RFC 8705 §3).
    """
    confirmation = claims.get("cnf")
    return "DPoP" if isinstance(confirmation, (dict, Mapping)) and "jkt" in confirmation else "Bearer"
