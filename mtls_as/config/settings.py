"""`config.toml` as settings: read, judged as a whole, and with every path resolved."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mtls_as.config.admin_listener import Network, admin_networks
from mtls_as.config.conflicts import KnownNames, find_client_conflicts, find_conflicts
from mtls_as.config.document import (
    Document,
    ResourceTable,
    SpiffeTable,
    TokensTable,
    TrustTable,
    listener_urls,
)
from mtls_as.config.grants import ClaimsHookSettings, claims_hook, trusted_issuer
from mtls_as.config.keys import KeySettings, key_settings
from mtls_as.config.limits import connection_limits, limit_settings
from mtls_as.config.observability import (
    AuditSettings,
    EventsSettings,
    TracingSettings,
    audit_settings,
    events_settings,
    tracing_settings,
)
from mtls_as.config.problems import ConfigurationError, Problem, find_problems
from mtls_as.config.proxy_listener import ProxyListenerSettings, proxy_listener
from mtls_as.config.registration import RegistrationSettings, registration_settings
from mtls_as.config.storage import StorageSettings, storage_settings
from mtls_as.pki.revocation_policy import RevocationPolicy
from mtls_as.pki.trust_domains import TrustDomainSettings
from mtls_as.rfc.spiffe_id import parse_spiffe_id
from mtls_as.server.clients import Client, ClientSource, format_client, parse_client
from mtls_as.server.limits import LimitSettings
from mtls_as.server.resources import Resource, TokenFormat
from mtls_as.server.spiffe_federation import BundleEndpoint, SpiffeDomainSettings
from mtls_as.server.trusted_issuers import TrustedIssuer
from mtls_as.tls import Limits, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Where to listen (`host:port`), and the URL by which clients reach it (no slash at its end)."""

    bind: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenersSettings:
    """The listener that asks for a client certificate; the others, if any."""

    mtls: ListenerSettings
    public: ListenerSettings | None
    """The one that never asks."""
    proxy: ProxyListenerSettings | None
    """The listener for a proxy that ends TLS and forwards its clients' certificates."""
    admin_bind: str | None
    admin_networks: tuple[Network, ...]
    """Where the requests of the admin listener may come from."""
    admin_resource: str | None
    """The resource that tokens for administration are for; None switches it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSSettings:
    """The server's own certificate chain and its key, PEM files."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """How access tokens are made: their algorithm (RFC 7518, RFC 8037, RFC 9964), and the lifetime in seconds."""

    format: TokenFormat
    algorithm: str
    lifetime: int
    status_list_ttl: int | None
    """Seconds that a status list may be relied on; None where tokens name none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPSettings:
    """Whether DPoP proofs need a nonce that this server gave out (RFC 9449 §8)."""

    nonces: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server runs: the number of processes that serve, and which way hot requests take."""

    workers: int
    fast_lane: bool
    """Whether they bypass the framework."""
    http1: Literal["direct", "h11"]
    """Whether they bypass h11 and ASGI too, where they come in plain HTTP/1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration as a whole, cross-checked. Paths are absolute, but anchors are relative to `folder`."""

    path: Path
    folder: Path
    issuer: str
    tls: TLSSettings
    listeners: ListenersSettings
    storage: StorageSettings
    tokens: TokenSettings
    dpop: DPoPSettings
    keys: KeySettings
    trust_domains: tuple[TrustDomainSettings, ...]
    spiffe_domains: tuple[SpiffeDomainSettings, ...]
    resources: tuple[Resource, ...]
    issuers: tuple[TrustedIssuer, ...]
    """Other issuers whose tokens and assertions count here."""
    authorization_details: Mapping[str, Path]
    """The file of the schema of each type."""
    claims_hook: ClaimsHookSettings
    registration: RegistrationSettings | None
    """None where clients cannot register themselves."""
    clients: tuple[Client, ...]
    server: ServerSettings
    timeouts: Timeouts
    events: EventsSettings
    audit: AuditSettings
    tracing: TracingSettings | None
    """None where nothing is traced."""
    limits: LimitSettings
    connections: Limits
    admin_connections: int
    """Connections that are kept for the admin listener."""
    trusts_forwarded_for: bool
    """Whether what a proxy says of its client's address counts for limits."""

    @property
    def signing_algorithms(self) -> tuple[str, ...]:
        """The algorithms that tokens are signed with."""
        own = (resource.algorithm for resource in self.resources if resource.algorithm is not None)
        return tuple(dict.fromkeys([self.tokens.algorithm, *own]))

    def find_client_problems(self, client: Client) -> tuple[tuple[str, str], ...]:
        """What keeps a client, however registered, from working here: pairs of a member and what is wrong with it."""
        known = KnownNames(
            domains=[domain.name for domain in self.trust_domains],
            spiffe_domains=[domain.trust_domain for domain in self.spiffe_domains],
            scopes=[scope for resource in self.resources for scope in resource.scopes],
            resources=[resource.identifier for resource in self.resources],
            issuers=[issuer.issuer for issuer in self.issuers],
            details_types=list(self.authorization_details),
        )
        return tuple(find_client_conflicts(format_client(client), known))


