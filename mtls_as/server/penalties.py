"""Who failed to authenticate too often, and is not listened to for a while; on all nodes, by way of the storage.

Penalised are addresses and certificates, never the name of a client: anybody can say a name, but an address takes a
connection from there, and a certificate its key. Memory is bounded, and so is what is written: penalties on top of that
are dropped, and those that are there stay.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from mtls_as.server.ports import Clock, StorageUnavailable

MAX_PENALTIES: Final = 10_000
FOLLOW_SECONDS: Final = 2.0
MAX_WRITTEN: Final = 50
"""Penalties that one process writes in one go."""
LONGEST: Final = 3_600.0
"""Seconds that no penalty exceeds, whatever a row in the storage says."""

_diagnostics = logging.getLogger(__name__)


class PenaltyKind(StrEnum):
    """Who is penalised."""

    ADDRESS = "address"
    """An IPv4 address, or an IPv6 network of 64 bits."""
    CERTIFICATE = "certificate"
    """By its `x5t#S256`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """Until when (epoch seconds) somebody is not listened to."""

    kind: PenaltyKind
    value: str
    until: float


class PenaltyStore(Protocol):
    """The penalties of all nodes. Every method raises `StorageUnavailable`."""

    async def add(self, penalties: Sequence[Penalty]) -> None:
        """Remember these; of two of the same, the later end counts."""
        ...

    async def after(self, now: float, *, limit: int) -> tuple[Penalty, ...]:
        """Those that are in force at a time (epoch seconds), the last to end first."""
        ...


class Penalties:
    """The penalties in force, in memory. On one event loop; `monotonic` is a clock that nobody sets."""

    def __init__(self, store: PenaltyStore, *, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._until: dict[tuple[PenaltyKind, str], float] = {}
        self._unwritten: dict[tuple[PenaltyKind, str], float] = {}
        self.dropped = 0
        """Penalties for which there was no room."""

    def __bool__(self) -> bool:
        return bool(self._until)

    def __len__(self) -> int:
        now = self._monotonic()
        return sum(until > now for until in self._until.values())

    def left(self, kind: PenaltyKind, value: str, now: float) -> float:
        """Seconds that a penalty still lasts at a time of the monotonic clock, or 0."""
        until = self._until.get((kind, value))
        return 0.0 if until is None else max(until - now, 0.0)

    def impose(self, kind: PenaltyKind, value: str, *, seconds: float, now: float) -> None:
        """Listen to somebody no more, here at once, and elsewhere when the others next look."""
        if self._keep((kind, value), now + seconds, now):
            self._unwritten[kind, value] = self._clock() + seconds

    async def follow(self) -> None:
        """Write what is new, and take over what others have written. Raises `StorageUnavailable`."""
        now, at = self._monotonic(), self._clock()
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._unwritten = {key: until for key, until in self._unwritten.items() if until > at}
        unwritten = list(self._unwritten.items())[:MAX_WRITTEN]
        if unwritten:
            await self._store.add([Penalty(kind=key[0], value=key[1], until=until) for key, until in unwritten])
            for key, _ in unwritten:
                self._unwritten.pop(key, None)
        for penalty in await self._store.after(at, limit=MAX_PENALTIES):
            self._keep((penalty.kind, penalty.value), now + min(penalty.until - at, LONGEST), now)

    @contextlib.asynccontextmanager
    async def following(self, *, every: float = FOLLOW_SECONDS) -> AsyncIterator[None]:
        """Follow the storage within the block. What is under way at the end is ended."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._follow_until(stop, every))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _follow_until(self, stop: asyncio.Event, every: float) -> None:
        while not stop.is_set():
            try:
                await self.follow()
            except StorageUnavailable:
                pass  # what is known here stays in force; the storage's silence is told elsewhere
            except Exception:  # noqa: BLE001 # the next time may go well
                _diagnostics.exception("penalties could not be shared: an unforeseen error")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await stop.wait()

    def _keep(self, key: tuple[PenaltyKind, str], until: float, now: float) -> bool:
        if key not in self._until and len(self._until) >= MAX_PENALTIES:
            self._until = {known: end for known, end in self._until.items() if end > now}
            if len(self._until) >= MAX_PENALTIES:
                self.dropped += 1
                return False
        self._until[key] = max(until, self._until.get(key, until))
        return True
