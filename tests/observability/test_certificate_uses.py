"""Uses of certificates: noted at once, stored later, and never in the way of a request."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from mtls_as.observability.certificate_uses import PRUNE_SECONDS, REPLACED_SECONDS, RETENTION_SECONDS, CertificateUses
from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.certificate_use import CertificateUse
from mtls_as.server.events import RequestEvent
from mtls_as.server.ports import StorageUnavailable
from tests.authority import Authority

AUTHORITY = Authority.create("Test CA")


def certificate(name: str = "client") -> Certificate:
    return parse_certificate(AUTHORITY.issue(name).der)


def event(used: Certificate | None, client_id: str | None = "c1") -> RequestEvent:
    """The event of a token request that was answered."""
    return RequestEvent(
        endpoint="token",
        client_id=client_id,
        authentication_method="tls_client_auth" if client_id else None,
        trust="default" if client_id else None,
        certificate=used,
        certificate_thumbprint=x5t_s256(used.der) if used else None,
    )


class Store:
    """A storage that can fail."""

    def __init__(self) -> None:
        self.batches: list[list[CertificateUse]] = []
        self.pruned: list[tuple[float, float]] = []
        self.error: Exception | None = None

    @property
    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for use in (use for batch in self.batches for use in batch):
            found[use.client_id] = found.get(use.client_id, 0) + use.count
        return found

    async def record(self, uses: Sequence[CertificateUse]) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.batches.append(list(uses))

    async def prune(self, *, ended_before: float, replaced_before: float, keep: int) -> int:
        self.pruned.append((ended_before, replaced_before))
        return 0


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def uses(store: Store, clock: Clock) -> CertificateUses:
    return CertificateUses(store, clock=clock, max_pending=3)


async def test_what_was_used_is_stored_with_what_the_certificate_says(
    uses: CertificateUses, store: Store, clock: Clock
) -> None:
    """Subject, issuer, serial number, end, first and last use."""
    used = certificate()
    uses(event(used))
    clock.now += 7
    uses(event(used))
    await uses.flush()
    assert store.batches == [
        [
            CertificateUse(
                x5t_s256=x5t_s256(used.der),
                client_id="c1",
                authentication_method="tls_client_auth",
                trust="default",
                subject="CN=client",
                issuer="CN=Test CA",
                serial_number=f"{used.serial_number:x}",
                not_after=used.not_after.timestamp(),
                first_used_at=clock.now - 7,
                last_used_at=clock.now,
                count=2,
            )
        ]
    ]
    await uses.flush()
    assert len(store.batches) == 1


@pytest.mark.parametrize("unproved", [event(None), event(certificate(), None)])
async def test_only_certificates_that_authenticated_a_client_are_stored(
    uses: CertificateUses, store: Store, unproved: RequestEvent
) -> None:
    """A stranger with a thousand certificates fills no table."""
    uses(unproved)
    await uses.flush()
    assert store.batches == []


async def test_a_full_queue_counts_the_loss_and_logs_it_once(
    uses: CertificateUses, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """What is noted already still counts on."""
    used = certificate()
    for name in ("a", "b", "c", "d", "e", "a"):
        uses(event(used, name))
    assert uses.lost == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    await uses.flush()
    assert store.counts == {"a": 2, "b": 1, "c": 1}


async def test_a_failing_storage_delays_and_loses_nothing_within_the_bound(
    uses: CertificateUses, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Uses wait in memory, and one line says so."""
    store.error = StorageUnavailable("is locked")
    for name in ("a", "b"):
        uses(event(certificate(), name))
        await uses.flush()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is locked" in caplog.text
    store.error = None
    await uses.flush()
    assert store.counts == {"a": 1, "b": 1}
    assert uses.lost == 0


async def test_uses_during_a_write_that_fails_are_added(uses: CertificateUses, store: Store, clock: Clock) -> None:
    """Neither is forgotten, and the first use stays the first."""
    used = certificate()
    uses(event(used))
    store.error = StorageUnavailable("is locked")
    flushing = asyncio.create_task(uses.flush())
    await asyncio.sleep(0)
    clock.now += 5
    uses(event(used))
    await flushing
    store.error = None
    await uses.flush()
    assert [(use.count, use.last_used_at - use.first_used_at) for use in store.batches[0]] == [(2, 5.0)]


async def test_what_the_storage_can_never_take_does_not_stop_the_rest(
    uses: CertificateUses, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The task goes on after an error that nobody foresaw."""
    async with uses.storing(every=0.001):
        store.error = ValueError("unforeseen")
        uses(event(certificate(), "a"))
        await asyncio.sleep(0.05)
        assert uses.lost == 1
        store.error = None
        uses(event(certificate(), "b"))
    assert store.counts == {"b": 1}
    assert "unforeseen" in caplog.text


async def test_the_rest_is_stored_at_the_end(uses: CertificateUses, store: Store) -> None:
    """A shutdown waits for it, and for nothing else."""
    async with uses.storing(every=3600):
        uses(event(certificate()))
    assert store.counts == {"c1": 1}


async def test_a_storage_that_fails_at_the_end_is_no_error(uses: CertificateUses, store: Store) -> None:
    """The server ends, and the loss is counted."""
    async with uses.storing(every=3600):
        uses(event(certificate()))
        store.error = StorageUnavailable("is gone")
    assert uses.lost == 1


async def test_old_entries_are_pruned_once_an_hour(uses: CertificateUses, store: Store, clock: Clock) -> None:
    """Ended for 90 days."""
    start = clock.now
    for _ in range(3):
        await uses.prune()
    clock.now += PRUNE_SECONDS
    await uses.prune()
    assert store.pruned == [(at - RETENTION_SECONDS, at - REPLACED_SECONDS) for at in (start, start + PRUNE_SECONDS)]
