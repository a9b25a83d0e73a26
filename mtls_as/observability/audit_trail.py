"""The audit trail of this process: events wait in memory, and are recorded in the background, in batches."""

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection
from importlib.metadata import version
from itertools import count
from typing import Final

from mtls_as.observability.event_lines import Event, event_line
from mtls_as.rfc.refusal import Refusal
from mtls_as.server.audit import AuditEntry, AuditStore
from mtls_as.server.events import ReloadEvent, RequestEvent
from mtls_as.server.ports import Clock, StorageUnavailable
from mtls_as.server.rates import Buckets, Rate

FLUSH_SECONDS: Final = 1.0
CAPACITY: Final = 10_000
"""Events that wait while the storage does not answer. What comes then is lost, and its number is recorded."""
COUNTED_SECONDS: Final = 60.0
"""How often is recorded what is only counted: refused handshakes, and many refused strangers, for each reason."""
STRANGERS: Final = Rate(per_second=1 / 6, burst=100)
"""How many refusals of requests that nobody has proven to send are recorded one by one, by each process. Whoever sends
more of them would push out what is recorded of others, since `keep_records` is all that there is room for."""
PRUNE_SECONDS: Final = 600.0
FIRST_PRUNE_SECONDS: Final = 60.0
_LAST_FLUSH_SECONDS: Final = 5.0
_BATCH: Final = 1_000
_ENOUGH: Final = 800
"""Events that are recorded before it is time to. A batch has room for those, too, that come until it begins."""
_SLICE: Final = 50
"""Entries that are made before requests have their turn."""
# Whoever asks too often is to push nobody's records out.
_NOT_RECORDED: Final = frozenset({Refusal.RATE_LIMITED, Refusal.TOO_MANY_FAILURES})

_diagnostics = logging.getLogger(__name__)


