"""Which certificates authenticate which clients, noted in memory as requests end and stored in the background."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.server.certificate_use import CertificateUse, CertificateUseStore
from mtls_as.server.events import RequestEvent
from mtls_as.server.ports import Clock, StorageUnavailable

FLUSH_SECONDS: Final = 5.0
PRUNE_SECONDS: Final = 3600.0
MAX_PENDING: Final = 2_000
"""Pairs of a certificate and a client between two flushes."""
RETENTION_SECONDS: Final = 90 * 86_400.0
"""How long a certificate that has ended is remembered."""
REPLACED_SECONDS: Final = 86_400.0
"""And if its client has replaced it: clients that come with another each hour leave 24 of them, and not thousands."""
MAX_REMEMBERED: Final = 100_000
_LAST_FLUSH_SECONDS: Final = 5.0
_BATCH: Final = 200

_diagnostics = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    certificate: Certificate
    authentication_method: str
    trust: str | None
    first_used_at: float
    last_used_at: float
    count: int = 0


class CertificateUses:
    """Takes events, and stores the uses among them: an `EventSink` that only notes, and a task that writes.

    A request never waits for it. While the storage does not answer, uses are kept up to a bound; what does not fit is
    counted in `lost`, and the first loss of a row is logged.
    """

    def __init__(
        self,
        store: CertificateUseStore,
        *,
        clock: Clock,
        count_lost: Callable[[int], None] = lambda _count: None,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._store = store
        self._clock = clock
        self._count_lost = count_lost
        self._max_pending = max_pending
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._prune_at = 0.0
        self._is_losing = False
        self._is_failing = False
        self.lost = 0
        """Uses that were not stored, since the start."""

    def __call__(self, event: RequestEvent) -> None:
        """Note a use, if a certificate authenticated the client of this request."""
        certificate, client_id, method = event.certificate, event.client_id, event.authentication_method
        if certificate is None or event.certificate_thumbprint is None or client_id is None or method is None:
            return
        now = self._clock()
        key = (event.certificate_thumbprint, client_id)
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= self._max_pending:
                self._lose(1)
                return
            pending = self._pending[key] = _Pending(certificate, method, event.trust, now, now)
        pending.last_used_at = now
        pending.count += 1

    @contextlib.asynccontextmanager
    async def storing(self, *, every: float = FLUSH_SECONDS) -> AsyncIterator[None]:
        """Store what was noted every few seconds, and once more at the end."""
        task = asyncio.create_task(self._store_repeatedly(every))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.flush(), _LAST_FLUSH_SECONDS)
            self._lose(sum(pending.count for pending in self._pending.values()))

    async def flush(self) -> None:
        """Store what was noted so far. If the storage does not answer, it stays noted."""
        try:
            while self._pending:
                await self._store_batch()
            self._is_losing = self._is_failing = False
        except StorageUnavailable as error:
            if not self._is_failing:
                _diagnostics.warning("the uses of certificates cannot be stored now, and are kept in memory: %s", error)
            self._is_failing = True

    async def prune(self) -> None:
        """Forget what ended long ago, once in a while."""
        now = self._clock()
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        with contextlib.suppress(StorageUnavailable):
            await self._store.prune(
                ended_before=now - RETENTION_SECONDS, replaced_before=now - REPLACED_SECONDS, keep=MAX_REMEMBERED
            )

    async def _store_repeatedly(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await self.flush()
                await self.prune()
            except Exception:  # noqa: BLE001 # whatever happens here, later uses are to be stored all the same
                _diagnostics.exception("the uses of certificates could not be stored")

    async def _store_batch(self) -> None:
        keys = list(self._pending)[:_BATCH]
        batch = {key: self._pending.pop(key) for key in keys}
        try:
            await self._store.record([_use(client_id, pending) for (_, client_id), pending in batch.items()])
        except (StorageUnavailable, asyncio.CancelledError):
            self._take_back(batch)
            raise
        except Exception:
            # What the storage can never take must not keep the rest from it.
            self._lose(sum(pending.count for pending in batch.values()))
            raise

    def _take_back(self, batch: dict[tuple[str, str], _Pending]) -> None:
        for key, pending in batch.items():
            later = self._pending.get(key)
            if later is not None:
                later.first_used_at = pending.first_used_at
                later.count += pending.count
            elif len(self._pending) < self._max_pending:
                self._pending[key] = pending
            else:
                self._lose(pending.count)

    def _lose(self, count: int) -> None:
        if not count:
            return
        self.lost += count
        self._count_lost(count)
        if not self._is_losing:
            self._is_losing = True
            _diagnostics.error("uses of certificates are lost: more of them than memory is meant to hold")


def _use(client_id: str, pending: _Pending) -> CertificateUse:
    return CertificateUse.of(
        pending.certificate,
        client_id=client_id,
        authentication_method=pending.authentication_method,
        trust=pending.trust,
        first_used_at=pending.first_used_at,
        last_used_at=pending.last_used_at,
        count=pending.count,
    )
