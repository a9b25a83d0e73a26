"""The OCSP answers of one trust domain: from memory for known certificates, refreshed beside the requests.

Only certificates of verified paths are asked about, so that strangers cannot make the server ask.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mtls_as.pki.authorities import AuthorityId
from mtls_as.pki.ocsp import OCSPAnswer, OCSPError, ask, read_answer
from mtls_as.pki.revocation_fetching import Fetcher, SourceUnavailable
from mtls_as.pki.revocation_policy import Issued

LOOK_UP_SECONDS: Final = 2.0
MAX_ANSWERS: Final = 10_000
MAX_REFRESHES: Final = 100
"""Questions beside the requests that are under way at a time."""
MIN_REFRESH: Final = 5.0
MAX_REFRESH: Final = 3600.0
FIRST_BACK_OFF: Final = 5.0
MAX_BACK_OFF: Final = 300.0
_NONCE_BYTES: Final = 32

_log = logging.getLogger(__name__)
_Key = tuple[AuthorityId, int]


@dataclass(slots=True)
class _Known:
    """What is known of one certificate; times in epoch seconds."""

    issued: Issued
    answer: OCSPAnswer | None = None
    ask_again_at: float = 0.0
    failures: int = 0
    failure: str = "not asked yet"
    is_used: bool = True


class OCSPAnswers:
    """The answers of one configured responder, the most recently used ones kept."""

    def __init__(
        self,
        url: str,
        fetcher: Fetcher,
        *,
        clock: Callable[[], float],
        grace: timedelta = timedelta(0),
        look_up_seconds: float = LOOK_UP_SECONDS,
    ) -> None:
        self.url = url
        self._fetcher = fetcher
        self._clock = clock
        self._grace = grace
        self._look_up_seconds = look_up_seconds
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self.revocations = 0
        """How many answers said that a certificate is revoked."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, issued: Issued, *, at: datetime) -> OCSPAnswer | None:
        """The answer that speaks for that time, or one that says revoked, however old; else None."""
        known = self._known.get(_key(issued))
        if known is None or known.answer is None:
            return None
        known.is_used = True
        answer = known.answer
        is_usable = answer.is_revoked or answer.shortcoming_at(at, grace=self._grace) is None
        return answer if is_usable else None

    def failure(self, issued: Issued) -> str:
        """Why there is no answer, for people."""
        known = self._known.get(_key(issued))
        if known is None:
            return "the responder was not asked"
        return "the responder's last answer is too old" if known.answer is not None else known.failure

    async def look_up(self, issued: Issued) -> None:
        """Ask about a certificate that has no answer, and wait for it, two seconds at most. Never raises.

        All waiting callers share one question. After a failure nobody asks for some seconds.
        """
        key = _key(issued)
        if key not in self._running and self._clock() < self._entry(issued).ask_again_at:
            return
        await asyncio.wait([self._start(issued)], timeout=self._look_up_seconds)

    def expect(self, issued: Issued) -> None:
        """Have the next `refresh` ask about a certificate, unless it was asked about just now."""
        self._entry(issued).is_used = True

    def refresh(self) -> None:
        """Ask again, beside the requests, about certificates in use whose answers are half over."""
        now = self._clock()
        due = [
            known
            for key, known in self._known.items()
            if known.is_used and now >= known.ask_again_at and key not in self._running
        ]
        for known in due[: max(MAX_REFRESHES - len(self._running), 0)]:
            self._start(known.issued)

    async def aclose(self) -> None:
        """End the questions that are under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _entry(self, issued: Issued) -> _Known:
        key = _key(issued)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(issued)
            if len(self._known) > MAX_ANSWERS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known

    def _start(self, issued: Issued) -> asyncio.Task[None]:
        key = _key(issued)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._ask(self._entry(issued)))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return task

    async def _ask(self, known: _Known) -> None:
        known.is_used = False
        try:
            answer = await self._answer(known)
        except (SourceUnavailable, OCSPError, TimeoutError) as error:
            known.failure = str(error) or "no answer in time"
            known.ask_again_at = self._clock() + min(FIRST_BACK_OFF * 2**known.failures, MAX_BACK_OFF)
            known.failures = min(known.failures + 1, 10)
            _log.warning("%s: no usable OCSP answer: %s", self.url, known.failure)
            return
        except Exception:  # noqa: BLE001 # beside the requests nobody else would hear of it
            known.failure, known.ask_again_at = "an unforeseen error", self._clock() + MAX_BACK_OFF
            _log.exception("%s: an unforeseen error", self.url)
            return
        known.answer, known.failures = answer, 0
        self.revocations += answer.is_revoked
        now = self._clock()
        rest = (answer.next_update - datetime.fromtimestamp(now, UTC)).total_seconds()
        known.ask_again_at = now + min(max(rest / 2, min(rest, MIN_REFRESH)), MAX_REFRESH)

    async def _answer(self, known: _Known) -> OCSPAnswer:
        issued = known.issued
        question = ask(issued.certificate, issued.issuer, nonce=secrets.token_bytes(_NONCE_BYTES))
        encoding = await self._fetcher.ask_responder(self.url, question.encoding)
        answer = read_answer(question, encoding, at=datetime.fromtimestamp(self._clock(), UTC))
        if known.answer is not None and answer.this_update < known.answer.this_update:
            raise OCSPError("it is older than the one at hand: a replay")
        return answer


def _key(issued: Issued) -> _Key:
    return (issued.issuer_id, issued.certificate.serial_number)
