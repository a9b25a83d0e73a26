"""Plain bytes on their way to the client, until they are encrypted."""

from typing import Final

PIECE_BYTES: Final = 64 * 1024
"""What is encrypted at once, at most."""


class Outbox:
    """A queue of bytes, taken out in pieces of at most 64 KiB; what is small is taken out together."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        # A list, though its head is taken out: seldom more than one is, and every connection has one of these.
        self._parts: list[bytes | memoryview] = []
        self.size = 0

    @property
    def full(self) -> bool:
        """Whether there is more than one piece, so that whoever writes must wait."""
        return self.size > PIECE_BYTES

    def put(self, data: bytes) -> None:
        """Append bytes, as many as they are."""
        self._parts.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """The next piece."""
        if not self.full:
            whole = bytes(self._parts[0]) if len(self._parts) == 1 else b"".join(self._parts)
            self.clear()
            return whole
        piece = self._parts[0]
        if len(piece) > PIECE_BYTES:
            rest = memoryview(piece)
            self._parts[0] = rest[PIECE_BYTES:]
            piece = rest[:PIECE_BYTES]
        else:
            del self._parts[0]
        self.size -= len(piece)
        return bytes(piece)

    def clear(self) -> None:
        """Drop everything."""
        self._parts.clear()
        self.size = 0
