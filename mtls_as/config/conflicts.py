"""What only several keys of the configuration together show: repetitions, and names of things that do not exist.

All functions work on the file's raw tables and skip what has the wrong shape, since that is reported elsewhere; so a
file with problems of both kinds shows them all at once.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from mtls_as.config.document import ListenersTable, check_base_url, listener_urls
from mtls_as.config.problems import Problem, find_problems, join
from mtls_as.rfc.member_reader import did_you_mean
from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
from mtls_as.server.clients import ClientSource, parse_client

Entries = Sequence[tuple[int, Mapping[str, object]]]


def find_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """Every conflict of a configuration, and every problem of its clients."""
    resources, clients = _tables(table.get("resources")), _tables(table.get("clients"))
    yield from _find_repeated(resources, "resources", "identifier")
    yield from _find_repeated(clients, "clients", "client_id")
    yield from _find_repeated_scopes(resources)
    yield from _find_listener_conflicts(table)
    trust = table.get("trust")
    domains = list(trust) if isinstance(trust, dict) else []
    scopes = [scope for _, resource in resources for scope in _texts(resource.get("scopes"))]
    for index, members in clients:
        for member, message in _find_client_problems(members, domains=domains, scopes=scopes):
            yield Problem(join(f"clients[{index}]", member) if member else f"clients[{index}]", message)


def find_client_conflicts(
    members: Mapping[str, object], *, domains: Collection[str], scopes: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What a client names and does not exist: pairs of the member and what is wrong with it."""
    trust, scope = members.get("trust"), members.get("scope")
    if isinstance(trust, str) and trust and trust not in domains:
        yield "trust", f'there is no trust domain "{trust}"' + did_you_mean(trust, domains)
    for token in scope.split() if isinstance(scope, str) else ():
        if token not in scopes:
            yield "scope", f'no resource knows the scope "{token}"' + did_you_mean(token, scopes)


def _find_client_problems(
    members: Mapping[str, object], *, domains: Collection[str], scopes: Collection[str]
) -> Iterator[tuple[str, str]]:
    try:
        parse_client(members, ClientSource.CONFIGURATION)
    except ClientMetadataError as error:
        yield from error.problems
    yield from find_client_conflicts(members, domains=domains, scopes=scopes)


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
    public = listeners.public
    if public is None:
        return
    mtls_url, public_url = listener_urls(issuer, listeners)
    if public.bind == listeners.mtls.bind and not public.bind.endswith(":0"):
        yield Problem("listeners.public.bind", "is the same as that of listeners.mtls")
    elif mtls_url == public_url:
        yield Problem("listeners.public.url", "is the same as that of listeners.mtls")


def _tables(value: object) -> Entries:
    entries = value if isinstance(value, list) else []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
