"""A connection without TLS, in the shape of `RecordLayer`: for programs on this machine."""

from dataclasses import dataclass
from typing import Any, Final

_PIECE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainExtension:
    """What an application learns about a connection without TLS: the listener, and that there is no certificate."""

    listener: str

    def scope_extensions(self) -> dict[str, dict[str, Any]]:
        """Fresh members for `scope["extensions"]`; that of the ASGI TLS extension is absent, as it wants."""
        return {"mtls_as": self.own_extension()}

    def own_extension(self) -> dict[str, Any]:
        """Our own member alone."""
        return {"client_der_chain": (), "listener": self.listener, "tls_group": None}


class PlainLayer:
    """The server's side of one connection without TLS: what goes in comes out."""

    __slots__ = ("_received", "ended")

    def __init__(self) -> None:
        self._received = b""
        self.ended = False
        """Always: nothing tells a client that sends nothing more from one that is gone."""

    @property
    def sends_tickets(self) -> bool:
        """Never."""
        return False

    @property
    def speaks_http_2(self) -> bool:
        """Never: HTTP/2 is agreed on in a TLS handshake."""
        return False

    def extension(self, *, listener: str, server_cert: str) -> PlainExtension:  # noqa: ARG002 - the record layer's
        """What an application learns about the connection."""
        return PlainExtension(listener=listener)

    def handshake(self) -> bool:
        """There is none, so it is complete."""
        return True

    def feed(self, data: bytes) -> None:
        """Take what the transport received."""
        self._received = data

    def read(self) -> list[bytes]:
        """What was received since the last time, in pieces as of TLS: the limits of the HTTP parsers rely on it."""
        received, self._received = self._received, b""
        return [received[start : start + _PIECE_BYTES] for start in range(0, len(received), _PIECE_BYTES)]

    def encrypt(self, data: bytes, *, last: bool) -> bytes:  # noqa: ARG002 - the record layer's
        """The same bytes."""
        return data

    def take_records(self) -> bytes:
        """Nothing ever waits."""
        return b""

    def close_notify(self) -> bytes:
        """Nothing: the end of the stream says it."""
        return b""
