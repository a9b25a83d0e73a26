"""What this server lets a client do beyond its metadata: whose tokens it may exchange, whose assertions it may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc9068_at_jwt import ClaimsError, read_further_claims

EXCHANGE_MEMBERS: Final = ("audiences", "clients", "issuers", "actors", "impersonation")
JWT_BEARER_MEMBERS: Final = ("issuers", "subjects")

_MAX_NAME_LENGTH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangePolicy:
    """Which tokens a client may exchange (RFC 8693), beside those that were issued to itself."""

    audiences: tuple[str, ...] = ()
    """The resources that the client is: tokens for them come to it as to a resource server, and to nobody else."""
    clients: tuple[str, ...] = ()
    """The clients whose tokens it may then exchange: those that this server issued the token to."""
    issuers: tuple[str, ...] = ()
    """The other issuers whose tokens it may exchange."""
    actors: tuple[str, ...] = ()
    """The clients whose tokens it may hand in as actor tokens, beside its own."""
    impersonation: bool = False
    """Without an actor token: whether the new token is silent about the client, or names it as the actor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtBearerPolicy:
    """Whose assertions a client may use as a grant (RFC 7523 §2.1)."""

    issuers: tuple[str, ...]
    subjects: Mapping[str, str] | None = None
    """The subjects that it may speak for, as the issuer calls them, with what they are called here; None for all."""


# Most clients have neither: in the memory of a server, which may know thousands, they share these.
_NO_EXCHANGE: Final = ExchangePolicy()
_NO_CLAIMS: Final[Mapping[str, object]] = MappingProxyType({})


def read_exchange(reader: MemberReader, member: str) -> ExchangePolicy:
    """Read the table of an exchange policy; problems stay in the reader."""
    table = _table(reader, member, EXCHANGE_MEMBERS)
    if table is None:
        return _NO_EXCHANGE
    policy = ExchangePolicy(
        audiences=table.texts("audiences") or (),
        clients=table.texts("clients") or (),
        issuers=table.texts("issuers") or (),
        actors=table.texts("actors") or (),
        impersonation=table.flag("impersonation", default=False),
    )
    _hand_up(reader, member, table)
    return policy


def read_jwt_bearer(reader: MemberReader, member: str) -> JwtBearerPolicy | None:
    """Read the table of a JWT bearer policy, None if there is none; problems stay in the reader."""
    table = _table(reader, member, JWT_BEARER_MEMBERS)
    if table is None:
        return None
    issuers = table.texts("issuers") or ()
    if not issuers and not table.problems:
        table.problem("issuers", "names no issuer")
    subjects = _read_subjects(table) if table.has("subjects") else None
    _hand_up(reader, member, table)
    return JwtBearerPolicy(issuers=issuers, subjects=subjects)


def read_claims(reader: MemberReader, member: str) -> Mapping[str, object]:
    """Read further claims; problems stay in the reader."""
    if not reader.has(member):
        return _NO_CLAIMS
    try:
        return MappingProxyType(read_further_claims(reader.value(member)))
    except ClaimsError as error:
        reader.problem(f"{member}.{error.claim}" if error.claim else member, error.message)
        return MappingProxyType({})


def format_exchange(policy: ExchangePolicy) -> dict[str, object]:
    """The members that `read_exchange` reads back; empty for the policy of a client without the table."""
    members: dict[str, object] = {
        name: list(names)
        for name, names in (
            ("audiences", policy.audiences),
            ("clients", policy.clients),
            ("issuers", policy.issuers),
            ("actors", policy.actors),
        )
        if names
    }
    return members | ({"impersonation": True} if policy.impersonation else {})


def format_jwt_bearer(policy: JwtBearerPolicy) -> dict[str, object]:
    """The members that `read_jwt_bearer` reads back."""
    subjects = {} if policy.subjects is None else {"subjects": dict(policy.subjects)}
    return {"issuers": list(policy.issuers), **subjects}


def _read_subjects(table: MemberReader) -> Mapping[str, str] | None:
    value = table.value("subjects")
    if not isinstance(value, Mapping) or not value:
        table.problem(
            "subjects", "must be a table with at least one entry: what the issuer says, and what it means here"
        )
        return None
    for name, own in value.items():
        if not isinstance(own, str) or not 0 < len(own) <= _MAX_NAME_LENGTH or not own.isprintable():
            table.problem("subjects", f'"{name}" must stand for 1 to {_MAX_NAME_LENGTH} printable characters')
            return None
    return MappingProxyType(dict(value))


def _table(reader: MemberReader, member: str, known: tuple[str, ...]) -> MemberReader | None:
    if not reader.has(member):
        return None
    value = reader.value(member)
    if not isinstance(value, Mapping):
        reader.problem(member, "must be a table")
        return None
    return MemberReader(value, known)


def _hand_up(reader: MemberReader, member: str, table: MemberReader) -> None:
    for inner, message in table.problems:
        reader.problem(f"{member}.{inner}", message)
