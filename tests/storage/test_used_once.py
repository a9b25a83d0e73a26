"""What may be used once: the contract that every adapter of `ReplayStore` keeps."""

import asyncio

import pytest

from mtls_as.server.ports import StorageUnavailable
from mtls_as.storage import Storage
from mtls_as.storage.used_once import UsedOnceRepository
from tests.storage.conftest import opened


async def test_the_first_use_is_told_from_the_second(storage: Storage) -> None:
    assert await storage.used_once.use("a", 100.0) is True
    assert await storage.used_once.use("a", 100.0) is False
    assert await storage.used_once.use("a", 200.0) is False
    assert await storage.used_once.use("b", 100.0) is True


@pytest.mark.parametrize("key", ["", "a\0b", "ä" * 5_000, "\ud800", "' OR 1=1 --"])
async def test_any_text_is_a_key(storage: Storage, key: str) -> None:
    assert await storage.used_once.use(key, 1.0) is True
    assert await storage.used_once.use(key, 1.0) is False


async def test_of_many_at_the_same_time_one_is_the_first(url: str) -> None:
    """Over several connections, as several nodes have them."""
    async with opened(url) as one, opened(url) as other:
        results = await asyncio.gather(*((one, other)[n % 2].used_once.use("a", 1.0) for n in range(20)))
    assert sorted(results) == [False] * 19 + [True]


async def test_a_use_survives_a_restart(url: str) -> None:
    async with opened(url) as storage:
        assert await storage.used_once.use("a", 1.0)
    async with opened(url) as storage:
        assert not await storage.used_once.use("a", 1.0)


async def test_a_use_moves_no_revision(storage: Storage) -> None:
    """No other node has to read its keys and clients again for it."""
    before = await storage.revision()
    await storage.used_once.use("a", 1.0)
    await storage.used_once.prune(ended_before=2.0)
    assert await storage.revision() == before


async def test_only_what_has_ended_is_forgotten(storage: Storage) -> None:
    for number in range(10):
        await storage.used_once.use(str(number), float(number))
    await storage.used_once.prune(ended_before=5.0)
    assert [await storage.used_once.use(str(number), 9.0) for number in range(10)] == [True] * 5 + [False] * 5


async def test_many_are_forgotten_in_steps(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtls_as.storage.used_once._BATCH", 3)
    for number in range(10):
        await storage.used_once.use(str(number), 1.0)
    await storage.used_once.prune(ended_before=2.0)
    assert all([await storage.used_once.use(str(number), 1.0) for number in range(10)])


async def test_where_there_is_no_room_nothing_is_let_in(storage: Storage) -> None:
    """Forgetting what has ended makes room again."""
    repository = UsedOnceRepository(storage._transactions, max_uses=2)
    assert [await repository.use(key, 10.0) for key in "ab"] == [True, True]
    await repository.prune(ended_before=5.0)
    with pytest.raises(StorageUnavailable, match="no more"):
        await repository.use("c", 10.0)
    await repository.prune(ended_before=11.0)
    assert await repository.use("c", 20.0) is True
