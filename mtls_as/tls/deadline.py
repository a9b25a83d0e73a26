"""The one deadline of a connection."""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """A moment at which something is called. Most are put off before they come, so that makes no new timer."""

    __slots__ = ("_at", "_loop", "_reached", "_timer", "_wakes_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, reached: Callable[[], None]) -> None:
        """There is none yet; `reached` may set the next one."""
        self._loop = loop
        self._reached = reached
        self._at = self._wakes_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """In so many seconds, in place of the one before."""
        self._at = self._loop.time() + seconds
        if self._at < self._wakes_at:
            self._wake_at(self._at)

    def end(self) -> None:
        """None any more, for good: whom to call is let go of."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._wakes_at = -math.inf  # before any that is still set
        del self._reached

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._wakes_at = math.inf
        if self._loop.time() < self._at:
            self._wake_at(self._at)
        else:
            self._reached()
