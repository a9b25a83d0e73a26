"""Paths of certificates that may still have live tokens, as they are remembered beyond one process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPath:
    """A verified path that a request came with. Times are seconds since the epoch."""

    trust: str
    """The trust domain."""
    x5t_s256: str
    """Of the leaf."""
    path: bytes = field(repr=False)
    """The certificates, DER, leaf first, anchor last."""
    last_used_at: float
    """When a request came with it; later ones within an hour may not be told."""
    stored_at: float


class AcceptedPathStore(Protocol):
    """Remembers the last path of each certificate and trust domain. Every method raises `StorageUnavailable`."""

    async def record(self, paths: Sequence[StoredPath]) -> None:
        """Remember these, in place of older ones; all of them, or none."""
        ...

    async def stored_since(
        self, trust: str, since: float, *, before: StoredPath | None, limit: int
    ) -> tuple[StoredPath, ...]:
        """Those of a domain that were stored from a time on, the latest first; the next ones after `before`."""
        ...
