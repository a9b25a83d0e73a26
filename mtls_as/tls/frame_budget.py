"""How many HTTP/2 frames that are no use to anybody a client may send (RFC 9113 §10.5).

Resets, pings, settings, priorities, empty data: each is legitimate, costs the client nothing, and the server some work.
So there is a budget of them: a burst, a steady rate, and more for each request that was answered.
"""

from typing import Final

import h2.events

BURST: Final = 1_000.0
PER_SECOND: Final = 20.0
PER_ANSWER: Final = 10.0

_OF_REQUESTS: Final = (
    h2.events.RequestReceived,
    h2.events.TrailersReceived,
    h2.events.StreamEnded,
    h2.events.ConnectionTerminated,
)


class FrameBudget:
    """The budget of one connection. Times are in seconds, of a clock that nobody sets."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = BURST
        self._at = now

    def take(self, event: h2.events.Event, now: float, *, is_busy: bool) -> bool:
        """Whether the client may send this. `is_busy` says whether any request is open: then credit is of use."""
        cost = _cost(event, is_busy=is_busy)
        if cost:
            self._left = min(self._left + (now - self._at) * PER_SECOND, BURST) - cost
            self._at = now
        return self._left >= 0

    def earn(self) -> None:
        """A request was answered."""
        self._left = min(self._left + PER_ANSWER, BURST)


def _cost(event: h2.events.Event, *, is_busy: bool) -> float:
    match event:
        case h2.events.DataReceived(data=data, stream_ended=ended):
            return 0.0 if data or ended is not None else 1.0
        case h2.events.WindowUpdated():
            return 0.0 if is_busy else 1.0
        case _:
            return 0.0 if isinstance(event, _OF_REQUESTS) else 1.0
