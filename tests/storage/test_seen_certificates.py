"""Certificates that were used: the contract that every adapter keeps."""

import asyncio
from dataclasses import replace

from mtls_as.server.certificate_use import CertificateUse
from mtls_as.storage import Storage, current, downgrade, upgrade
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client

YEAR = 365 * 86_400.0


def use(thumbprint: str = "a", client_id: str = "reports", at: float = 1_000.0, **other: object) -> CertificateUse:
    """One use of a certificate."""
    members = {
        "x5t_s256": thumbprint.ljust(43, "0"),
        "client_id": client_id,
        "authentication_method": "tls_client_auth",
        "trust": "default",
        "subject": "CN=reports,O=Bücher\\, Zeitungen",
        "issuer": "CN=CA",
        "serial_number": "ff" * 20,
        "not_after": YEAR,
        "first_used_at": at,
        "last_used_at": at,
        "count": 1,
    }
    return CertificateUse(**(members | other))  # type: ignore[arg-type] # members of several types


async def recorded(storage: Storage) -> list[CertificateUse]:
    return [seen.use for seen in await storage.seen_certificates.list()]


async def test_a_use_is_remembered_as_it_was(storage: Storage) -> None:
    """Every member survives."""
    await storage.seen_certificates.record([use(trust=None)])
    assert await recorded(storage) == [use(trust=None)]


async def test_uses_add_up(storage: Storage) -> None:
    """Within a batch, and over several."""
    await storage.seen_certificates.record([use(at=10.0), use(at=20.0)])
    await storage.seen_certificates.record([use(at=40.0, trust="other"), use("b", at=50.0)])
    assert await recorded(storage) == [
        use(first_used_at=10.0, last_used_at=40.0, count=3, trust="other"),
        use("b", at=50.0),
    ]


async def test_a_late_writer_does_not_set_the_last_use_back(storage: Storage) -> None:
    """Workers write when they get to it."""
    await storage.seen_certificates.record([use(at=40.0)])
    await storage.seen_certificates.record([use(at=20.0)])
    assert await recorded(storage) == [use(first_used_at=20.0, last_used_at=40.0, count=2)]


async def test_one_certificate_may_serve_two_clients(storage: Storage) -> None:
    """Each has its own row."""
    await storage.seen_certificates.record([use(client_id="x"), use(client_id="y")])
    assert await recorded(storage) == [use(client_id="x"), use(client_id="y")]
    assert await storage.seen_certificates.last_uses(use().x5t_s256) == {
        "x": use(client_id="x"),
        "y": use(client_id="y"),
    }


async def test_the_longest_of_names_is_remembered(storage: Storage) -> None:
    """A trust domain of SPIFFE (SPIFFE-ID §2.1), a client's name, and a serial number (RFC 5280 §4.1.2.2)."""
    longest = use(
        "a" * 43, "c" * 256, trust="spiffe://" + "t" * 255, serial_number="f" * 42, subject="CN=" + "s" * 9_000
    )
    await storage.seen_certificates.record([longest])
    (seen,) = await storage.seen_certificates.list()
    assert seen.use == longest


async def test_a_batch_may_be_large(storage: Storage) -> None:
    """More rows than a statement takes parameters."""
    await storage.seen_certificates.record([use(f"{number:04}") for number in range(1_000)])
    await storage.seen_certificates.record([use(f"{number:04}") for number in range(1_000)])
    counts = [seen.count for seen in await recorded(storage)]
    assert counts == [2] * 1_000


async def test_several_writers_lose_nothing(storage: Storage) -> None:
    """Each worker records what it saw."""
    await asyncio.gather(*(storage.seen_certificates.record([use(at=float(n))]) for n in range(1, 9)))
    assert await recorded(storage) == [use(first_used_at=1.0, last_used_at=8.0, count=8)]


