"""The shape of `config.toml`: its tables, keys and defaults, and the checks that concern one text alone."""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from mtls_as.config.grant_tables import (
    AuthorizationDetailsTable,
    ClaimsHookTable,
    IssuerTable,
    check_details_type,
)
from mtls_as.config.limits import LimitsTable
from mtls_as.config.observability import AuditTable, EventsTable, TracingTable
from mtls_as.config.registration import RegistrationTable
from mtls_as.config.storage import StorageTable
from mtls_as.forwarded import PRESETS
from mtls_as.rfc.certificate_pins import PIN_PREFIX, PinError, Pins
from mtls_as.rfc.member_reader import did_you_mean
from mtls_as.rfc.rfc3986_uri import is_http_url, is_https_url
from mtls_as.rfc.rfc5280_policies import ANY_POLICY
from mtls_as.rfc.rfc5280_signature import SIGNATURE_ALGORITHMS
from mtls_as.rfc.rfc6749_framework import parse_scope
from mtls_as.rfc.rfc8707_resource import ResourceError, parse_resource
from mtls_as.rfc.spiffe_id import SpiffeIDError, parse_spiffe_id, trust_domain_problem
from mtls_as.rfc.x690_der import is_object_identifier
from mtls_as.server.clients import is_client_id

UNIX_PREFIX = "unix:"


def check_not_empty(text: str) -> str | None:
    """A path or name."""
    return None if text and text.isprintable() else "must be a text that is not empty"


def check_base_url(text: str) -> str | None:
    """An issuer (RFC 8414 §2), or the URL of a listener: endpoints are appended to it."""
    if not is_https_url(text):
        return "must be an https URL with a host, without user and fragment"
    if "?" in text:
        return "must not have a query"
    if text.endswith("/"):
        return "must not end with a slash: the same URL with and without one are two different issuers"
    return None


def check_bind(text: str) -> str | None:
    """An address to listen on."""
    match = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+):([0-9]{1,5})", text)
    if match is None or int(match[1]) > 65_535:
        return "must be an address and a port, such as 127.0.0.1:8443 or [::1]:8443"
    return None


def check_network(text: str) -> str | None:
    """Addresses that requests may come from."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return "must be an address, or a network such as 10.0.0.0/8, without bits beyond its prefix"
    return None


def check_proxy_bind(text: str) -> str | None:
    """An address to listen on, or a unix socket."""
    if not text.startswith(UNIX_PREFIX):
        return check_bind(text)
    path = text.removeprefix(UNIX_PREFIX)
    return None if path and path.isprintable() else "must be unix: and a path"


def check_preset(text: str) -> str | None:
    """How a proxy forwards certificates."""
    return None if text in PRESETS else f"must be one of {', '.join(PRESETS)}" + did_you_mean(text, PRESETS)


def check_header(text: str) -> str | None:
    """The name of a header (RFC 9110 §5.6.2)."""
    return None if re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text) else "must be the name of a header"


def check_proxy_address(text: str) -> str | None:
    """The address that a proxy connects from."""
    try:
        is_loopback = ipaddress.ip_address(text).is_loopback
    except ValueError:
        is_loopback = False
    if is_loopback:
        return None
    return "must be a loopback address such as 127.0.0.1; from elsewhere the proxy proves itself by proxy_certificates"


def check_domain_name(text: str) -> str | None:
    """The name of a trust domain; it goes into logs and metrics."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}", text):
        return None
    return "a trust domain's name has 1 to 64 letters, digits, dots, hyphens and underscores"


def check_anchor(text: str) -> str | None:
    """A trust anchor: a PEM file, a glob of such files, or a pin."""
    return check_pin(text) if text.startswith(PIN_PREFIX) else check_not_empty(text)


def check_pin(text: str) -> str | None:
    """A pin of a certificate or of a public key."""
    try:
        Pins.of([text])
    except PinError as error:
        return str(error)
    return None


def check_signature_algorithm(text: str) -> str | None:
    """What may sign a certificate."""
    if text in SIGNATURE_ALGORITHMS:
        return None
    return "must be one of " + ", ".join(SIGNATURE_ALGORITHMS) + did_you_mean(text, SIGNATURE_ALGORITHMS)


