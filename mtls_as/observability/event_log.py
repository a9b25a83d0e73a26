"""The event log: one line of JSON for each request, and for each reload, written beside the event loop."""

import contextlib
import dataclasses
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, TextIO

from mtls_as.server.events import ReloadEvent, RequestEvent

MAX_TEXT_LENGTH: Final = 400
CAPACITY: Final = 10_000
"""Events that wait to be written. When the log is not read for longer, events are lost, and their number is told."""
CLOSING_SECONDS: Final = 5.0

_Event = RequestEvent | ReloadEvent
_LOGGED: Final = {
    kind: tuple(f.name for f in dataclasses.fields(kind) if f.metadata.get("logged", True))
    for kind in (RequestEvent, ReloadEvent)
}
_END: Final = None
_diagnostics = logging.getLogger(__name__)


class EventLog:
    """Writes events to a text stream, from a thread: a pipe that nobody reads delays no request.

    JSON escapes CR, LF and ESC, and long text is cut, so that no input can forge a line. `clock` gives epoch seconds.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._stream = stream
        self._clock = clock
        self._waiting: queue.Queue[tuple[float, _Event] | None] = queue.Queue(capacity)
        self._lost = 0
        self._writer = threading.Thread(target=self._write_all, name="event log", daemon=True)

    def __call__(self, event: _Event) -> None:
        """Have one event written. Neither blocks nor raises."""
        try:
            self._waiting.put_nowait((self._clock(), event))
        except queue.Full:
            self._lost += 1

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write while the context is open; at its end, what still waits, for as long as a reader takes it."""
        self._writer.start()
        try:
            yield
        finally:
            with contextlib.suppress(queue.Full):
                self._waiting.put(_END, timeout=CLOSING_SECONDS)
            self._writer.join(CLOSING_SECONDS)

    def _write_all(self) -> None:
        while (item := self._waiting.get()) is not _END:
            lost, self._lost = self._lost, 0
            if lost:
                _diagnostics.error("%d events were lost: the event log is not read fast enough", lost)
            self._write(_line(*item))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line)
            if self._waiting.empty():
                self._stream.flush()
        except (OSError, ValueError):
            _diagnostics.exception("the event log cannot be written")


def _line(at: float, event: _Event) -> str:
    """One line; absent fields are left out."""
    line: dict[str, object] = {"time": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")}
    for name in _LOGGED[type(event)]:
        value = getattr(event, name)
        if value is not None:
            line[name] = _bounded(value)
    return json.dumps(line) + "\n"


def _bounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, int):
        return value
    text = str(value)
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}… ({len(text)} characters)"
