"""Conflicts among the keys that say which form tokens have, and who may introspect them."""

from collections.abc import Iterator, Mapping

from mtls_as.config.problems import Problem
from mtls_as.server.endpoints.admin.routes import AdminScope


def find_admin_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """An administration that nobody could reach: its tokens are for a resource of this file, with one of its scopes."""
    listeners, resources = table.get("listeners"), table.get("resources")
    admin = listeners.get("admin") if isinstance(listeners, Mapping) else None
    name = admin.get("resource") if isinstance(admin, Mapping) else None
    if not isinstance(name, str):
        return
    scopes = [
        resource.get("scopes")
        for resource in (resources if isinstance(resources, list) else ())
        if isinstance(resource, Mapping) and resource.get("identifier") == name
    ]
    if not any(isinstance(known, list) and any(scope in known for scope in AdminScope) for known in scopes):
        message = f"must be the identifier of one of the resources, with a scope such as {AdminScope.RELOAD}"
        yield Problem("listeners.admin.resource", message)


def find_token_conflicts(table: Mapping[str, object]) -> Iterator[Problem]:
    """Opaque tokens that nobody could understand. Works on the file's raw tables."""
    tokens, resources = table.get("tokens"), table.get("resources")
    default = tokens.get("format", "jwt") if isinstance(tokens, Mapping) else "jwt"
    for index, resource in enumerate(resources if isinstance(resources, list) else ()):
        if not isinstance(resource, Mapping):
            continue
        if resource.get("token_format", default) == "opaque" and not resource.get("introspection_clients"):
            message = "is missing: only a client named here could learn what an opaque token means"
            yield Problem(f"resources[{index}].introspection_clients", message)
