"""The claims hooks of a configuration, found and checked."""

import ssl
from importlib.metadata import entry_points
from pathlib import Path

from mtls_as.config import ConfigurationError, Problem
from mtls_as.config.grants import ClaimsEndpointSettings, ClaimsHookSettings
from mtls_as.remote.claims_endpoint import RemoteClaims
from mtls_as.rfc.member_reader import did_you_mean
from mtls_as.server.claims import ENTRY_POINT_GROUP, ClaimsCallable, ClaimsHooks


def claims_hooks(settings: ClaimsHookSettings, *, path: Path) -> ClaimsHooks | None:
    """The hooks, or None if there are none. Raises `ConfigurationError` for the configuration at `path`."""
    if settings.entry_point is None and settings.endpoint is None:
        return None
    endpoint = settings.endpoint
    return ClaimsHooks(
        entry_point=None if settings.entry_point is None else _entry_point(settings.entry_point, path),
        endpoint=None if endpoint is None else _endpoint(endpoint, path),
        fails_open=endpoint is not None and endpoint.fail == "open",
    )


def _entry_point(name: str, path: Path) -> ClaimsCallable:
    found = entry_points(group=ENTRY_POINT_GROUP)
    if name not in found.names:
        message = f'no installed package has an entry point "{name}" in the group {ENTRY_POINT_GROUP}'
        raise _problem(path, "entry_point", message + did_you_mean(name, found.names))
    try:
        hook = found[name].load()
    except Exception as error:
        raise _problem(path, "entry_point", f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(hook):
        raise _problem(path, "entry_point", "is not callable")
    called: ClaimsCallable = hook
    return called


def _endpoint(settings: ClaimsEndpointSettings, path: Path) -> RemoteClaims:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate is not None and settings.private_key is not None:
            # Without a password an encrypted key would be asked for on the terminal.
            context.load_cert_chain(settings.certificate, settings.private_key, password="")
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(map(str, settings.files))
        raise _problem(path, "url", f"one of {files} cannot be used: {error}") from None
    return RemoteClaims(settings.url, ssl_context=context, seconds=settings.timeout)


def _problem(path: Path, key: str, message: str) -> ConfigurationError:
    return ConfigurationError.of(path, [Problem(f"claims_hook.{key}", message)])
