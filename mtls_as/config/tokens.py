"""Conflicts among the keys that say which form tokens have, and who may introspect them."""

from collections.abc import Iterator, Mapping

from mtls_as.config.problems import Problem


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
