"""RFC 9701, JWT Response for OAuth Token Introspection: signed answers, and who asks for one."""

import re
from collections.abc import Mapping
from typing import Final

from mtls_as.rfc.rfc9068_at_jwt import ClaimsError

TOKEN_INTROSPECTION_TYPE: Final = "token-introspection+jwt"  # noqa: S105 # the `typ` of §5, not a secret
MEDIA_TYPE: Final = f"application/{TOKEN_INTROSPECTION_TYPE}"

MAX_ANSWER_AGE: Final = 10.0
"""Seconds."""

_QUALITY: Final = re.compile(r"q=([01](?:\.[0-9]{0,3})?)", re.IGNORECASE)


def wants_signed_answer(accept: str | None) -> bool:
    """Whether an `Accept` header asks for a signed answer (§4): it names the media type, and prefers none over it.

    Plain JSON is the answer to every range with a star in it, and to what cannot be read (RFC 9110 §12.5.1).
    """
    if accept is None or TOKEN_INTROSPECTION_TYPE not in accept.lower():
        return False
    weights = dict(_weighed(media_range) for media_range in accept.split(","))
    weight = weights.get(MEDIA_TYPE, 0.0)
    return weight > 0 and weight >= weights.get("application/json", 0.0)


def introspection_claims(
    *, issuer: str, audience: str, issued_at: int, answer: Mapping[str, object]
) -> dict[str, object]:
    """The claims of a signed answer (§5): from the server, to the caller, the answer of RFC 7662 within.

    There is neither `sub` nor `exp`, so that nobody takes it for an access token (§8.1). `issued_at` is in seconds.
    """
    return {"iss": issuer, "aud": audience, "iat": issued_at, "token_introspection": dict(answer)}


def read_introspection_claims(
    claims: Mapping[str, object], *, issuer: str, audience: str, at: float, leeway: float
) -> object:
    """The answer within a signed one whose signature is good (§5): by our issuer, for us, and made just now.

    It names no token, so that one which is older than `MAX_ANSWER_AGE` could be the answer to another question.
    Raises `ClaimsError` and nothing else.
    """
    if claims.get("iss") != issuer:
        raise ClaimsError("iss", "is not the expected issuer")
    named = claims.get("aud")
    if named != audience and not (isinstance(named, list) and audience in named):
        raise ClaimsError("aud", "does not name the caller")
    issued_at = claims.get("iat")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise ClaimsError("iat", "is missing or not a time")
    if not -leeway <= at - issued_at <= MAX_ANSWER_AGE + leeway:
        raise ClaimsError("iat", "the answer is not of now")
    return claims.get("token_introspection")


def _weighed(media_range: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip() for part in media_range.split(";"))
    found = (_QUALITY.fullmatch(parameter) for parameter in parameters)
    weight = next((float(match[1]) for match in found if match), 1.0)
    return media_type.lower(), weight
