"""`[listeners.proxy]`: what its keys mean together, and the proxy that they describe."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtls_as.config.document import UNIX_PREFIX, ProxyListenerTable
from mtls_as.forwarded import Hop, ListedHop, PinnedHop, SocketHop, TrustedProxy
from mtls_as.rfc.certificate_pins import Pins

_NO_PROOF: Final = (
    "nothing proves that requests come from the proxy: pin its certificate in proxy_certificates, or bind a unix "
    "socket, or on a loopback address name that of the proxy in proxy_addresses"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyListenerSettings:
    """Where a proxy connects to (`host:port`, or `unix:` and an absolute path), and the proxy."""

    bind: str
    tls: bool
    """Whether it connects by TLS, with a certificate of its own; else it is on this machine."""
    socket_group: str | None
    """The group that may connect to the unix socket beside its owner."""
    proxy: TrustedProxy


def find_proxy_conflicts(table: ProxyListenerTable) -> Iterator[tuple[str, str]]:
    """Pairs of a key, empty for the table as a whole, and what is wrong with it: above all, a hop without a proof."""
    if table.bind.startswith(UNIX_PREFIX):
        for key in ("proxy_certificates", "proxy_addresses"):
            if getattr(table, key) is not None:
                yield key, "is for an address to bind to: a unix socket is open to the proxy alone by its file mode"
    else:
        yield from _find_address_conflicts(table)
    try:
        TrustedProxy(hop=SocketHop(), preset=table.preset, header=table.header, chain_header=table.chain_header)
    except ValueError as error:
        yield "chain_header", str(error)


def _find_address_conflicts(table: ProxyListenerTable) -> Iterator[tuple[str, str]]:
    if table.socket_group is not None:
        yield "socket_group", "is for a unix socket"
    if table.proxy_certificates is None and table.proxy_addresses is None:
        yield "", _NO_PROOF
    elif table.proxy_certificates is not None and table.proxy_addresses is not None:
        yield "proxy_addresses", "is for a proxy without proxy_certificates: one of them is the proof"
    elif table.proxy_addresses is not None and not _is_loopback(table.bind):
        yield "bind", "must be a loopback address or a unix socket, unless proxy_certificates has the proxy use TLS"


def proxy_listener(table: ProxyListenerTable, folder: Path) -> ProxyListenerSettings:
    """The settings of a table without conflicts; a relative path is relative to `folder`."""
    bind = table.bind
    if bind.startswith(UNIX_PREFIX):
        bind = f"{UNIX_PREFIX}{folder / bind.removeprefix(UNIX_PREFIX)}"
    proxy = TrustedProxy(hop=_hop(table), preset=table.preset, header=table.header, chain_header=table.chain_header)
    return ProxyListenerSettings(
        bind=bind, tls=table.proxy_certificates is not None, socket_group=table.socket_group, proxy=proxy
    )


def _hop(table: ProxyListenerTable) -> Hop:
    if table.proxy_certificates is not None:
        return PinnedHop(Pins.of(table.proxy_certificates))
    if table.proxy_addresses is not None:
        return ListedHop(frozenset(map(ipaddress.ip_address, table.proxy_addresses)))
    return SocketHop()


def _is_loopback(bind: str) -> bool:
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
