"""RFC 4291, IPv6 addresses, and those of IPv4: what of a peer's address tells one peer from another.

Whoever has one IPv6 address has 2⁶⁴ of them (§2.5.1): what they have in common is the network of 64 bits.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PREFIX_BITS: Final = 64
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052 §2.1: in one network of 64 bits it holds all of IPv4, as NAT64 shows it."""
_IPV4_BITS: Final = 0xFFFF_FFFF


def peer_key(address: str, *, exempt: Iterable[Network] = ()) -> str:
    """An IPv4 address as it is, an IPv6 address as its network; empty for one of `exempt`, and for none at all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped  # a socket of both families says ::ffff:192.0.2.1
    if any(parsed in network for network in exempt):
        return ""
    if parsed in _TRANSLATED:
        return str(ipaddress.IPv4Address(int(parsed) & _IPV4_BITS))
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, _PREFIX_BITS), strict=False))
    return str(parsed)
