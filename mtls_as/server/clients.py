"""Registered clients: the metadata of the standards, plus what this server decides about each client."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, assert_never

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc7523_grant import GRANT_TYPE as JWT_BEARER
from mtls_as.rfc.rfc7591_client_metadata import (
    METADATA_MEMBERS,
    ClientMetadata,
    ClientMetadataError,
    ClientSecret,
    NoAuthentication,
    PrivateKeyJwt,
    SelfSignedTlsClientAuth,
    SpiffeJwt,
    SpiffeX509,
    TlsClientAuth,
    format_client_metadata,
    read_client_metadata,
)
from mtls_as.rfc.rfc8693_token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from mtls_as.server.client_policy import (
    ExchangePolicy,
    JwtBearerPolicy,
    format_exchange,
    format_jwt_bearer,
    read_claims,
    read_exchange,
    read_jwt_bearer,
)
from mtls_as.server.client_secrets import StoredSecret

ACCESS_TOKEN_LIFETIMES: Final = range(10, 86_400 + 1)
"""The lifetimes, in seconds, that an access token may be given."""
CLIENT_MEMBERS: Final = (
    "client_id",
    "trust",
    "access_token_lifetime",
    "resources",
    "exchange",
    "jwt_bearer",
    "claims",
    "enabled",
    *METADATA_MEMBERS,
)

_CLIENT_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")


class ClientSource(StrEnum):
    """Where a client is registered; only stored ones can be changed while the server runs."""

    CONFIGURATION = "configuration"
    STORAGE = "storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered client. One that names no trust domain where it needs one cannot be made: `ClientMetadataError`."""

    client_id: str
    """1 to 256 printable ASCII characters without spaces (RFC 6749 appendix A.1, without the space)."""
    metadata: ClientMetadata
    trust: str | None
    """The trust domain its certificates must chain to. None for self-signed certificates, which chain to nothing, for
    SPIFFE, whose IDs name their trust domain, and for methods by which a certificate proves nothing."""
    access_token_lifetime: int | None = None
    """Seconds, or None for the server's own."""
    resources: tuple[str, ...] = ()
    """The resources that it may have tokens for; empty for all at which it holds a scope."""
    exchange: ExchangePolicy = field(default_factory=ExchangePolicy)
    jwt_bearer: JwtBearerPolicy | None = None
    claims: Mapping[str, object] = field(default_factory=dict)
    """Further claims of its tokens, none of them reserved."""
    enabled: bool = True
    source: ClientSource
    secrets: tuple[StoredSecret, ...] = field(default=(), repr=False)
    """What is known of its secrets: one, or two while one replaces the other. Only stored clients have any."""

    def __post_init__(self) -> None:
        problems = [
            ("client_id", _client_id_problem(self.client_id)),
            ("trust", _trust_problem(self.trust, self.metadata)),
            *_policy_problems(self.exchange, self.jwt_bearer, self.metadata),
        ]
        found = [(member, problem) for member, problem in problems if problem]
        if found:
            raise ClientMetadataError(found)


def parse_client(members: Mapping[str, object], source: ClientSource) -> Client:
    """Read a registration: the members of `CLIENT_MEMBERS`, with JSON types (RFC 7591 §2, and this server's own).

    Raises `ClientMetadataError`, which holds every problem, and nothing else. The caller must still check that the
    trust domain exists and that some resource knows the scopes.
    """
    reader = MemberReader(members, CLIENT_MEMBERS)
    client_id = reader.text("client_id", required=True)
    if client_id is not None and (problem := _client_id_problem(client_id)):
        reader.problem("client_id", problem)
    trust = reader.text("trust")
    trust = None if trust is None else sys.intern(trust)  # one text for all the clients of a domain
    lifetime = reader.whole_number("access_token_lifetime", ACCESS_TOKEN_LIFETIMES)
    enabled = reader.flag("enabled", default=True)
    metadata = read_client_metadata(reader)
    trust_is_readable = trust is not None or not reader.has("trust")
    if metadata and trust_is_readable and (problem := _trust_problem(trust, metadata)):
        reader.problem("trust", problem)
    resources = reader.texts("resources") or ()
    exchange, jwt_bearer = read_exchange(reader, "exchange"), read_jwt_bearer(reader, "jwt_bearer")
    claims = read_claims(reader, "claims")
    for member, message in _policy_problems(exchange, jwt_bearer, metadata) if metadata and not reader.problems else ():
        reader.problem(member, message)
    if reader.problems or client_id is None or metadata is None:
        raise ClientMetadataError(reader.problems)
    return Client(
        client_id=client_id,
        metadata=metadata,
        trust=trust,
        access_token_lifetime=lifetime,
        resources=resources,
        exchange=exchange,
        jwt_bearer=jwt_bearer,
        claims=claims,
        enabled=enabled,
        source=source,
    )


def format_client(client: Client) -> dict[str, object]:
    """The members that `parse_client` reads back to the same client; JSON types only."""
    members: dict[str, object] = {"client_id": client.client_id}
    if client.trust is not None:
        members["trust"] = client.trust
    if client.access_token_lifetime is not None:
        members["access_token_lifetime"] = client.access_token_lifetime
    policies: dict[str, object] = {
        "resources": list(client.resources),
        "exchange": format_exchange(client.exchange),
        "jwt_bearer": None if client.jwt_bearer is None else format_jwt_bearer(client.jwt_bearer),
        "claims": dict(client.claims),
    }
    members |= {name: value for name, value in policies.items() if value}
    members["enabled"] = client.enabled
    return members | format_client_metadata(client.metadata)


def is_client_id(text: str) -> bool:
    """Whether a client can have this name: 1 to 256 printable ASCII characters without spaces."""
    return _CLIENT_ID.fullmatch(text) is not None


def _client_id_problem(client_id: str) -> str | None:
    if is_client_id(client_id):
        return None
    return "must be 1 to 256 printable ASCII characters without spaces"


def _policy_problems(
    exchange: ExchangePolicy, jwt_bearer: JwtBearerPolicy | None, metadata: ClientMetadata
) -> list[tuple[str, str]]:
    """A policy without its grant means nothing, and the JWT bearer grant means nothing without its policy."""
    problems = []
    if exchange != ExchangePolicy() and TOKEN_EXCHANGE not in metadata.grant_types:
        problems.append(("exchange", f"belongs to the grant type {TOKEN_EXCHANGE}, which is not among grant_types"))
    if jwt_bearer is not None and JWT_BEARER not in metadata.grant_types:
        problems.append(("jwt_bearer", f"belongs to the grant type {JWT_BEARER}, which is not among grant_types"))
    if jwt_bearer is None and JWT_BEARER in metadata.grant_types:
        problems.append(("jwt_bearer", f"is missing: the grant type {JWT_BEARER} needs the issuers it may use"))
    return problems


def _trust_problem(trust: str | None, metadata: ClientMetadata) -> str | None:
    match metadata.authentication:
        case TlsClientAuth():
            return None if trust else "is missing: name the trust domain that this client's certificates chain to"
        case SelfSignedTlsClientAuth():
            return None if trust is None else "must not be given: self-signed certificates chain to no trust domain"
        case SpiffeX509() | SpiffeJwt():
            return None if trust is None else "must not be given: the SPIFFE ID names its trust domain"
        case PrivateKeyJwt() | ClientSecret() | NoAuthentication():
            return None if trust is None else "must not be given: no certificate authenticates this client"
        case _:
            assert_never(metadata.authentication)
