"""Whether this node hears from the storage, and for how long what it knows is good enough to issue tokens without.

What a node knows is the state of the storage at the time when it heard from it the last time. While the storage is
silent somebody may have disabled a client or withdrawn a key, without this node being able to learn of it. For how long
it issues tokens all the same is the operator's choice; who wants to know whether a token was revoked waits for nothing.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError

CURRENT_SECONDS: Final = 3.0
"""For how long memory is as good as the storage. Nodes ask each second, so that no request has to."""

_diagnostics = logging.getLogger(__name__)


class StorageContact:
    """When this node heard from the storage. `monotonic` is a clock that nobody sets.

    `tolerated_outage` is in seconds, and may be set at any time.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.tolerated_outage = 0.0
        self._heard_at = float("-inf")
        self._problem: str | None = None
        self._has_ended = False

    @property
    def problem(self) -> str | None:
        """Why the storage does not answer; None as long as it does."""
        return self._problem

    @property
    def silence(self) -> float:
        """Seconds since the storage answered the last time; 0 as long as it does."""
        return self.monotonic() - self._heard_at if self._problem is not None else 0.0

    @property
    def tolerated_for(self) -> float:
        """For how many seconds tokens are still issued if nothing is heard; negative after that."""
        return self._heard_at + max(CURRENT_SECONDS, self.tolerated_outage) - self.monotonic()

    def require(self) -> None:
        """Raise `OAuthError` `temporarily_unavailable` if nothing was heard for longer than is tolerated."""
        if self.tolerated_for > 0:
            return
        silence = self.monotonic() - self._heard_at
        detail = f"nothing was heard from the storage for {silence:.0f} s, and {self.tolerated_outage:g} are tolerated"
        raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, detail)

    def heard(self, asked_at: float) -> None:
        """All that this node keeps in memory is as the storage had it at this time, or later."""
        if self._problem is not None:
            _diagnostics.warning("the storage answers again, after %.0f s", self.silence)
        self._heard_at = asked_at
        self._problem, self._has_ended = None, False

    def missed(self, problem: str) -> None:
        """The storage did not answer. Said once for each outage, and once more when it is tolerated no longer."""
        if self._problem is None:
            message = "the storage does not answer: clients that are known here get tokens for another %.0f s: %s"
            _diagnostics.error(message, max(0.0, self.tolerated_for), problem)
        elif self.tolerated_for <= 0 and not self._has_ended:
            self._has_ended = True
            _diagnostics.error("the storage does not answer for %.0f s: no more tokens are issued", self.silence)
        self._problem = problem
