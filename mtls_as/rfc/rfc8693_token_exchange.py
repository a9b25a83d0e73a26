"""RFC 8693, OAuth 2.0 Token Exchange: the request, and who acts for whom in a token.

Where the standard leaves a choice: of token types there are access tokens and JWTs; an actor is named by `iss` and
`sub` alone, so that nothing else travels along a chain of delegation; a chain is bounded; what `may_act` demands and
nobody here can prove refuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeGuard

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 # a type (§3), not a secret
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
TOKEN_TYPES: Final = (ACCESS_TOKEN, JWT)
MAX_CHAIN: Final = 5
"""How many parties may act for one another in one token."""
MAX_NAME_LENGTH: Final = 2048


class ActorError(Exception):
    """An `act` or `may_act` claim that this project does not take. The message quotes no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenToken:
    """A token that a request hands in, with the type it is said to be; nothing in it is verified."""

    text: str = field(repr=False)
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRequest:
    """The parameters of §2.1 that are this grant's own; resource and scope are read as for every grant."""

    subject: GivenToken
    actor: GivenToken | None
    requested_token_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody that a token names: `subject`, among the names that `issuer` gives."""

    issuer: str
    subject: str


Chain = tuple[Party, ...]
"""Who acts (§4.1): first the one who acts now, then for whom it acts itself, and so on; empty if the subject does."""


def parse_exchange_request(form: Form) -> ExchangeRequest:
    """Read the request (§2.1). Raises `OAuthError` `invalid_request` and nothing else.

    Without `requested_token_type` an access token is meant.
    """
    subject = _given(form, "subject_token")
    if subject is None:
        raise _invalid_request(Refusal.MISSING_PARAMETER, "subject_token is missing")
    requested = form.get("requested_token_type") or ACCESS_TOKEN
    if requested not in TOKEN_TYPES:
        raise _invalid_request(Refusal.TOKEN_TYPE_UNSUPPORTED, f"requested_token_type {requested} is not issued here")
    return ExchangeRequest(subject=subject, actor=_given(form, "actor_token"), requested_token_type=requested)


def parse_chain(claims: Mapping[str, object], *, issuer: str) -> Chain:
    """Who acts, by the `act` claim of a token (§4.1). Raises `ActorError` and nothing else.

    `issuer` is the token's: it gives the names of the parties that name no issuer of their own. Other members than
    `iss` and `sub` are not taken along.
    """
    parties: list[Party] = []
    members = claims
    while "act" in members:
        if len(parties) == MAX_CHAIN:
            raise ActorError(f"act is nested more than {MAX_CHAIN} deep")
        value = members["act"]
        if not isinstance(value, Mapping):
            raise ActorError("act is not an object")
        parties.append(_party(value, "act", issuer))
        members = value
    return tuple(parties)


def format_chain(chain: Chain, *, issuer: str) -> dict[str, object] | None:
    """The `act` claim (§4.1) of a token by `issuer`, or None if the subject acts for itself."""
    claim: dict[str, object] | None = None
    for party in reversed(chain):
        named = {} if party.issuer == issuer else {"iss": party.issuer}
        claim = {**named, "sub": party.subject, **({} if claim is None else {"act": claim})}
    return claim


def delegate(chain: Chain, *, to: Party, subject: Party) -> Chain:
    """The chain once the subject's, or the last actor's, power has gone `to` a party.

    Who acts already does not become another link, and the subject is no actor for itself: an exchange with oneself
    lengthens nothing. Raises `ActorError` for a chain that would be too long.
    """
    if (chain and chain[0] == to) or (not chain and to == subject):
        return chain
    if len(chain) >= MAX_CHAIN:
        raise ActorError(f"act would be nested more than {MAX_CHAIN} deep")
    return (to, *chain)


def check_may_act(claims: Mapping[str, object], actor: Party, *, issuer: str) -> None:
    """Raise `ActorError` unless the token's `may_act`, if there is one, names this actor (§4.4).

    `issuer` is the token's, and gives the name where `may_act` has no `iss`. What else `may_act` demands cannot be
    proven here, and refuses.
    """
    if "may_act" not in claims:
        return
    value = claims["may_act"]
    if not isinstance(value, Mapping) or not {"iss", "sub"}.issuperset(value):
        raise ActorError("may_act is not an object of iss and sub")
    if _party(value, "may_act", issuer) != actor:
        raise ActorError("may_act names another actor")


def _party(value: Mapping[str, object], claim: str, issuer: str) -> Party:
    subject, named = value.get("sub"), value.get("iss", issuer)
    if not _is_name(subject) or not _is_name(named):
        raise ActorError(f"sub of {claim} is missing, or sub or iss is not a string of sensible length")
    return Party(issuer=named, subject=subject)


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH


def _given(form: Form, name: str) -> GivenToken | None:
    """A token and its type: neither comes alone (§2.1)."""
    text, token_type = form.get(name), form.get(f"{name}_type")
    if text is None and token_type is None:
        return None
    if text is None or token_type is None:
        raise _invalid_request(Refusal.MISSING_PARAMETER, f"{name} and {name}_type come together")
    if token_type not in TOKEN_TYPES:
        raise _invalid_request(Refusal.TOKEN_TYPE_UNSUPPORTED, f"{name}_type {token_type} is not taken here")
    return GivenToken(text=text, type=token_type)


def _invalid_request(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
