"""The events between a connection and one request of the application (ASGI `receive`)."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

Event = Mapping[str, Any]

_DISCONNECTS: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class ReceiveQueue:
    """A bounded queue that neither side can hang the other with.

    Hypercorn's own queue blocks for ever when the application ends, or the client leaves, with the queue full. Here
    `put` waits for room only while the application runs and the client is there. With `waits` false it never waits:
    HTTP/2 has flow control of its own, whose credit is given back by `on_read`.
    """

    __slots__ = ("_disconnect", "_entries", "_events", "_gone", "_limit", "_over", "_reader", "_waits", "_writers")

    def __init__(self, *, limit: int, waits: bool, gone: Event) -> None:
        """At most `limit` events wait to be read; `gone` is the event that tells of a lost connection."""
        self._entries: deque[Event | Callable[[], None]] = deque()
        self._events = 0
        self._limit = limit
        self._waits = waits
        self._gone = gone
        self._disconnect: Event | None = None
        self._over = False
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []

    async def __call__(self, event: Mapping[str, Any]) -> None:
        """Put an event: what Hypercorn calls `app_put`."""
        if event["type"] in _DISCONNECTS:
            self.disconnect(event)
            return
        if self._over or self._disconnect is not None:
            return
        self._entries.append(event)
        self._events += 1
        _wake(self._reader)
        while self._waits and self._full():
            writer = asyncio.get_running_loop().create_future()
            self._writers.append(writer)
            await writer

    def on_read(self, action: Callable[[], None]) -> None:
        """Call `action` once the application has taken what was put so far, or has ended without."""
        if self._over or not self._entries:
            action()
        else:
            self._entries.append(action)

    def disconnect(self, event: Event | None = None) -> None:
        """The client is gone: what was put before stays readable, then `receive` says so, however often."""
        if self._disconnect is None:
            self._disconnect = event or self._gone
            _wake(self._reader)
            self._wake_writers()

    async def get(self) -> Event:
        """Take the next event: the application's `receive`."""
        while not self._entries:
            if self._disconnect is not None:
                return self._disconnect
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        event = self._entries.popleft()
        self._events -= 1
        self._run_actions()
        self._wake_writers()
        return event  # type: ignore[return-value] # actions never stand first: `_run_actions` takes them

    def end(self) -> None:
        """The application has ended: nothing is read any more."""
        self._over = True
        for entry in self._entries:
            if callable(entry):
                entry()
        self._entries.clear()
        self._wake_writers()

    def _full(self) -> bool:
        return self._events >= self._limit and not self._over and self._disconnect is None

    def _run_actions(self) -> None:
        while self._entries and callable(action := self._entries[0]):
            self._entries.popleft()
            action()

    def _wake_writers(self) -> None:
        for writer in self._writers:
            _wake(writer)
        self._writers.clear()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