def check_policy(text: str) -> str | None:
    """A certificate policy (RFC 5280 §4.2.1.4)."""
    if text == ANY_POLICY:
        return "is anyPolicy, which requires nothing"
    return None if is_object_identifier(text) else "must be an object identifier in digits, such as 1.3.6.1.4.1.99999.1"


def check_crl(text: str) -> str | None:
    """A revocation list: a file, a glob of such files, or a URL."""
    return check_signed_url(text) if "://" in text else check_not_empty(text)


def check_signed_url(text: str) -> str | None:
    """Where something is fetched that carries its own signature."""
    return None if is_http_url(text) else "must be an http or https URL with a host, without user and fragment"


def check_https_url(text: str) -> str | None:
    """A document that is fetched."""
    return None if is_https_url(text) else "must be an https URL with a host, without user and fragment"


def check_trust_domain(text: str) -> str | None:
    """The name of a SPIFFE trust domain (SPIFFE-ID §2.1)."""
    return trust_domain_problem(text)


def check_workload(text: str) -> str | None:
    """The SPIFFE ID of a workload."""
    try:
        return None if parse_spiffe_id(text).path else "has no path, so it names no workload"
    except SpiffeIDError as error:
        return str(error)


def check_resource(text: str) -> str | None:
    """A resource identifier (RFC 8707 §2)."""
    try:
        parse_resource(text)
    except ResourceError as error:
        return str(error)
    return None


def check_key_label(text: str) -> str | None:
    """The beginning of a key's name in an HSM."""
    return None if re.fullmatch(r"[A-Za-z0-9._\-]{1,64}", text) else "has 1 to 64 letters, digits, dots, - and _"


def check_scope_token(text: str) -> str | None:
    """One scope (RFC 6749 §3.3)."""
    try:
        alone = parse_scope(text) == (text,)
    except ValueError:
        alone = False
    return None if alone else 'must be one scope: printable ASCII without spaces, " and \\'


FilePath = Annotated[str, check_not_empty]


def check_client_id(text: str) -> str | None:
    """The name of a client, wherever it is registered."""
    return None if is_client_id(text) else "must be a client_id: 1 to 256 printable ASCII characters without spaces"


BaseURL = Annotated[str, check_base_url]
Bind = Annotated[str, check_bind]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
TokenFormat = Literal["jwt", "opaque"]
Algorithm = Literal["ES256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class TLSTable(_Table, frozen=True):
    certificate: FilePath
    private_key: FilePath


class ListenerTable(_Table, frozen=True):
    bind: Bind
    url: BaseURL | None = None


class AdminListenerTable(_Table, frozen=True):
    bind: Annotated[str, check_bind]
    networks: Annotated[list[Annotated[str, check_network]], Meta(min_length=1)] | None = None
    resource: Annotated[str, check_not_empty] | None = None


class ProxyListenerTable(_Table, frozen=True):
    bind: Annotated[str, check_proxy_bind]
    socket_group: Annotated[str, check_not_empty] | None = None
    proxy_certificates: Annotated[list[Annotated[str, check_pin]], Meta(min_length=1)] | None = None
    proxy_addresses: Annotated[list[Annotated[str, check_proxy_address]], Meta(min_length=1)] | None = None
    preset: Annotated[str, check_preset] = "rfc9440"
    header: Annotated[str, check_header] | None = None
    chain_header: Annotated[str, check_header] | None = None


class ListenersTable(_Table, frozen=True):
    mtls: ListenerTable
    public: ListenerTable | None = None
    proxy: ProxyListenerTable | None = None
    admin: AdminListenerTable | None = None


class TokensTable(_Table, frozen=True):
    format: TokenFormat = "jwt"
    algorithm: Algorithm = "ES256"
    lifetime: Annotated[int, Meta(ge=10, le=86_400)] = 300
    status_list: bool = False
    status_list_ttl: Annotated[int, Meta(ge=10, le=3_600)] = 60


class DPoPTable(_Table, frozen=True):
    nonces: bool = False


class Pkcs11Table(_Table, frozen=True):
    module: FilePath
    token: Annotated[str, check_not_empty]
    pin_file: FilePath | None = None
    label: Annotated[str, check_key_label] = "mtls-as"


class KeysTable(_Table, frozen=True):
    rotate_every: int | str = 0
    algorithms: list[Algorithm] = field(default_factory=list)
    pkcs11: Pkcs11Table | None = None


class TrustTable(_Table, frozen=True):
    anchors: Annotated[list[Annotated[str, check_anchor]], Meta(min_length=1)]
    extended_key_usage: Literal["clientAuth", "any"] = "clientAuth"
    minimum_key_strength: Annotated[int, Meta(ge=112, le=256)] = 112
    signature_algorithms: list[Annotated[str, check_signature_algorithm]] = field(default_factory=list)
    required_issuer: list[Annotated[str, check_pin]] = field(default_factory=list)
    required_policy: list[Annotated[str, check_policy]] = field(default_factory=list)
    crl: list[Annotated[str, check_crl]] = field(default_factory=list)
    ocsp: Annotated[str, check_signed_url] | None = None
    revocation: Literal["closed", "open"] = "closed"
    revocation_grace: Annotated[float, Meta(ge=0, le=2_592_000)] = 0
    revoke_tokens: bool = False


class SpiffeTable(_Table, frozen=True):
    bundle: FilePath | None = None
    bundle_endpoint: Annotated[str, check_https_url] | None = None
    bundle_endpoint_ca: FilePath | None = None
    bundle_endpoint_spiffe_id: Annotated[str, check_workload] | None = None


class ResourceTable(_Table, frozen=True):
    identifier: Annotated[str, check_resource]
    scopes: Annotated[list[Annotated[str, check_scope_token]], Meta(min_length=1)]
    algorithm: Algorithm | None = None
    token_format: TokenFormat | None = None
    introspection_clients: list[Annotated[str, check_client_id]] = field(default_factory=list)
    authorization_details_types: list[Annotated[str, check_details_type]] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)


