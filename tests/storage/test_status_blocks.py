"""Blocks of status indices: the contract that every adapter keeps."""

import asyncio

import pytest

from mtls_as.server.revocation import LONGEST_LIFE
from mtls_as.server.status_block import BLOCK_SECONDS, IssuedRecord, pack
from mtls_as.storage import Storage, current, downgrade, upgrade
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client

LEASED = 1_000.0
ALL = range(100)


def records(*clients: str) -> bytes:
    return pack(IssuedRecord(name, None, 1_001, 1_301) for name in clients)


async def test_no_two_leases_are_of_one_block(storage: Storage, url: str) -> None:
    """Of two nodes at once."""
    async with opened(url) as other:
        stores = [storage.status_blocks, other.status_blocks] * 5
        numbers = await asyncio.gather(*(store.lease(at=LEASED) for store in stores))
        assert sorted(numbers) == list(range(10))
        assert await other.status_blocks.numbers() == tuple(range(10))


async def test_what_was_recorded_is_there_for_every_node(storage: Storage, url: str) -> None:
    """In the order of offsets; without `used` more may follow."""
    number = await storage.status_blocks.lease(at=LEASED)
    await storage.status_blocks.record(number, first=0, records=records("a", "b"), ends_at=1_301, used=None)
    await storage.status_blocks.record(number, first=2, records=records("c"), ends_at=1_301, used=None)
    async with opened(url) as other:
        (block,) = await other.status_blocks.blocks(ALL)
        assert (block.number, block.leased_at, block.used) == (number, LEASED, None)
        assert block.records == records("a", "b", "c")
        assert block.unexplained == range(3, 8_192)
        await storage.status_blocks.record(number, first=3, records=b"", ends_at=1_301, used=3)
        (block,) = await other.status_blocks.blocks(ALL)
        assert (block.used, list(block.unexplained)) == (3, [])


async def test_recording_again_replaces(storage: Storage) -> None:
    """A node that does not know whether it was heard says the same again, and perhaps more."""
    number = await storage.status_blocks.lease(at=LEASED)
    await storage.status_blocks.record(number, first=0, records=records("a"), ends_at=1_301, used=None)
    await storage.status_blocks.record(number, first=1, records=records("b"), ends_at=1_301, used=None)
    await storage.status_blocks.record(number, first=1, records=records("b", "c"), ends_at=1_301, used=3)
    (block,) = await storage.status_blocks.blocks(ALL)
    assert (block.records, block.used) == (records("a", "b", "c"), 3)


async def test_only_the_blocks_of_a_list_are_read(storage: Storage) -> None:
    """Sixteen of them belong together."""
    for _ in range(20):
        await storage.status_blocks.lease(at=LEASED)
    assert [block.number for block in await storage.status_blocks.blocks(range(16, 32))] == [16, 17, 18, 19]
    assert await storage.status_blocks.blocks(range(32, 48)) == ()
    await storage.status_blocks.record(16, first=0, records=records("a"), ends_at=1_301, used=1)
    for without, expected in (((), 1), ((16, 17), 0)):
        first, *_ = await storage.status_blocks.blocks(range(16, 32), without_records=without)
        assert (first.number, first.used, first.recorded) == (16, 1, expected)


async def test_blocks_are_forgotten_after_their_last_token(storage: Storage) -> None:
    """Closed ones then, open ones when none of theirs can live; the highest number stays, so that none comes twice."""
    before = await storage.revision()
    for _ in range(3):
        await storage.status_blocks.lease(at=LEASED)
    await storage.status_blocks.record(0, first=0, records=records("a"), ends_at=1_301, used=1)
    await storage.status_blocks.record(1, first=0, records=records("a"), ends_at=1_301, used=None)
    await storage.status_blocks.prune(ended_before=1_301 + 3_600)
    assert await storage.status_blocks.numbers() == (0, 1, 2)
    await storage.status_blocks.prune(ended_before=1_302 + 3_600)
    assert await storage.status_blocks.numbers() == (1, 2)
    await storage.status_blocks.prune(ended_before=LEASED + BLOCK_SECONDS + LONGEST_LIFE + 3_601)
    assert await storage.status_blocks.numbers() == (2,)
    assert await storage.status_blocks.lease(at=LEASED) == 3
    assert await storage.revision() == before


@pytest.mark.parametrize("version", ["0008"])
async def test_the_tables_go_and_come_with_their_version(url: str, version: str) -> None:
    """Down and up again, with clients in the database."""
    async with opened(url) as storage:
        await storage.clients.add(client())
        await storage.status_blocks.lease(at=LEASED)
        await storage.status_blocks.record(0, first=0, records=records("a"), ends_at=1_301, used=None)
    downgrade(url, version)
    assert current(url) == version
    upgrade(url)
    async with opened(url) as storage:
        assert await storage.status_blocks.numbers() == ()
        assert await storage.clients.list() == (client(),)