async def test_recording_does_not_move_the_revision(storage: Storage) -> None:
    """A use must not empty the memory of every node."""
    before = await storage.revision()
    await storage.seen_certificates.record([use()])
    await storage.seen_certificates.prune(ended_before=2 * YEAR, replaced_before=0.0, keep=1)
    assert await storage.revision() == before


async def test_the_soonest_to_end_stands_first(storage: Storage) -> None:
    """Whatever the order of use."""
    await storage.seen_certificates.record([use("a", not_after=3.0), use("b", not_after=1.0), use("c", not_after=2.0)])
    assert [seen.not_after for seen in await recorded(storage)] == [1.0, 2.0, 3.0]


async def test_a_certificate_is_replaced_once_a_longer_one_came_after_its_last_use(storage: Storage) -> None:
    """A renewal, and not a neighbouring instance with a certificate of its own."""
    old, renewed = use("old", at=100.0, not_after=500.0), use("new", at=200.0, not_after=900.0)
    neighbour = replace(old, x5t_s256="neighbour".ljust(43, "0"), last_used_at=300.0)
    other_client = use("other", client_id="billing", at=100.0, not_after=500.0)
    await storage.seen_certificates.record([old, renewed, neighbour, other_client])
    replaced = {seen.use.x5t_s256.rstrip("0"): seen.replaced for seen in await storage.seen_certificates.list()}
    assert replaced == {"old": True, "neighbour": False, "new": False, "other": False}
    assert await storage.seen_certificates.soonest_by_client(10) == (("billing", 500.0), ("reports", 500.0))


async def test_the_most_urgent_clients_stand_first_and_the_rest_is_left_out(storage: Storage) -> None:
    """Metrics have a bound."""
    await storage.seen_certificates.record([use(f"{n}", client_id=f"c{n}", not_after=float(n)) for n in range(1, 6)])
    assert await storage.seen_certificates.soonest_by_client(2) == (("c1", 1.0), ("c2", 2.0))


async def test_ended_certificates_are_forgotten(storage: Storage) -> None:
    """Only those that ended before the given time."""
    await storage.seen_certificates.record([use("a", not_after=10.0), use("b", not_after=20.0)])
    assert await storage.seen_certificates.prune(ended_before=20.0, replaced_before=0.0, keep=100) == 1
    assert await recorded(storage) == [use("b", not_after=20.0)]


async def test_of_what_was_replaced_an_end_is_soon_forgotten(storage: Storage) -> None:
    """Each renewal leaves a certificate behind; the last one of a client is remembered all the same."""
    renewals = [use(f"{n}", at=100.0 * n, not_after=100.0 * n + 150) for n in range(1, 6)]
    lost = use("x", client_id="gone", at=100.0, not_after=250.0)
    await storage.seen_certificates.record([*renewals, lost])
    assert await storage.seen_certificates.prune(ended_before=0.0, replaced_before=400.0, keep=100) == 2
    assert await recorded(storage) == [lost, *renewals[2:]]
    assert await storage.seen_certificates.prune(ended_before=0.0, replaced_before=9_000.0, keep=100) == 2
    assert await recorded(storage) == [lost, renewals[4]]


async def test_the_table_is_bounded(storage: Storage) -> None:
    """The least recently used ones go."""
    await storage.seen_certificates.record([use(f"{n}", at=float(n)) for n in range(1, 6)])
    assert await storage.seen_certificates.prune(ended_before=0.0, replaced_before=0.0, keep=2) == 3
    assert [seen.last_used_at for seen in await recorded(storage)] == [4.0, 5.0]
    assert await storage.seen_certificates.prune(ended_before=0.0, replaced_before=0.0, keep=2) == 0


async def test_the_table_goes_and_comes_with_its_version(url: str) -> None:
    """Down to 0001 and up again, with clients in the database."""
    async with opened(url) as storage:
        await storage.clients.add(client())
        await storage.seen_certificates.record([use()])
    downgrade(url, "0001")
    assert current(url) == "0001"
    upgrade(url)
    async with opened(url) as storage:
        assert await recorded(storage) == []
        assert await storage.clients.list() == (client(),)