class AuditTrail:
    """Takes events, and records those of `requests`, by endpoint, and everything that is no request.

    A request never waits for it. What finds no room, and what the storage can never take, is counted in `lost`, logged,
    and recorded as a gap as soon as anything can be recorded. Each record has a number of its process: one that stands
    twice, since its commit was in doubt, can be told.
    """

    def __init__(
        self,
        store: AuditStore,
        *,
        requests: Collection[str],
        keep_seconds: float,
        keep_records: int,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        capacity: int = CAPACITY,
    ) -> None:
        """`monotonic` is a clock that nobody sets."""
        self._store = store
        self._monotonic = monotonic
        self._strangers = Buckets(STRANGERS)
        self._requests = frozenset(requests)
        self._keep_seconds = keep_seconds
        self._keep_records = keep_records
        self._clock = clock
        self._capacity = capacity
        self._waiting: deque[tuple[float, Event]] = deque()
        self._counted: dict[str, Counter[str]] = {"handshakes": Counter(), "strangers": Counter()}
        """By the kind of the record, and then by reasons."""
        self._counted_at = self._prune_at = 0.0
        self._gap = 0
        self._gap_began = 0.0
        self._is_failing = False
        self._wake = asyncio.Event()
        self._is_over = False
        self._has_started = False
        self._entry = entry_maker(socket.gethostname(), os.getpid())
        self.written = 0
        """Records of this process, since the start."""
        self.lost = 0
        """Events that were not recorded, since the start."""

    def __call__(self, event: RequestEvent) -> None:
        """Have a request recorded, if its endpoint is one of those. Neither blocks nor raises."""
        if event.endpoint not in self._requests or event.refusal in _NOT_RECORDED:
            return
        is_refused_stranger = event.refusal is not None and event.client_id is None
        if is_refused_stranger and self._strangers.take("", self._monotonic()):
            self._counted["strangers"][event.refusal or ""] += 1
        else:
            self.note(event)

    def note(self, event: Event) -> None:
        """Have anything recorded. Neither blocks nor raises."""
        if len(self._waiting) < self._capacity:
            self._waiting.append((self._clock(), event))
            if len(self._waiting) == _ENOUGH:
                self._wake.set()
        else:
            self._lose(1, "more events wait than memory is meant to hold")

    def note_start(self) -> None:
        """Have it recorded that this process serves, and at the end that it stopped: without that, it was killed."""
        self._has_started = True
        self.note({"event": "start", "version": version("mtls-as")})

    def count_refused_handshake(self, reason: str) -> None:
        """Have a refused handshake recorded, together with others."""
        self._counted["handshakes"][reason] += 1

    @property
    def depth(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    @property
    def lag(self) -> float:
        """For how many seconds the oldest of them has waited."""
        return max(0.0, self._clock() - self._waiting[0][0]) if self._waiting else 0.0

    @contextlib.asynccontextmanager
    async def recording(self, *, every: float = FLUSH_SECONDS) -> AsyncIterator[None]:
        """Record what comes, every so many seconds and whenever there is enough, and what is left at the end."""
        now = self._clock()
        self._counted_at, self._prune_at = now + COUNTED_SECONDS, now + FIRST_PRUNE_SECONDS
        self._is_over = False
        task = asyncio.create_task(self._record_repeatedly(every))
        try:
            yield
        finally:
            self._note_counted()
            if self._has_started:
                self.note({"event": "stop", "written": self.written + len(self._waiting), "lost": self.lost})
            self._is_over = True
            self._wake.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(task, _LAST_FLUSH_SECONDS)
            if self._waiting:
                _diagnostics.error("%d events were never recorded in the audit trail", len(self._waiting))

    async def flush(self) -> None:
        """Record what waits. If the storage does not answer, it waits on.

        What comes meanwhile is for the next time: a batch of what comes while another is stored would be small, and one
        costs as much as a hundred records do.
        """
        batches = math.ceil(len(self._waiting) / _BATCH)
        try:
            for _ in range(max(batches, 1 if self._gap else 0)):
                await self._record_batch()
        except StorageUnavailable as error:
            if not self._is_failing:
                _diagnostics.warning("the audit trail cannot be written now, and events wait: %s", error)
            self._is_failing = True
        else:
            if self._is_failing:
                _diagnostics.info("the audit trail is written again")
            self._is_failing = False

    async def prune(self) -> None:
        """Forget what is old or too much, once in a while, and record that."""
        now = self._clock()
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        with contextlib.suppress(StorageUnavailable):
            forgotten = await self._store.prune(ended_before=now - self._keep_seconds, keep=self._keep_records)
            if forgotten:
                self.note({"event": "pruned", "count": forgotten})

    async def _record_repeatedly(self, every: float) -> None:
        is_over = False
        while not is_over:
            is_over, is_well = self._is_over, False
            try:
                if self._clock() >= self._counted_at:
                    self._note_counted()
                await self.flush()
                await self.prune()
                is_well = not self._is_failing
            except Exception:  # noqa: BLE001 # whatever happens here, later events are to be recorded all the same
                _diagnostics.exception("the audit trail could not be written")
            if not (is_over or (is_well and len(self._waiting) >= _ENOUGH)):
                await self._sleep(every)

    async def _sleep(self, seconds: float) -> None:
        """Wait so long, or until there is enough to record, or it is over."""
        self._wake.clear()
        if self._is_over:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _record_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        gap = self._gap
        entries = list[AuditEntry]()
        if gap:
            entries.append(self._entry(self._clock(), {"event": "gap", "lost": gap, "since": _iso(self._gap_began)}))
        try:
            for start in range(0, len(batch), _SLICE):
                entries += [self._entry(at, event) for at, event in batch[start : start + _SLICE]]
                await asyncio.sleep(0)
            await self._store.append(entries)
        except (StorageUnavailable, asyncio.CancelledError):
            self._waiting.extendleft(reversed(batch))
            raise
        except Exception:
            # What the storage can never take must not keep the rest from it.
            self._lose(len(batch), "the storage does not take them")
            raise
        self._gap -= gap
        self.written += len(entries)

    def _note_counted(self) -> None:
        self._counted_at = self._clock() + COUNTED_SECONDS
        for kind, counts in self._counted.items():
            if counts:
                self.note({"event": kind, "refused": dict(counts)})
                counts.clear()

    def _lose(self, number: int, why: str) -> None:
        if not self._gap:
            self._gap_began = self._clock()
            _diagnostics.error("events are lost for the audit trail, which will have a gap: %s", why)
        self._gap += number
        self.lost += number


def entry_maker(host: str, process: int) -> Callable[[float, Event], AuditEntry]:
    """Makes entries of one process: the line of the event log, with the process and a number in front."""
    numbers = count(1)
    beginning = f'{{"node":{json.dumps(f"{host}/{process}")},"number":'

    def make(at: float, event: Event) -> AuditEntry:
        line = event_line(at, event)[1:].decode("ascii")
        kind, client_id = _kind_and_client(event)
        return AuditEntry(at, kind, f"{beginning}{next(numbers)},{line}", client_id)

    return make


def _kind_and_client(event: Event) -> tuple[str, str | None]:
    """What a record is of, and of whom: a client that proved who it is, or whose registration an operator changed."""
    if isinstance(event, RequestEvent):
        return event.endpoint, event.client_id
    if isinstance(event, ReloadEvent):
        return event.event, None
    client_id = event.get("client_id")
    return str(event["event"]), client_id if isinstance(client_id, str) else None


def _iso(at: float) -> str:
    line: str = json.loads(event_line(at, {}))["time"]
    return line
