"""Decrypted bytes on their way to Hypercorn."""

from collections import deque
from collections.abc import Sequence


class Inbox:
    """A queue of bytes, taken out in the pieces in which they came. Only connections with something for it have one."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._parts)

    def put(self, parts: Sequence[bytes]) -> None:
        """Append bytes."""
        self._parts.extend(parts)
        self.size += sum(map(len, parts))

    def take(self) -> bytes:
        """The first piece."""
        piece = self._parts.popleft()
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Drop everything."""
        self._parts.clear()
        self.size = 0
