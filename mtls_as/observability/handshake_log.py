"""Failed handshakes in the diagnostics: each of them while there are few, and their number while there are many."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

WINDOW_SECONDS: Final = 10.0
IN_FULL: Final = 20
"""Handshakes that are logged one by one within a window; of the rest only how many there were."""

_diagnostics = logging.getLogger(__name__)


class HandshakeLog:
    """What is logged of failed handshakes. A flood of them costs an operator a line for each reason and window."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ends_at = 0.0
        self._logged = 0
        self._more: Counter[str] = Counter()

    def failed(self, reason: str, peer: str) -> None:
        """Log a failed handshake, or count it."""
        now = self._monotonic()
        if now >= self._ends_at:
            self._sum_up()
            self._ends_at = now + WINDOW_SECONDS
            self._logged = 0
        if self._logged < IN_FULL:
            self._logged += 1
            _diagnostics.info("handshake with %s failed: %s", peer, reason)
        else:
            self._more[reason] += 1

    def _sum_up(self) -> None:
        for reason, count in self._more.items():
            _diagnostics.warning("%d more handshakes failed: %s", count, reason)
        self._more.clear()
