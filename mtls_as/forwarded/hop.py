"""The hop from the proxy to this server: what proves that a request was sent by the proxy and by nobody else.

There are three proofs, and no hop without one: the proxy's own certificate in its TLS handshake with us, a loopback
address that is listed, and a unix socket, whose file mode says who may connect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from mtls_as.rfc.certificate_pins import Pins
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate


class HopError(Exception):
    """The request did not come over the hop. The message quotes no input."""


@dataclass(frozen=True, slots=True)
class PinnedHop:
    """Proven by a client certificate: it, or its public key, is pinned. Raises `ValueError` without a pin.

    Nothing else about the certificate counts, its dates included: who has the key is the proxy.
    """

    pins: Pins

    def __post_init__(self) -> None:
        if not self.pins:
            raise ValueError("a hop without a proof")

    def check(self, *, peer: str | None, der_chain: Sequence[bytes]) -> None:  # noqa: ARG002 - as all hops
        """Raise `HopError` unless the certificate of the handshake, which alone proved its key, is pinned."""
        if not der_chain:
            raise HopError("the connection has no certificate, so it is not the proxy's")
        certificate = _certificate(der_chain[0])
        if not (self.pins.name_certificate(certificate) or self.pins.name_key(certificate)):
            raise HopError("the certificate of the connection is not the proxy's")


@dataclass(frozen=True, slots=True)
class ListedHop:
    """Proven by the address that a connection comes from, on loopback alone: others can be forged.

    Raises `ValueError` without an address, or with one that is not of this machine alone.
    """

    addresses: frozenset[IPv4Address | IPv6Address]

    def __post_init__(self) -> None:
        if not self.addresses or not all(address.is_loopback for address in self.addresses):
            raise ValueError("a hop without a proof")

    def check(self, *, peer: str | None, der_chain: Sequence[bytes]) -> None:  # noqa: ARG002 - as all hops
        """Raise `HopError` unless the peer's address is listed."""
        if peer is None or _address(peer) not in self.addresses:
            raise HopError("the connection does not come from the proxy's address")


@dataclass(frozen=True, slots=True)
class SocketHop:
    """Proven by the mode of a unix socket: the kernel lets nobody connect but the proxy."""

    def check(self, *, peer: str | None, der_chain: Sequence[bytes]) -> None:  # noqa: ARG002 - as all hops
        """Raise `HopError` for a connection from an address, which was not made over a unix socket."""
        if peer is not None:
            raise HopError("the connection was not made over the unix socket")


Hop = PinnedHop | ListedHop | SocketHop


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _certificate(der: bytes) -> Certificate:
    try:
        return parse_certificate(der)
    except CertificateError as error:
        raise HopError(f"the certificate of the connection cannot be read: {error}") from None
