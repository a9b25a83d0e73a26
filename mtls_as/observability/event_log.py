"""The event log: one line of JSON for each request, and for each reload."""

import dataclasses
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

from mtls_as.server.events import ReloadEvent, RequestEvent

MAX_TEXT_LENGTH: Final = 400

_LOGGED: Final = {
    kind: tuple(f.name for f in dataclasses.fields(kind) if f.metadata.get("logged", True))
    for kind in (RequestEvent, ReloadEvent)
}
_diagnostics = logging.getLogger(__name__)


class EventLog:
    """Writes events to a text stream. JSON escapes CR, LF and ESC, long text is cut: no input can forge a line."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock

    def __call__(self, event: RequestEvent | ReloadEvent) -> None:
        """Write one event; absent fields are left out. A stream that fails is reported, and the request goes on."""
        fields = {name: getattr(event, name) for name in _LOGGED[type(event)]}
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        }
        line |= {name: _bounded(value) for name, value in fields.items() if value is not None}
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            _diagnostics.exception("the event log cannot be written")


def _bounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    text = str(value)
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}… ({len(text)} characters)"
