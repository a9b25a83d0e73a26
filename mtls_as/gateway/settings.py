"""`gateway.toml` as settings: read strictly, every problem with its place, and with every path resolved."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mtls_as.config.document import ProxyListenerTable
from mtls_as.config.observability import EventsSettings, events_settings
from mtls_as.config.problems import ConfigurationError, Problem, find_problems, join
from mtls_as.config.proxy_listener import ProxyListenerSettings, find_proxy_conflicts, proxy_listener
from mtls_as.gateway.document import (
    GatewayDocument,
    HeadersTable,
    IntrospectionTable,
    IssuerTable,
    ListenerTable,
    ResourceTable,
    TokensTable,
)
from mtls_as.gateway.questions import ProxyName
from mtls_as.gateway.routes import Route
from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadataError, metadata_url
from mtls_as.tls import Timeouts

_PRESETS: Final[dict[ProxyName, str]] = {"nginx": "nginx", "haproxy": "haproxy", "traefik": "traefik", "envoy": "envoy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The configuration as a whole. The paths in tables that are kept as they are, are relative to `folder`."""

    path: Path
    folder: Path
    proxy: ProxyName
    listener: ProxyListenerSettings
    hop: ListenerTable
    """What proves the proxy, as the verifier wants to be told; its preset is resolved."""
    certificate: Path | None
    """What the listener proves itself with, PEM; None without TLS."""
    private_key: Path | None
    issuer: IssuerTable
    tokens: TokensTable
    introspection: IntrospectionTable | None
    headers: HeadersTable
    resources: tuple[ResourceTable, ...]
    routes: tuple[Route, ...]
    workers: int
    timeouts: Timeouts
    events: EventsSettings


def load_gateway_settings(path: Path) -> GatewaySettings:
    """Read a configuration file. Raises `ConfigurationError`, which lists every problem with its place.

    Only the file itself is read: whoever uses the certificates and keys it names must still check those.
    """
    table = _read_toml(path)
    problems = list(find_problems(GatewayDocument, table))
    if problems:
        raise ConfigurationError.of(path, problems)
    document = msgspec.convert(table, GatewayDocument)
    problems = list(_find_conflicts(document))
    if problems:
        raise ConfigurationError.of(path, problems)
    return _build(document, path.absolute())


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = "there is no such file"
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        message = "is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        message = f"is not TOML: {error}"
    raise ConfigurationError.of(path, [Problem("", message)])


def _find_conflicts(document: GatewayDocument) -> Iterator[Problem]:
    """What only several keys together show."""
    yield from _find_listener_conflicts(document)
    yield from _find_issuer_conflicts(document)
    yield from _find_resource_conflicts(document)
    yield from _find_route_conflicts(document)


def _find_listener_conflicts(document: GatewayDocument) -> Iterator[Problem]:
    for key, message in find_proxy_conflicts(_proxy_table(document)):
        yield Problem(join("listener", key) if key else "listener", message)
    has_tls = document.listener.proxy_certificates is not None
    if has_tls and document.tls is None:
        yield Problem("tls", "is missing: the listener needs a certificate, since its proxy_certificates mean TLS")
    if not has_tls and document.tls is not None:
        yield Problem("tls", "is for a listener with proxy_certificates; without those it speaks no TLS")


def _find_issuer_conflicts(document: GatewayDocument) -> Iterator[Problem]:
    if document.issuer.jwks is not None and document.issuer.jwks_uri is not None:
        yield Problem("issuer.jwks_uri", "is for an issuer without jwks: its keys come from one place")


def _find_resource_conflicts(document: GatewayDocument) -> Iterator[Problem]:
    seen = set[str]()
    for index, resource in enumerate(document.resources):
        place = f"resources[{index}]"
        if resource.audience in seen:
            yield Problem(join(place, "audience"), "is that of another resource, too")
        seen.add(resource.audience)
        if resource.metadata:
            try:
                metadata_url(resource.audience)
            except ResourceMetadataError as error:
                yield Problem(join(place, "metadata"), str(error))
        if resource.dpop_url is not None and document.server.workers > 1:
            yield Problem("server.workers", "must be 1 with dpop_url: a process does not know which proofs others saw")


def _find_route_conflicts(document: GatewayDocument) -> Iterator[Problem]:
    audiences = [resource.audience for resource in document.resources]
    seen = set[tuple[str, str]]()
    for index, route in enumerate(document.routes):
        place = f"routes[{index}]"
        if route.audience is None and len(audiences) > 1:
            yield Problem(join(place, "audience"), "is missing: there are several resources")
        elif route.audience is not None and route.audience not in audiences:
            yield Problem(join(place, "audience"), "is that of no resource")
        for method in route.methods or ("",):
            if (route.path, method) in seen:
                named = f" for {method}" if method else ""
                yield Problem(join(place, "path"), f"is that of another route{named}, too")
            seen.add((route.path, method))


def _proxy_table(document: GatewayDocument) -> ProxyListenerTable:
    listener = document.listener
    return ProxyListenerTable(
        bind=listener.bind,
        socket_group=listener.socket_group,
        proxy_certificates=listener.proxy_certificates,
        proxy_addresses=listener.proxy_addresses,
        preset=listener.preset or _PRESETS[document.proxy],
        header=listener.header,
    )


def _build(document: GatewayDocument, path: Path) -> GatewaySettings:
    folder = path.parent
    table, tls = _proxy_table(document), document.tls
    return GatewaySettings(
        path=path,
        folder=folder,
        proxy=document.proxy,
        listener=proxy_listener(table, folder),
        hop=msgspec.structs.replace(document.listener, preset=table.preset),
        certificate=None if tls is None else folder / tls.certificate,
        private_key=None if tls is None else folder / tls.private_key,
        issuer=document.issuer,
        tokens=document.tokens,
        introspection=document.introspection,
        headers=document.headers,
        resources=tuple(document.resources),
        routes=tuple(
            Route(
                path=route.path,
                methods=frozenset(route.methods),
                audience=route.audience or document.resources[0].audience,
                scopes=tuple(route.scopes),
            )
            for route in document.routes
        ),
        workers=document.server.workers,
        timeouts=Timeouts(**msgspec.structs.asdict(document.timeouts)),
        events=events_settings(document.events, folder),
    )
