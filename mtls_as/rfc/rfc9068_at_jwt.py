"""RFC 9068, the claims of JWT access tokens, with the confirmation claim of RFC 7800."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from mtls_as.rfc.rfc6749_framework import format_scope, parse_scope
from mtls_as.rfc.rfc7800_confirmation import Confirmation, format_confirmation, parse_confirmation
from mtls_as.rfc.rfc8705_mtls import ConfirmationError

ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 # the media type of RFC 9068 §2.1, not a secret

RESERVED_CLAIMS: Final = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope"),  # RFC 9068 §2.2
        *("cnf", "act", "may_act", "authorization_details"),  # RFC 7800, RFC 8693 §4, RFC 9396 §9
        *("active", "token_type", "username"),  # RFC 7662 §2.2: in the answer they would seem to be the server's
        "status",  # draft-ietf-oauth-status-list §6.2
        *("azp", "auth_time", "acr", "amr"),  # OpenID Connect Core §2: nobody has logged in here
    }
)
"""The claims that are the server's own, whatever a configuration or a hook says."""
MAX_FURTHER_CLAIMS_BYTES: Final = 4 * 1024
"""Of the further claims of one source, as JSON."""

_CLAIM_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")
_FIELDS: Final = frozenset({"iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti", "cnf"})
_NO_OTHER: Final[Mapping[str, object]] = MappingProxyType({})
_NUMBER: Final = (int, float)
_LAST_SECOND: Final = 253402300799  # of the year 9999


class ClaimsError(Exception):
    """A claim is missing, malformed or not acceptable here. `claim` is its name, or ""; the message quotes no value."""

    def __init__(self, claim: str, message: str) -> None:
        super().__init__(f"{claim}: {message}" if claim else message)
        self.claim = claim
        self.message = message


class TokenExpired(ClaimsError):  # noqa: N818 # a state of the token, not a mistake
    """The token was good, and is no more."""


class AccessTokenClaims(NamedTuple):  # half as long to make as a frozen dataclass, and one is made for each token
    """What an access token says (RFC 9068 §2.2). Times are epoch seconds."""

    issuer: str
    subject: str
    client_id: str
    audience: tuple[str, ...]
    scope: tuple[str, ...]
    issued_at: float
    expires_at: float
    jwt_id: str
    confirmation: Confirmation | None
    """What the token is bound to: a certificate, a DPoP key, or None for a bearer token."""
    other: Mapping[str, object]
    """All further claims, under their own names."""


def encode_claims(
    *,
    issuer: str,
    subject: str,
    client_id: str,
    audience: Sequence[str],
    scope: Iterable[str],
    issued_at: int,
    expires_at: int,
    jwt_id: str,
    confirmation: Confirmation | None,
) -> dict[str, object]:
    """The JSON members of an access token, to be signed (RFC 9068 §2.2); times are epoch seconds.

    `confirmation` is what to bind to. An audience of one is a string, as most readers expect it; an empty scope is left
    out.
    """
    members: dict[str, object] = {
        "iss": issuer,
        "sub": subject,
        "client_id": client_id,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "iat": issued_at,
        "exp": expires_at,
        "jti": jwt_id,
    }
    if scope_text := format_scope(scope):
        members["scope"] = scope_text
    if confirmation is not None:
        members["cnf"] = format_confirmation(confirmation)
    return members


def read_further_claims(value: object) -> Mapping[str, object]:
    """Claims that somebody wants in a token beside the server's own: JSON, 4 KiB at most.

    Raises `ClaimsError`, with the name of the claim or nothing, for a reserved one too, and nothing else.
    """
    if not isinstance(value, Mapping):
        raise ClaimsError("", "claims are an object")
    for name in value:
        if not isinstance(name, str) or not _CLAIM_NAME.fullmatch(name):
            raise ClaimsError("", "a claim's name has 1 to 128 printable ASCII characters without spaces")
        if name in RESERVED_CLAIMS:
            raise ClaimsError(name, "is the server's own")
    try:
        text = json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ClaimsError("", "claims are JSON, and one holds something else") from None
    if len(text) > MAX_FURTHER_CLAIMS_BYTES:
        raise ClaimsError("", f"claims have {MAX_FURTHER_CLAIMS_BYTES} bytes at most")
    copied: dict[str, object] = json.loads(text)
    return copied


def validate_claims(
    claims: Mapping[str, object], *, issuer: str, audience: str, at: float, leeway: float
) -> AccessTokenClaims:
    """Judge the claims of a token whose signature is good (RFC 9068 §4) at a time in epoch seconds.

    `iss` equals `issuer` to the character, `aud` holds `audience`, the token is neither expired nor from the future by
    more than `leeway` seconds, every required claim is there, and `cnf`, if any, holds one thumbprint and nothing else.
    Raises `ClaimsError` and nothing else. Whether the presenter holds what the token is bound to, and whether a token
    that is bound to nothing will do, is for the caller to check.
    """
    if claims.get("iss") != issuer:
        _text(claims, "iss")
        raise ClaimsError("iss", "is not the expected issuer")
    audiences = _audience(claims)
    if audience not in audiences:
        raise ClaimsError("aud", "does not hold this resource server")
    expires_at, issued_at = _time(claims, "exp"), _time(claims, "iat")
    if at >= expires_at + leeway:
        raise TokenExpired("exp", "the token is expired")
    if issued_at > at + leeway:
        raise ClaimsError("iat", "the token is from the future")
    if "nbf" in claims and _time(claims, "nbf") > at + leeway:
        raise ClaimsError("nbf", "the token is not valid yet")
    return AccessTokenClaims(
        issuer=issuer,
        subject=_text(claims, "sub"),
        client_id=_text(claims, "client_id"),
        audience=audiences,
        scope=_scope(claims),
        issued_at=issued_at,
        expires_at=expires_at,
        jwt_id=_text(claims, "jti"),
        confirmation=_confirmation(claims),
        other=_other(claims),
    )


def _other(claims: Mapping[str, object]) -> Mapping[str, object]:
    if claims.keys() <= _FIELDS:
        return _NO_OTHER
    return MappingProxyType({name: value for name, value in claims.items() if name not in _FIELDS})


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise ClaimsError(name, "is missing or not a string")
    return value


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    # A bool is an int to Python; the bound also keeps out infinity, which 1e999 becomes.
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value <= _LAST_SECOND:
        raise ClaimsError(name, "is missing or not a time")
    return value


def _audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    value = claims.get("aud")
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        raise ClaimsError("aud", "is missing, or neither a string nor an array of strings")
    return tuple(value)


def _scope(claims: Mapping[str, object]) -> tuple[str, ...]:
    value = claims.get("scope", "")
    if not isinstance(value, str):
        raise ClaimsError("scope", "is not a string")
    try:
        return _parse_scope(value) if value else ()
    except ValueError:
        raise ClaimsError("scope", "is not a list of scope tokens") from None


_parse_scope = lru_cache(maxsize=256)(parse_scope)  # tokens have few different scopes, all by our issuer's hand


def _confirmation(claims: Mapping[str, object]) -> Confirmation | None:
    if "cnf" not in claims:
        return None
    try:
        return parse_confirmation(claims["cnf"])
    except ConfirmationError as error:
        raise ClaimsError("cnf", str(error)) from None
