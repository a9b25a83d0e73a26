"""Where the server listens, and what answers there."""

import errno
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mtls_as.tls.credentials import TLSConfigurationError
from mtls_as.tls.direct_answers import DirectAnswers
from mtls_as.tls.unix_sockets import PREFIX, bind_unix_socket, is_private

ASGIReceive = Callable[[], Awaitable[Any]]
ASGISend = Callable[[Any], Awaitable[None]]
ASGIApplication = Callable[[Any, ASGIReceive, ASGISend], Awaitable[None]]
"""An ASGI 3.0 application."""

BACKLOG: Final = 1024
"""Connections that the kernel completes before they are accepted."""
MAX_HEAD_BYTES: Final = 16 * 1024
"""Of a request, unless a listener takes more."""
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address and the application behind it.

    `bind` is `host:port` with a numeric or resolvable host, IPv6 in brackets. With `request_certificate` clients are
    asked for a certificate in the handshake, and any or none is accepted; without, they are never asked.

    Without `tls` the listener speaks plain HTTP, to this machine alone: `bind` is then a loopback address, or `unix:`
    and a path. Such a socket is open to its owner (mode 0600), and with `socket_group` to that group (0660).
    """

    name: str
    bind: str
    app: ASGIApplication
    request_certificate: bool
    tls: bool = True
    socket_group: str | None = None
    reserved: int = 0
    """Connections that are kept for this listener, which has no others; 0 has it share with all that have none."""
    max_head_bytes: int = MAX_HEAD_BYTES
    """Of a request: its first line and headers."""
    direct: DirectAnswers | None = None
    """What answers some requests of `app` directly; with None every request goes through ASGI."""


def bind_listeners(
    listeners: Sequence[Listener], *, inherited: Mapping[str, socket.socket] = MappingProxyType({})
) -> list[socket.socket]:
    """One listening socket for each listener, in their order; all of them, or none.

    That which was `inherited` under the listener's name, or else one bound here. Clients may connect from now on, and
    wait until they are served.

    Raises `TLSConfigurationError` naming the address: malformed, busy, privileged, not of this machine, or without TLS
    and not of this machine alone; or an inherited socket of which no listener has the name.
    """
    sockets: list[socket.socket] = []
    try:
        _refuse_unknown(inherited, listeners)
        for listener in listeners:
            known = inherited.get(listener.name)
            sockets.append(_bind(listener) if known is None else _checked(listener, known))
    except BaseException:
        for bound in (*sockets, *inherited.values()):
            bound.close()
        raise
    return sockets


def format_address(bound: socket.socket) -> str:
    """`host:port` of a bound socket, IPv6 in brackets, or `unix:` and its path."""
    if bound.family is socket.AF_UNIX:
        return f"{PREFIX}{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family is socket.AF_INET6 else f"{host}:{port}"


def _bind(listener: Listener) -> socket.socket:
    place = f"listener {listener.name}: {listener.bind!r}"
    if listener.bind.startswith(PREFIX) and not listener.tls:
        path = Path(listener.bind.removeprefix(PREFIX))
        return bind_unix_socket(place, path, group=listener.socket_group, backlog=BACKLOG)
    _check_form(place, listener.bind)
    host, _, port = listener.bind.rpartition(":")
    host = host.strip("[]")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by its connections
        bound.bind((host, int(port)))
        if not listener.tls:
            _check_loopback(bound)
        bound.listen(BACKLOG)  # since two programs may bind one address, and only listening tells
    except OSError as error:
        bound.close()
        raise TLSConfigurationError(f"{place} {_reason(error)}") from None
    bound.settimeout(0)
    return bound


def _refuse_unknown(inherited: Mapping[str, socket.socket], listeners: Sequence[Listener]) -> None:
    """A socket that nobody serves would take connections that nobody answers."""
    names = [listener.name for listener in listeners]
    for name in inherited.keys() - set(names):
        raise TLSConfigurationError(f"there is no listener {name!r} for the inherited socket; there are {names}")


def _checked(listener: Listener, inherited: socket.socket) -> socket.socket:
    """The same holds for an inherited socket as for one bound here, whoever made it."""
    place = f"listener {listener.name}: the inherited socket"
    if inherited.family is socket.AF_UNIX:
        if listener.tls:
            raise TLSConfigurationError(f"{place} is a unix socket, and this listener is for TLS over TCP")
        if not is_private(Path(inherited.getsockname())):
            raise TLSConfigurationError(f"{place} is open to every user of this machine: set SocketMode=0660")
        return inherited
    if inherited.family not in {socket.AF_INET, socket.AF_INET6}:
        raise TLSConfigurationError(f"{place} is of an unknown family")
    inherited.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by its connections
    if not listener.tls:
        try:
            _check_loopback(inherited)
        except OSError as error:
            raise TLSConfigurationError(f"{place} {_reason(error)}") from None
    return inherited


def _check_loopback(bound: socket.socket) -> None:
    if not ip_address(bound.getsockname()[0]).is_loopback:
        raise OSError(errno.EPERM, "without TLS only loopback addresses and unix sockets are")


def _check_form(place: str, bind: str) -> None:
    host, separator, port = bind.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not host or (":" in host and not bracketed):
        raise TLSConfigurationError(f"{place} is not of the form host:port or [IPv6 address]:port")
    if not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise TLSConfigurationError(f"{place} has no port between 0 and {_MAX_PORT}")


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "names a host that cannot be resolved"
    match error.errno:
        case errno.EADDRINUSE:
            return "is in use by another program"
        case errno.EACCES:
            return "needs a privilege that this process does not have: ports below 1024 are reserved"
        case errno.EADDRNOTAVAIL:
            return "is not an address of this machine"
    return f"cannot be bound: {error.strerror}"
