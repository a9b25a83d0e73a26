"""What is kept from elsewhere: fetched rarely, replaced only by something better, asked for at any rate."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from mtls_as.remote.documents import DocumentUnavailable

COOL_DOWN: Final = 30.0
MAX_AGE: Final = 300.0

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class Remembered(ABC, Generic[_T]):
    """One value from elsewhere. All waiting callers share one fetch, and two fetches are `cool_down` seconds apart.

    With `eager`, only fetches that bring nothing new are kept apart: by a second at first, by twice as much each time,
    and by `cool_down` at last. So a change is seen at once, however soon after another, and a flood of wrong questions
    costs a few fetches more.

    A value once known stays in use until a fetch brings another: an empty, broken or missing answer changes nothing.
    After `max_age` seconds it is refreshed beside the running requests, which do not wait. It is for one event loop.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        cool_down: float = COOL_DOWN,
        max_age: float = MAX_AGE,
        eager: bool = False,
    ) -> None:
        self._clock = clock
        self._cool_down = cool_down
        self._eager = eager
        self._futile = 0
        self._max_age = max_age
        self._value: _T | None = None
        self._fetched_at = 0.0
        self._attempted_at: float | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._failure = "not fetched yet"

    def known(self) -> _T | None:
        """The value, if it is known and no refresh is due: without waiting, and without a fetch."""
        if self._value is not None and self._is_usable(self._value) and self._is_young():
            return self._value
        return None

    async def get(self) -> _T:
        """The value, from memory if it is known. Raises `DocumentUnavailable` as long as there is none."""
        value = self._value
        if value is None or not self._is_usable(value):
            return await self.refreshed()
        if not self._is_young():
            self._start()
        return value

    async def refreshed(self) -> _T:
        """The value after a fetch that was allowed, else that from memory: to be called when something is missing.

        Raises `DocumentUnavailable` as long as there is none.
        """
        self._start()
        if self._attempt is not None:
            await asyncio.shield(self._attempt)  # a caller that goes away leaves the fetch to the others
        if self._value is None or not self._is_usable(self._value):
            raise DocumentUnavailable(self._failure)
        return self._value

    @abstractmethod
    async def _load(self) -> _T:
        """Fetch it. Raises `DocumentUnavailable` alone."""

    def _is_usable(self, _value: _T) -> bool:
        """Whether a value from memory is good for anything; here it always is."""
        return True

    def _is_young(self) -> bool:
        """Whether no refresh is due."""
        return 0 <= self._clock() - self._fetched_at < self._max_age

    def _start(self) -> None:
        """Start a fetch, unless one is running or the last one is too recent."""
        if self._attempt is not None and not self._attempt.done():
            return
        now = self._clock()
        # A difference below zero means that the clock was set back; waiting for it to catch up could take years.
        if self._attempted_at is not None and 0 <= now - self._attempted_at < self._pause():
            self._attempt = None
            return
        if self._attempted_at is None or not 0 <= now - self._attempted_at < self._cool_down:
            self._futile = 0
        self._attempted_at = now
        self._attempt = asyncio.create_task(self._fetch())

    def _pause(self) -> float:
        """Seconds from one fetch to the next."""
        if not self._eager:
            return self._cool_down
        return min(self._cool_down, 2.0 ** (self._futile - 1)) if self._futile else 0.0

    async def _fetch(self) -> None:
        self._futile += 1
        try:
            value = await self._load()
        except DocumentUnavailable as error:
            self._failure = str(error)
            _log.warning("what is known stays: %s", self._failure)
        else:
            self._futile = self._futile if value == self._value else 0
            # What has not changed stays the same object, so that whoever relies on it sees that.
            self._value = self._value if value == self._value else value
            self._fetched_at = self._clock()
