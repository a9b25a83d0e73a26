"""What only several keys of the configuration together show: repetitions, and names of things that do not exist.

All functions work on the file's raw tables and skip what has the wrong shape, since that is reported elsewhere; so a
file with problems of both kinds shows them all at once.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from mtls_as.config.admin_listener import find_admin_listener_conflicts
from mtls_as.config.document import ListenersTable, check_base_url, listener_urls
from mtls_as.config.grants import find_grant_conflicts
from mtls_as.config.keys import find_key_conflicts
from mtls_as.config.problems import Problem, find_problems, join
from mtls_as.config.proxy_listener import find_proxy_conflicts
from mtls_as.config.registration import find_registration_conflicts
from mtls_as.config.tokens import find_admin_conflicts, find_token_conflicts
from mtls_as.rfc.member_reader import did_you_mean
from mtls_as.rfc.rfc7591_client_metadata import SECRET_METHODS, ClientMetadataError
from mtls_as.rfc.spiffe_id import SpiffeIDError, parse_spiffe_id, parse_spiffe_id_pattern
from mtls_as.server.clients import CLIENT_MEMBERS, ClientSource, parse_client

Entries = Sequence[tuple[int, Mapping[str, object]]]


def find_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """Every conflict of a configuration, and every problem of its clients."""
    resources, clients = _tables(table.get("resources")), _tables(table.get("clients"))
    yield from _find_repeated(resources, "resources", "identifier")
    yield from _find_repeated(clients, "clients", "client_id")
    yield from _find_repeated_scopes(resources)
    yield from _find_listener_conflicts(table)
    yield from _find_trust_conflicts(table)
    yield from _find_spiffe_conflicts(table)
    yield from find_key_conflicts(table)
    yield from find_token_conflicts(table)
    yield from find_admin_conflicts(table)
    yield from find_grant_conflicts(table)
    yield from find_registration_conflicts(table)
    known = _known_names(table)
    for index, members in clients:
        for member, message in _find_client_problems(members, known):
            yield Problem(_client_place(index, member), message)


def _client_place(index: int, member: str) -> str:
    """The place of a member, or with a dot of what is in it."""
    place, (head, _, inner) = f"clients[{index}]", member.partition(".")
    if inner and head in CLIENT_MEMBERS:
        return join(join(place, head), inner)
    return join(place, member) if member else place


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """What a client can name."""

    domains: Collection[str]
    spiffe_domains: Collection[str]
    scopes: Collection[str]
    resources: Collection[str]
    issuers: Collection[str]
    """The other issuers."""
    details_types: Collection[str]


def find_client_conflicts(members: Mapping[str, object], known: KnownNames) -> Iterator[tuple[str, str]]:
    """What a client names and does not exist: pairs of the member and what is wrong with it."""
    trust, scope, spiffe_id = members.get("trust"), members.get("scope"), members.get("spiffe_id")
    if isinstance(trust, str) and trust and trust not in known.domains:
        yield "trust", f'there is no trust domain "{trust}"' + did_you_mean(trust, known.domains)
    if isinstance(spiffe_id, str):
        yield from _find_spiffe_id_conflicts(spiffe_id, known.spiffe_domains)
    for token in scope.split() if isinstance(scope, str) else ():
        if token not in known.scopes:
            yield "scope", f'no resource knows the scope "{token}"' + did_you_mean(token, known.scopes)
    yield from _find_grant_conflicts(members, known)


def _find_grant_conflicts(members: Mapping[str, object], known: KnownNames) -> Iterator[tuple[str, str]]:
    exchange, jwt_bearer = members.get("exchange"), members.get("jwt_bearer")
    named = (
        ("resources", members.get("resources"), known.resources, "resource"),
        ("exchange.audiences", _member(exchange, "audiences"), known.resources, "resource"),
        ("exchange.issuers", _member(exchange, "issuers"), known.issuers, "issuer"),
        ("jwt_bearer.issuers", _member(jwt_bearer, "issuers"), known.issuers, "issuer"),
        ("authorization_details_types", members.get("authorization_details_types"), known.details_types, "type"),
    )
    for place, names, existing, kind in named:
        for name in _texts(names):
            if name not in existing:
                yield place, f'there is no {kind} "{name}"' + did_you_mean(name, existing)


def _member(table: object, name: str) -> object:
    return table.get(name) if isinstance(table, Mapping) else None


def _find_spiffe_id_conflicts(text: str, domains: Collection[str]) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(SpiffeIDError):
        name = parse_spiffe_id_pattern(text).trust_domain
        if name not in domains:
            yield "spiffe_id", f'there is no SPIFFE trust domain "{name}"' + did_you_mean(name, domains)


def _known_names(table: Mapping[str, object]) -> KnownNames:
    trust, spiffe, details = table.get("trust"), table.get("spiffe"), table.get("authorization_details")
    return KnownNames(
        domains=list(trust) if isinstance(trust, dict) else [],
        spiffe_domains=list(spiffe) if isinstance(spiffe, dict) else [],
        scopes=[scope for _, resource in _tables(table.get("resources")) for scope in _texts(resource.get("scopes"))],
        resources=_texts([resource.get("identifier") for _, resource in _tables(table.get("resources"))]),
        issuers=_texts([issuer.get("issuer") for _, issuer in _tables(table.get("issuers"))]),
        details_types=list(details) if isinstance(details, dict) else [],
    )


def _find_trust_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    domains = table.get("trust")
    for name, domain in domains.items() if isinstance(domains, dict) else ():
        if isinstance(domain, dict) and domain.get("revoke_tokens") is True and not {"crl", "ocsp"} & domain.keys():
            yield Problem(
                f"trust.{name}.revoke_tokens", "needs crl or ocsp: without them no certificate is ever revoked"
            )


def _find_spiffe_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """A SPIFFE trust domain has a bundle from somewhere, and who serves its endpoint can be known."""
    tables = table.get("spiffe")
    domains = tables if isinstance(tables, dict) else {}
    for name, domain in domains.items():
        place = join("spiffe", name)
        for key, message in _find_bundle_conflicts(name, domain, domains) if isinstance(domain, dict) else ():
            yield Problem(join(place, key) if key else place, message)


def _find_bundle_conflicts(
    name: str, domain: Mapping[str, object], domains: Collection[str]
) -> Iterator[tuple[str, str]]:
    server = domain.get("bundle_endpoint_spiffe_id")
    if "bundle" not in domain and "bundle_endpoint" not in domain:
        yield "", "needs bundle, bundle_endpoint or both"
    for key in ("bundle_endpoint_ca", "bundle_endpoint_spiffe_id"):
        if key in domain and "bundle_endpoint" not in domain:
            yield key, "belongs to bundle_endpoint, which is missing"
    if server is not None and "bundle_endpoint_ca" in domain:
        yield "bundle_endpoint_spiffe_id", "the server is known by its SPIFFE ID or by a CA, not by both"
    with contextlib.suppress(SpiffeIDError):
        server_domain = parse_spiffe_id(server).trust_domain if isinstance(server, str) else name
        if server_domain not in domains:
            yield "bundle_endpoint_spiffe_id", f'there is no SPIFFE trust domain "{server_domain}"'
        elif server is not None and server_domain == name and "bundle" not in domain:
            yield "bundle", "is missing: the first bundle must prove who serves the endpoint"


def _find_client_problems(members: Mapping[str, object], known: KnownNames) -> Iterator[tuple[str, str]]:
    try:
        parse_client(members, ClientSource.CONFIGURATION)
    except ClientMetadataError as error:
        yield from error.problems
    method = members.get("token_endpoint_auth_method")
    if method in SECRET_METHODS:
        # A secret in a file that is copied, reviewed and versioned is none for long; and who chose it?
        message = f"{method} is for clients that are not declared here, since the server makes their secrets"
        yield "token_endpoint_auth_method", f"{message}: register this one with mtls-as client add --method {method}"
    yield from find_client_conflicts(members, known)


def _find_repeated(entries: Entries, name: str, key: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in entries:
        value = entry.get(key)
        if isinstance(value, str) and first.setdefault(value, index) != index:
            yield Problem(f"{name}[{index}].{key}", f"is the same as in {name}[{first[value]}]")


def _find_repeated_scopes(resources: Entries) -> Iterator[Problem]:
    for index, resource in resources:
        scopes = _texts(resource.get("scopes"))
        if len(set(scopes)) != len(scopes):
            yield Problem(f"resources[{index}].scopes", "names a scope twice")


def _find_listener_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    issuer, tables = table.get("issuer"), table.get("listeners")
    if not isinstance(issuer, str) or check_base_url(issuer) or any(find_problems(ListenersTable, tables)):
        return
    listeners = msgspec.convert(tables, ListenersTable)
    repeated = list(_find_repeated_binds(listeners))
    yield from repeated
    mtls_url, public_url = listener_urls(issuer, listeners)
    if listeners.public is not None and mtls_url == public_url and not repeated:
        yield Problem("listeners.public.url", "is the same as that of listeners.mtls")
    if listeners.proxy is not None:
        for key, message in find_proxy_conflicts(listeners.proxy):
            yield Problem(join("listeners.proxy", key) if key else "listeners.proxy", message)
    if listeners.admin is not None:
        for key, message in find_admin_listener_conflicts(listeners.admin):
            yield Problem(join("listeners.admin", key), message)


def _find_repeated_binds(listeners: ListenersTable) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name in ListenersTable.__struct_fields__:
        listener = getattr(listeners, name)
        if listener is None or listener.bind.endswith(":0"):
            continue
        if first.setdefault(listener.bind, name) != name:
            yield Problem(f"listeners.{name}.bind", f"is the same as that of listeners.{first[listener.bind]}")


def _tables(value: object) -> Entries:
    entries = value if isinstance(value, list) else []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
