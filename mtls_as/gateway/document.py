"""The shape of `gateway.toml`: its tables, keys and defaults, and the checks that concern one text alone."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from mtls_as.config.document import (
    FilePath,
    TimeoutsTable,
    TLSTable,
    check_base_url,
    check_header,
    check_https_url,
    check_not_empty,
    check_pin,
    check_preset,
    check_proxy_address,
    check_proxy_bind,
    check_scope_token,
)
from mtls_as.config.grant_tables import check_details_type
from mtls_as.config.observability import EventsTable
from mtls_as.gateway.questions import ProxyName
from mtls_as.gateway.routes import route_problem
from mtls_as.rfc.rfc3986_uri import is_https_url

Algorithm = Literal["ES256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]
Text = Annotated[str, check_not_empty]
URL = Annotated[str, check_https_url]
Seconds = Annotated[float, Meta(ge=0, le=3_600)]


def check_issuer(text: str) -> str | None:
    """The issuer of the tokens, as it writes itself: a slash at its end is a part of its name."""
    if not is_https_url(text):
        return "must be an https URL with a host, without user and fragment"
    return "must not have a query" if "?" in text else None


def check_prefix(text: str) -> str | None:
    """What the names of the headers begin with that tell of a token."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*-", text):
        return None
    return "must be words of letters and digits with a hyphen after each, such as X-Token-"


def check_method(text: str) -> str | None:
    """A method of HTTP; they have a case (RFC 9110 §9.1)."""
    return None if re.fullmatch(r"[A-Z][A-Z-]{0,31}", text) else 'must be a method such as "GET"'


def check_route(text: str) -> str | None:
    """The path of a route."""
    return route_problem(text)


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class ListenerTable(_Table, frozen=True):
    bind: Annotated[str, check_proxy_bind]
    socket_group: Text | None = None
    proxy_certificates: Annotated[list[Annotated[str, check_pin]], Meta(min_length=1)] | None = None
    proxy_addresses: Annotated[list[Annotated[str, check_proxy_address]], Meta(min_length=1)] | None = None
    preset: Annotated[str, check_preset] | None = None
    header: Annotated[str, check_header] | None = None


class IssuerTable(_Table, frozen=True):
    url: Annotated[str, check_issuer]
    jwks: FilePath | None = None
    jwks_uri: URL | None = None
    ca: FilePath | None = None
    algorithms: Annotated[list[Algorithm], Meta(min_length=1)] = field(
        default_factory=lambda: ["ES256", "PS256", "EdDSA"]
    )


class TokensTable(_Table, frozen=True):
    leeway: Seconds = 10.0
    require_binding: bool = True
    check_status: bool = True
    status_list_origins: list[URL] = field(default_factory=list)
    status_list_tolerance: Seconds = 0.0
    cache: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000


class IntrospectionTable(_Table, frozen=True):
    client_id: Text
    certificate: FilePath
    private_key: FilePath
    endpoint: URL | None = None
    jwts: bool = False
    signed: bool = False
    max_age: Seconds = 10.0


class HeadersTable(_Table, frozen=True):
    prefix: Annotated[str, check_prefix] = "X-Token-"
    from_clients: Literal["refuse", "ignore"] = "refuse"


class ResourceTable(_Table, frozen=True):
    audience: Text
    metadata: bool = False
    dpop_url: Annotated[str, check_base_url] | None = None
    authorization_details: list[Annotated[str, check_details_type]] = field(default_factory=list)
    actors: list[Text] | None = None


class RouteTable(_Table, frozen=True):
    path: Annotated[str, check_route]
    scopes: list[Annotated[str, check_scope_token]]
    methods: list[Annotated[str, check_method]] = field(default_factory=list)
    audience: Text | None = None


class ServerTable(_Table, frozen=True):
    workers: Annotated[int, Meta(ge=1, le=256)] = 1


class GatewayDocument(_Table, frozen=True):
    """The whole file."""

    proxy: ProxyName
    listener: ListenerTable
    issuer: IssuerTable
    resources: Annotated[list[ResourceTable], Meta(min_length=1)]
    routes: Annotated[list[RouteTable], Meta(min_length=1)]
    tls: TLSTable | None = None
    tokens: TokensTable = field(default_factory=TokensTable)
    introspection: IntrospectionTable | None = None
    headers: HeadersTable = field(default_factory=HeadersTable)
    server: ServerTable = field(default_factory=ServerTable)
    timeouts: TimeoutsTable = field(default_factory=TimeoutsTable)
    events: EventsTable = field(default_factory=EventsTable)
