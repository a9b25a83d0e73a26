"""The connections of a worker, and how many of them there may be: in all, of each address, and in a handshake."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mtls_as.rfc.rfc4291_addresses import Network, peer_key
from mtls_as.tls.handshake import TOO_MANY_CONNECTIONS, TOO_MANY_HANDSHAKES, TOO_MANY_OF_ADDRESS
from mtls_as.tls.listeners import Listener

if TYPE_CHECKING:
    from mtls_as.tls.connection import TLSConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one worker takes on. What comes on top is closed at once."""

    connections: int = 20_000
    """Of all listeners but those that have connections reserved for them."""
    handshakes: int = 4_000
    """At a time, likewise."""
    connections_of_address: int = 20_000
    """Of one IPv4 address, or of one IPv6 network of 64 bits."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What a connection counts as."""

    reserved_for: str | None
    address: str


_REFUSED: Final = _Place(None, "")

# Who connects once connects again, and parsing an address takes longer than anything else here.
_peer_key: Final = lru_cache(maxsize=1024)(peer_key)


@dataclass(slots=True, kw_only=True)
class Population:
    """The connections of a worker."""

    limits: Limits = field(default_factory=Limits)
    exempt: tuple[Network, ...] = ()
    """Addresses that stand for many: their connections are not counted by address."""
    connections: dict["TLSConnection", _Place] = field(default_factory=dict)
    handshakes: int = 0
    floods: int = 0
    """HTTP/2 connections that were ended for their useless frames."""
    _shared: int = 0
    _reserved: Counter[str] = field(default_factory=Counter)
    _addresses: Counter[str] = field(default_factory=Counter)
    _empty: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, connection: "TLSConnection", listener: Listener, peer: str | None) -> str | None:
        """Count a new connection from an address, None for a unix socket; the reason if it is one too many.

        In both cases it is there until it leaves, since closing takes a moment.
        """
        address = "" if peer is None else _peer_key(peer, exempt=self.exempt)
        refusal = self._refusal(listener, address)
        if refusal is not None:
            self.connections[connection] = _REFUSED
            return refusal
        self.connections[connection] = _Place(listener.name if listener.reserved else None, address)
        self._count(self.connections[connection], 1)
        return None

    def leave(self, connection: "TLSConnection") -> None:
        """A connection is over, and its tasks too."""
        place = self.connections.pop(connection, _REFUSED)
        if place is not _REFUSED:
            self._count(place, -1)
        if not self.connections:
            self._empty.set()

    async def emptied(self, seconds: float) -> bool:
        """Wait until no connection is left, at most so many seconds; whether that came true."""
        self._empty.clear()
        with contextlib.suppress(TimeoutError):
            if self.connections:
                await asyncio.wait_for(self._empty.wait(), seconds)
        return not self.connections

    def note_flood(self) -> None:
        """Count a connection that was ended for its useless frames."""
        self.floods += 1

    def _refusal(self, listener: Listener, address: str) -> str | None:
        if listener.reserved:
            return TOO_MANY_CONNECTIONS if self._reserved[listener.name] >= listener.reserved else None
        if self._shared >= self.limits.connections:
            return TOO_MANY_CONNECTIONS
        if self.handshakes >= self.limits.handshakes:
            return TOO_MANY_HANDSHAKES
        if address and self._addresses[address] >= self.limits.connections_of_address:
            return TOO_MANY_OF_ADDRESS
        return None

    def _count(self, place: _Place, change: int) -> None:
        if place.reserved_for is not None:
            self._reserved[place.reserved_for] += change
            return
        self._shared += change
        if place.address:
            self._addresses[place.address] += change
            if not self._addresses[place.address]:
                del self._addresses[place.address]