class ServerTable(_Table, frozen=True):
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    fast_lane: bool = True
    http1: Literal["direct", "h11"] = "direct"


class TimeoutsTable(_Table, frozen=True):
    handshake: Seconds = 10.0
    request_head: Seconds = 10.0
    idle: Seconds = 60.0
    shutdown: Seconds = 10.0
    drain: Annotated[float, Meta(ge=0, le=300)] = 0.0


class Document(_Table, frozen=True):
    """The whole file. Clients stay as they are: `mtls_as.server.clients` reads them."""

    issuer: BaseURL
    tls: TLSTable
    listeners: ListenersTable
    resources: Annotated[list[ResourceTable], Meta(min_length=1)]
    storage: StorageTable = field(default_factory=StorageTable)
    tokens: TokensTable = field(default_factory=TokensTable)
    dpop: DPoPTable = field(default_factory=DPoPTable)
    keys: KeysTable = field(default_factory=KeysTable)
    trust: dict[Annotated[str, check_domain_name], TrustTable] = field(default_factory=dict)
    spiffe: dict[Annotated[str, check_trust_domain], SpiffeTable] = field(default_factory=dict)
    issuers: list[IssuerTable] = field(default_factory=list)
    authorization_details: dict[Annotated[str, check_details_type], AuthorizationDetailsTable] = field(
        default_factory=dict
    )
    claims_hook: ClaimsHookTable | None = None
    registration: RegistrationTable | None = None
    clients: list[dict[str, Any]] = field(default_factory=list)
    server: ServerTable = field(default_factory=ServerTable)
    timeouts: TimeoutsTable = field(default_factory=TimeoutsTable)
    events: EventsTable = field(default_factory=EventsTable)
    audit: AuditTable = field(default_factory=AuditTable)
    tracing: TracingTable | None = None
    limits: LimitsTable = field(default_factory=LimitsTable)


def listener_urls(issuer: str, listeners: ListenersTable) -> tuple[str, str]:
    """The URLs of the mTLS and the public listener; without a public one, the first twice.

    They default to the issuer, and to the issuer's host with the port of the public listener's bind.
    """
    mtls_url = listeners.mtls.url or issuer
    public = listeners.public
    if public is None:
        return mtls_url, mtls_url
    host = urlsplit(issuer).hostname or ""
    written = f"[{host}]" if ":" in host else host
    return mtls_url, public.url or f"https://{written}:{public.bind.rpartition(':')[2]}"
