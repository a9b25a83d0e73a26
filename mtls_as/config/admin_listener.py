"""The admin listener: who reaches it."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from mtls_as.config.document import AdminListenerTable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


def admin_networks(table: AdminListenerTable) -> tuple[Network, ...]:
    """Where its requests may come from: this machine alone, unless the file says otherwise."""
    return tuple(ipaddress.ip_network(text) for text in table.networks or _LOOPBACK)


def find_admin_listener_conflicts(table: AdminListenerTable) -> Iterator[tuple[str, str]]:
    """An address that the network reaches, and nobody has said who of it may ask: pairs of a key and what is wrong."""
    if table.networks is None and not _is_loopback(table.bind):
        message = (
            "must be a loopback address, such as 127.0.0.1:9443: health and metrics ask nobody who they are; "
            "for other machines, name theirs in listeners.admin.networks"
        )
        yield "bind", message


def _is_loopback(bind: str) -> bool:
    try:
        return ipaddress.ip_address(bind.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False
