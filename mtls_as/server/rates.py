"""How often something may happen: a token bucket for each key, in constant memory.

A bucket is one number, the time at which it is full again (the generic cell rate algorithm): it takes a burst, then a
steady rate, and what was refused costs nothing.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MAX_KEYS: Final = 50_000
"""Keys that are remembered at least; twice as many at most, some 20 MB."""

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many in each second, and a burst on top of it. Both are above 0."""

    per_second: float
    burst: float


class RecentKeys(Generic[_K, _V]):
    """Values by key, those of the most recently used keys kept: when one half is full, the older half is dropped."""

    __slots__ = ("_old", "_size", "_young")

    def __init__(self, size: int = MAX_KEYS) -> None:
        self._size = size
        self._young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        """The value of a key, if it is remembered."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: _K, value: _V) -> None:
        """Remember a value."""
        young = self._young
        young[key] = value
        if len(young) >= self._size:
            self._old = young
            self._young = {}

    def items(self) -> dict[_K, _V]:
        """Everything that is remembered."""
        return {**self._old, **self._young}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())


class Buckets:
    """One bucket for each key. Times are of a clock that nobody sets, in seconds."""

    __slots__ = ("_full_at", "_interval", "_reach", "rate")

    def __init__(self, rate: Rate, *, size: int = MAX_KEYS) -> None:
        self.rate = rate
        self._interval = 1 / rate.per_second
        self._reach = rate.burst / rate.per_second
        self._full_at: RecentKeys[str, float] = RecentKeys(size)

    def take(self, key: str, now: float) -> float:
        """Take one out of a bucket: 0, or the seconds until there will be one, and then nothing was taken."""
        full_at = self._full_at.get(key)
        full_at = (now if full_at is None or full_at < now else full_at) + self._interval
        wait = full_at - now - self._reach
        if wait > 0:
            return wait
        self._full_at.put(key, full_at)
        return 0.0

    def charge(self, key: str, now: float, count: float) -> None:
        """Take more out of a bucket, down to empty."""
        full_at = max(self._full_at.get(key) or now, now) + count * self._interval
        self._full_at.put(key, min(full_at, now + self._reach))

    def left(self, now: float) -> dict[str, float]:
        """What is left of each bucket that is not full, from 0 to 1."""
        used = ((key, (full_at - now) / self._reach) for key, full_at in self._full_at.items().items())
        return {key: max(1 - part, 0.0) for key, part in used if part > 0}
