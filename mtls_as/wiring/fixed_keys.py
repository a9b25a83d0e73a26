"""The keys of the configuration that a process takes once: a reload that changes one of them is refused."""

import dataclasses
from collections.abc import Mapping
from typing import Final

from mtls_as.config import ConfigurationError, Problem, Settings

_NEEDS_RESTART: Final = "cannot change while the server runs: restart it"


def fixed_keys(settings: Settings) -> dict[str, str]:
    """The value of each such key, by its place in the file."""
    listeners, storage = settings.listeners, settings.storage
    proxy, public = listeners.proxy, listeners.public
    timeouts = dataclasses.asdict(settings.timeouts)
    values: dict[str, object] = {
        "issuer": settings.issuer,
        "listeners.mtls.bind": listeners.mtls.bind,
        "listeners.public.bind": public and public.bind,
        "listeners.proxy.bind": proxy and proxy.bind,
        "listeners.proxy.socket_group": proxy and proxy.socket_group,
        "listeners.proxy.proxy_certificates": proxy is not None and proxy.tls,
        "listeners.admin.bind": listeners.admin_bind,
        "listeners.admin.resource": listeners.admin_resource,
        "storage.url": storage.url,
        "storage.encryption_key_file": storage.encryption_key_file,
        **{f"storage.{name}": value for name, value in dataclasses.asdict(storage.database).items()},
        "keys.pkcs11": settings.keys.pkcs11,
        "server.workers": settings.server.workers,
        "limits.connections": settings.connections.connections,
        "limits.connections_per_address": settings.connections.connections_of_address,
        "limits.handshakes": settings.connections.handshakes,
        "limits.admin_connections": settings.admin_connections,
        "events": settings.events,
        "audit": settings.audit,
        "tracing": settings.tracing,
        **{f"timeouts.{name}": seconds for name, seconds in timeouts.items()},
    }
    return {key: str(value) for key, value in values.items()}


def refuse_changes(settings: Settings, fixed: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` that names every fixed key with another value than it had at the start."""
    values = fixed_keys(settings)
    problems = [Problem(key, _NEEDS_RESTART) for key, value in fixed.items() if values[key] != value]
    if problems:
        raise ConfigurationError.of(settings.path, problems)
