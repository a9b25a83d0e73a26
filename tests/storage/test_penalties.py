"""Stored penalties: the contract that every adapter keeps."""

import asyncio

from mtls_as.server.penalties import Penalty, PenaltyKind
from mtls_as.storage import Storage, current, downgrade, upgrade
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client


def penalty(value: str = "192.0.2.1", until: float = 1_060.0, kind: PenaltyKind = PenaltyKind.ADDRESS) -> Penalty:
    return Penalty(kind=kind, value=value, until=until)


async def test_penalties_are_there_for_all_nodes_until_they_end(storage: Storage, url: str) -> None:
    """The last to end first, and no more than were asked for."""
    before = await storage.revision()
    certificate = penalty("x" * 43, 1_100.0, PenaltyKind.CERTIFICATE)
    await storage.penalties.add([penalty(), certificate, penalty("2001:db8::/64", 1_010.0)])
    async with opened(url) as other:
        assert await other.penalties.after(1_010.0, limit=9) == (certificate, penalty())
        assert await other.penalties.after(1_010.0, limit=1) == (certificate,)
        assert await other.penalties.after(1_100.0, limit=9) == ()
    assert await storage.revision() == before


async def test_the_later_end_counts(storage: Storage) -> None:
    """Whichever node writes last."""
    await storage.penalties.add([penalty(until=1_060.0)])
    await storage.penalties.add([penalty(until=1_090.0)])
    await storage.penalties.add([penalty(until=1_070.0)])
    assert await storage.penalties.after(0, limit=9) == (penalty(until=1_090.0),)


async def test_nodes_may_write_the_same_at_once(storage: Storage, url: str) -> None:
    """Nothing fails."""
    async with opened(url) as other:
        stores = [storage.penalties, other.penalties] * 3
        await asyncio.gather(*(store.add([penalty(until=1_000.0 + n)]) for n, store in enumerate(stores)))
        assert await other.penalties.after(0, limit=9) == (penalty(until=1_005.0),)


async def test_ended_ones_are_forgotten(storage: Storage) -> None:
    """And no others."""
    await storage.penalties.add([penalty()])
    await storage.penalties.prune(ended_before=1_060.0)
    assert len(await storage.penalties.after(0, limit=9)) == 1
    await storage.penalties.prune(ended_before=1_061.0)
    assert await storage.penalties.after(0, limit=9) == ()


async def test_the_table_goes_and_comes_with_its_version(url: str) -> None:
    """Down and up again, with clients in the database."""
    async with opened(url) as storage:
        await storage.clients.add(client())
        await storage.penalties.add([penalty()])
    downgrade(url, "0010")
    assert current(url) == "0010"
    upgrade(url)
    async with opened(url) as storage:
        assert await storage.penalties.after(0, limit=9) == ()
        assert await storage.clients.list() == (client(),)
