"""Ends the tokens that are bound to certificates which their CA revoked, in the trust domains that ask for it.

Beside the requests, in every process: (1) a certificate that a request came with and that is revoked; (2) each one that
may have live tokens, whenever a list has come or a responder has said `revoked`: the certificates are looked up in the
list, and not its entries among the certificates. What was found is a revocation as any other: durable, on all nodes,
for good. That the CA takes a hold back gives the old tokens no new life, and new tokens are not touched.

Paths are stored some seconds after their first use. A process that is killed before, and only of certificates that
were not used in the day before, leaves tokens that end here only when their certificate comes again.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final
from weakref import WeakKeyDictionary

from mtls_as.pki.accepted_paths import NOTE_AGAIN, AcceptedPath, AcceptedPaths, read_path
from mtls_as.pki.ocsp_answers import MAX_ANSWERS
from mtls_as.pki.revocation import DomainRevocation
from mtls_as.pki.revocation import Revocation as CertificateRevocation
from mtls_as.pki.revocation_policy import Issued
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.server.accepted_path import AcceptedPathStore, StoredPath
from mtls_as.server.ports import Clock, StorageUnavailable
from mtls_as.server.revocation import LONGEST_LIFE, Revocation, RevocationKind
from mtls_as.server.revocations import Revocations

ROUND_SECONDS: Final = 1.0
STORE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 60.0
"""How often certificates are looked at although nothing has changed: what other nodes stored, and OCSP answers."""
LATE_SECONDS: Final = 120.0
"""How late the clock of another node may be, together with the time that a sweep takes."""
_PAGE: Final = 200
_LAST_SECONDS: Final = 5.0

_diagnostics = logging.getLogger(__name__)


class RevokedCertificates:
    """Follows the trust domains whose revocations end tokens. On one event loop."""

    def __init__(
        self, certificates: CertificateRevocation, store: AcceptedPathStore, revocations: Revocations, *, clock: Clock
    ) -> None:
        self._certificates = certificates
        self._store = store
        self._revocations = revocations
        self._clock = clock
        self._swept: WeakKeyDictionary[DomainRevocation, tuple[int, float]] = WeakKeyDictionary()
        self._store_at = 0.0
        self.ended = 0
        """Certificates whose tokens this process has ended."""

    @contextlib.asynccontextmanager
    async def following(self, *, every: float = ROUND_SECONDS) -> AsyncIterator[None]:
        """Do a round every so many seconds within the block, and store what is left at its end."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._follow(stop, every))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait([task], timeout=_LAST_SECONDS)  # what is under way ends, if it is no large sweep
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with contextlib.suppress(TimeoutError, StorageUnavailable):
                await asyncio.wait_for(self._store_accepted(), _LAST_SECONDS)

    async def round(self) -> None:
        """Store what was accepted, and end the tokens of what is revoked. Raises `StorageUnavailable`."""
        domains = [domain for domain in self._certificates.domains() if domain.paths is not None]
        before = self.ended
        await self._end_shown()
        now = self._clock()
        due = [domain for domain in domains if self._is_due(domain, now)]
        if due or now >= self._store_at:
            await self._store_accepted()
            self._store_at = now + STORE_SECONDS
        for domain in due:
            await self._sweep(domain)
        if self.ended > before:
            _diagnostics.warning("the tokens of %d certificates have ended: their CA revoked them", self.ended - before)

    async def _follow(self, stop: asyncio.Event, every: float) -> None:
        while not stop.is_set():
            try:
                await self.round()
            except StorageUnavailable as error:
                _diagnostics.warning("the tokens of revoked certificates cannot be ended now, but will be: %s", error)
            except Exception:  # noqa: BLE001 # the next round may go well, and revocations must be followed
                _diagnostics.exception("revoked certificates could not be followed: an unforeseen error")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await stop.wait()

    async def _store_accepted(self) -> None:
        for name, notes in self._certificates.accepted_paths():
            accepted = notes.take_accepted()
            paths = [self._stored(name, sha256, path) for sha256, path in accepted.items()]
            try:
                for start in range(0, len(paths), _PAGE):
                    await self._store.record(paths[start : start + _PAGE])
            except (StorageUnavailable, asyncio.CancelledError):
                notes.put_back(accepted)
                raise

    def _stored(self, trust: str, sha256: bytes, accepted: AcceptedPath) -> StoredPath:
        return StoredPath(
            trust=trust,
            x5t_s256=encode_base64url(sha256),
            path=accepted.encoding,
            last_used_at=accepted.at.timestamp(),
            stored_at=self._clock(),
        )

    async def _end_shown(self) -> None:
        """What it may have been used for before does not matter, and may not be known."""
        for _, notes in self._certificates.accepted_paths():
            shown = notes.take_revoked()
            try:
                for sha256 in shown:
                    await self._end(sha256, notes, used_at=float("-inf"))
            except (StorageUnavailable, asyncio.CancelledError):
                notes.put_back_revoked(shown)
                raise

    async def _end(self, sha256: bytes, notes: AcceptedPaths, *, used_at: float) -> None:
        """End the tokens of a certificate, unless those of its last use have ended already."""
        thumbprint = encode_base64url(sha256)
        known = self._revocations.known(RevocationKind.CERTIFICATE, thumbprint)
        if known is None or known.issued_before <= used_at:
            await self._revocations.revoke(Revocation.of_certificate(thumbprint, before=self._clock()))
            self.ended += 1
        notes.forget(sha256)

    def _is_due(self, domain: DomainRevocation, now: float) -> bool:
        version, at = self._swept.get(domain, (-1, float("-inf")))
        return version != domain.version or not at <= now < at + SWEEP_SECONDS

    async def _sweep(self, domain: DomainRevocation) -> None:
        """Look at every certificate that may have live tokens; if nothing has changed, at those that are new."""
        version, now = domain.version, self._clock()
        swept_version, swept_at = self._swept.get(domain, (-1, float("-inf")))
        since = now - LONGEST_LIFE - NOTE_AGAIN.total_seconds()
        if version == swept_version and domain.answers is None:
            since = max(since, swept_at - LATE_SECONDS)
        seen, last = 0, None
        while page := await self._store.stored_since(domain.name, since, before=last, limit=_PAGE):
            seen, last = seen + len(page), page[-1]
            await self._judge(domain, page, ask=seen <= MAX_ANSWERS)
            if len(page) < _PAGE:
                break
        self._swept[domain] = (version, now)

    async def _judge(self, domain: DomainRevocation, page: Sequence[StoredPath], *, ask: bool) -> None:
        paths = await asyncio.to_thread(lambda: [_read(stored) for stored in page])
        at = datetime.fromtimestamp(self._clock(), UTC)
        for stored, path in zip(page, paths, strict=True):
            if path and domain.paths is not None and domain.is_revoked(path, at=at, ask=ask):
                await self._end(path[0].certificate.sha256, domain.paths, used_at=stored.last_used_at)


def _read(stored: StoredPath) -> Sequence[Issued]:
    try:
        return read_path(stored.path)
    except Exception:  # noqa: BLE001 # one row that nobody can read must not keep the others from being judged
        _diagnostics.exception("the stored path of the certificate %s cannot be read", stored.x5t_s256)
        return ()
