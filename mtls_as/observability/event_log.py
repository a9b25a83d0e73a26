"""The event log: one line of JSON for each request, and for each reload, written beside the event loop."""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from mtls_as.observability.event_lines import Event, event_line
from mtls_as.observability.event_outputs import Output

CAPACITY: Final = 10_000
"""Events that wait to be written. When the log is not read for longer, events are lost, and their number is told."""
GATHER_SECONDS: Final = 0.05
"""How long the writer waits for further events: one awakening and one write for all of them."""
CLOSING_SECONDS: Final = 5.0
_BATCH: Final = 512

_diagnostics = logging.getLogger(__name__)


class EventLog:
    """Writes events to an output, from a thread: a pipe that nobody reads, or a full disk, delays no request.

    `clock` gives epoch seconds. What a request pays is one look at the clock and one place in a queue.
    """

    def __init__(self, output: Output, *, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._output = output
        self._clock = clock
        self._capacity = capacity
        self._waiting: deque[tuple[float, Event]] = deque()
        self._dropped = 0
        self._told = 0
        self._unwritten = 0
        self._is_failing = False
        self._something = threading.Event()
        self._ending = threading.Event()
        self._writer = threading.Thread(target=self._write_all, name="event log", daemon=True)

    def __call__(self, event: Event) -> None:
        """Have one event written. Neither blocks nor raises."""
        if len(self._waiting) >= self._capacity:
            self._dropped += 1
            return
        self._waiting.append((self._clock(), event))
        if not self._something.is_set():
            self._something.set()

    @property
    def depth(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """How many events were not written, since the start: no room to wait, or an output that failed."""
        return self._dropped + self._unwritten

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write while the context is open; at its end, what still waits, for as long as a reader takes it."""
        self._writer.start()
        try:
            yield
        finally:
            self._ending.set()
            self._something.set()
            self._writer.join(CLOSING_SECONDS)
            if not self._writer.is_alive():
                self._output.close()

    def _write_all(self) -> None:
        while not self._ending.wait(GATHER_SECONDS):
            if self._waiting:
                self._empty()
            else:
                self._sleep()
        self._empty()

    def _sleep(self) -> None:
        """Wait for an event. While they come, there is one awakening for each gathering, and nobody has to wake it."""
        self._something.clear()
        # Looked at after that: whatever comes from now on sets it again.
        if not self._waiting and not self._ending.is_set():
            self._something.wait()

    def _empty(self) -> None:
        """Write what waits. What comes meanwhile is to be gathered first, too."""
        left = len(self._waiting)
        while left:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, left))]
            self._write(batch)
            left -= len(batch)

    def _write(self, batch: list[tuple[float, Event]]) -> None:
        lines = [event_line(at, event) for at, event in batch]
        dropped = self._dropped
        if dropped != self._told:
            count, self._told = dropped - self._told, dropped
            _diagnostics.error("%d events were lost: the event log is not read fast enough", count)
            lines.append(event_line(self._clock(), {"event": "lost", "count": count}))
        try:
            self._output.write(lines)
        except (OSError, ValueError) as error:
            self._unwritten += len(batch)
            if not self._is_failing:
                _diagnostics.error("the event log cannot be written, and events are lost: %s", error)
            self._is_failing = True
            return
        if self._is_failing:
            _diagnostics.info("the event log is written again; %d events were lost for good so far", self.lost)
        self._is_failing = False