def load_settings(path: Path) -> Settings:
    """Read a configuration file. Raises `ConfigurationError`, which lists every problem with its place.

    Only the file itself is read: whoever uses the certificates, keys and anchors it names must still check those.
    """
    table = _read_toml(path)
    problems = [*find_problems(Document, table), *find_conflicts(table)]
    if problems:
        raise ConfigurationError.of(path, problems)
    return _build(msgspec.convert(table, Document), path.absolute())


def _read_toml(path: Path) -> dict[str, object]:
    data = b""
    try:
        data = path.read_bytes()
        return tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        message = "there is no such file"
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 (at line {_line(data[: error.start])})"
    except tomllib.TOMLDecodeError as error:
        # Every other message of the parser names the line.
        message = "is not TOML: " + str(error).replace("at end of document", f"at the end, line {_line(data)}")
    raise ConfigurationError.of(path, [Problem("", message)])


def _line(before: bytes) -> int:
    return before.count(b"\n") + 1


def _build(document: Document, path: Path) -> Settings:
    folder = path.parent
    tls = document.tls
    return Settings(
        path=path,
        folder=folder,
        issuer=document.issuer,
        tls=TLSSettings(certificate=folder / tls.certificate, private_key=folder / tls.private_key),
        listeners=_listeners(document, folder),
        storage=storage_settings(document.storage, folder),
        tokens=_tokens(document.tokens),
        dpop=DPoPSettings(nonces=document.dpop.nonces),
        keys=key_settings(document, folder),
        trust_domains=tuple(_trust_domain(name, table) for name, table in document.trust.items()),
        spiffe_domains=tuple(_spiffe_domain(name, table, folder) for name, table in document.spiffe.items()),
        resources=tuple(_resource(table) for table in document.resources),
        issuers=tuple(trusted_issuer(table) for table in document.issuers),
        authorization_details={name: folder / table.schema for name, table in document.authorization_details.items()},
        claims_hook=claims_hook(document.claims_hook, folder),
        registration=registration_settings(document.registration),
        clients=tuple(parse_client(members, ClientSource.CONFIGURATION) for members in document.clients),
        server=ServerSettings(
            workers=document.server.workers, fast_lane=document.server.fast_lane, http1=document.server.http1
        ),
        events=events_settings(document.events, folder),
        audit=audit_settings(document.audit),
        tracing=tracing_settings(document.tracing, folder),
        limits=limit_settings(document.limits),
        connections=connection_limits(document.limits),
        admin_connections=document.limits.admin_connections,
        trusts_forwarded_for=document.limits.trust_forwarded_for,
        timeouts=Timeouts(**msgspec.structs.asdict(document.timeouts)),
    )


def _listeners(document: Document, folder: Path) -> ListenersSettings:
    mtls, public = document.listeners.mtls, document.listeners.public
    proxy, admin = document.listeners.proxy, document.listeners.admin
    mtls_url, public_url = listener_urls(document.issuer, document.listeners)
    return ListenersSettings(
        mtls=ListenerSettings(bind=mtls.bind, url=mtls_url),
        public=None if public is None else ListenerSettings(bind=public.bind, url=public_url),
        proxy=None if proxy is None else proxy_listener(proxy, folder),
        admin_bind=None if admin is None else admin.bind,
        admin_networks=() if admin is None else admin_networks(admin),
        admin_resource=None if admin is None else admin.resource,
    )


def _tokens(table: TokensTable) -> TokenSettings:
    return TokenSettings(
        format=TokenFormat(table.format),
        algorithm=table.algorithm,
        lifetime=table.lifetime,
        status_list_ttl=table.status_list_ttl if table.status_list else None,
    )


def _resource(table: ResourceTable) -> Resource:
    return Resource(
        identifier=table.identifier,
        scopes=tuple(table.scopes),
        algorithm=table.algorithm,
        token_format=None if table.token_format is None else TokenFormat(table.token_format),
        introspection_clients=tuple(table.introspection_clients),
        authorization_details_types=tuple(table.authorization_details_types),
        claims=dict(table.claims),
    )


def _trust_domain(name: str, table: TrustTable) -> TrustDomainSettings:
    return TrustDomainSettings(
        name=name,
        anchors=tuple(table.anchors),
        extended_key_usage=table.extended_key_usage,
        minimum_key_strength=table.minimum_key_strength,
        signature_algorithms=tuple(table.signature_algorithms),
        required_issuer=tuple(table.required_issuer),
        required_policy=tuple(table.required_policy),
        revocation=RevocationPolicy(
            lists=tuple(table.crl),
            responder=table.ocsp,
            fails=table.revocation,
            grace=table.revocation_grace,
            revokes_tokens=table.revoke_tokens,
        ),
    )


def _spiffe_domain(name: str, table: SpiffeTable, folder: Path) -> SpiffeDomainSettings:
    endpoint = None
    if table.bundle_endpoint is not None:
        server = table.bundle_endpoint_spiffe_id
        endpoint = BundleEndpoint(
            url=table.bundle_endpoint,
            ca=None if table.bundle_endpoint_ca is None else folder / table.bundle_endpoint_ca,
            server=None if server is None else parse_spiffe_id(server),
        )
    bundle = None if table.bundle is None else folder / table.bundle
    return SpiffeDomainSettings(trust_domain=name, bundle=bundle, endpoint=endpoint)
