"""RFC 7662, OAuth 2.0 Token Introspection: what an answer says of a token."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

INACTIVE: Final[Mapping[str, object]] = MappingProxyType({"active": False})
"""All that is said of a token which is not active, or of which the caller is to know nothing (§2.2)."""


def introspection_answer(claims: Mapping[str, object]) -> dict[str, object]:
    """The answer for an active token with these claims (§2.2): each at the top level, `cnf` too (RFC 8705 §3.2).

    No claim can stand for `active` or `token_type`. Whether the token is active, and whether the caller may know, is
    for the caller of this function to decide.
    """
    return {**claims, "active": True, "token_type": token_type(claims)}


def token_type(claims: Mapping[str, object]) -> str:
    """How a token with these claims is to be used: `DPoP` if it is bound to such a key (RFC 9449 §6.2), else `Bearer`.

    A token that is bound to a certificate is a bearer token too, by name (RFC 8705 §3).
    """
    confirmation = claims.get("cnf")
    return "DPoP" if isinstance(confirmation, Mapping) and "jkt" in confirmation else "Bearer"
