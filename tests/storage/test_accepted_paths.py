"""Stored paths: the contract that every adapter keeps."""

import asyncio

import pytest

from mtls_as.server.accepted_path import StoredPath
from mtls_as.storage import Storage, current, downgrade, upgrade
from mtls_as.storage.accepted_paths import FORGET_AFTER
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client


def path(name: str = "a", *, trust: str = "partner", at: float = 1_000.0, der: bytes = b"\x30\x00") -> StoredPath:
    return StoredPath(trust=trust, x5t_s256=name * 43, path=der, last_used_at=at - 1, stored_at=at)


async def test_the_latest_path_of_each_certificate_is_remembered(storage: Storage, url: str) -> None:
    """For every node, by trust domain."""
    await storage.accepted_paths.record([path(), path("b"), path(trust="other")])
    await storage.accepted_paths.record([path(at=2_000.0, der=b"\x30\x01\x00")])
    async with opened(url) as other:
        found = await other.accepted_paths.stored_since("partner", 0, before=None, limit=9)
    assert found == (path(at=2_000.0, der=b"\x30\x01\x00"), path("b"))
    await storage.accepted_paths.record([])


async def test_pages_go_from_the_latest_to_the_time_that_was_asked_for(storage: Storage) -> None:
    """None is left out and none comes twice, also of those that were stored at the same time."""
    paths = [path(name, at=at) for name, at in zip("abcdefgh", [5.0, 1.0, 3.0, 3.0, 3.0, 2.0, 9.0, 0.5], strict=True)]
    await storage.accepted_paths.record(paths)
    pages, last = list[StoredPath](), None
    while page := await storage.accepted_paths.stored_since("partner", 1.0, before=last, limit=2):
        pages += page
        last = page[-1]
    assert "".join(each.x5t_s256[0] for each in pages) == "gaedcfb"


async def test_nodes_may_store_the_same_at_once(storage: Storage, url: str) -> None:
    """One of them is the last."""
    async with opened(url) as other:
        batches = [[path(name, at=at) for name in "abc"] for at in (1.0, 2.0, 3.0, 4.0)]
        stores = [storage.accepted_paths, other.accepted_paths] * 2
        await asyncio.gather(*(store.record(batch) for store, batch in zip(stores, batches, strict=True)))
        assert len(await other.accepted_paths.stored_since("partner", 0, before=None, limit=9)) == 3


async def test_paths_move_no_revision_and_are_forgotten(storage: Storage) -> None:
    """Long after the last token of theirs has ended."""
    before = await storage.revision()
    await storage.accepted_paths.record([path(), path("b", at=2_000.0)])
    await storage.accepted_paths.prune(ended_before=1_000.0 + FORGET_AFTER)
    assert len(await storage.accepted_paths.stored_since("partner", 0, before=None, limit=9)) == 2
    await storage.accepted_paths.prune(ended_before=1_000.1 + FORGET_AFTER)
    assert await storage.accepted_paths.stored_since("partner", 0, before=None, limit=9) == (path("b", at=2_000.0),)
    assert await storage.revision() == before


@pytest.mark.parametrize("version", ["0007"])
async def test_the_table_goes_and_comes_with_its_version(url: str, version: str) -> None:
    """Down and up again, with clients in the database."""
    async with opened(url) as storage:
        await storage.clients.add(client())
        await storage.accepted_paths.record([path()])
    downgrade(url, version)
    assert current(url) == version
    upgrade(url)
    async with opened(url) as storage:
        assert await storage.accepted_paths.stored_since("partner", 0, before=None, limit=9) == ()
        assert await storage.clients.list() == (client(),)
