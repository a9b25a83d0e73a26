"""Revocations: the contract that every adapter keeps."""

import asyncio

from mtls_as.server.revocation import LONGEST_LIFE, Revocation
from mtls_as.storage import Storage
from tests.storage.conftest import opened

TOKEN = Revocation.of_token("id", expires_at=1_300.0)
CLIENT = Revocation.of_client("reports", before=1_000.5)
CERTIFICATE = Revocation.of_certificate("a" * 43, before=1_000.5)
EVERYTHING = Revocation.of_everything(before=1_000.5)
ALL = (TOKEN, CLIENT, CERTIFICATE, EVERYTHING)


async def stored(storage: Storage, since: int = -1) -> set[Revocation]:
    return set((await storage.revocations.since(since))[1])


async def test_each_kind_is_remembered_as_it_was(storage: Storage, url: str) -> None:
    """Every member survives, also for whoever opens the database next."""
    for revocation in ALL:
        await storage.revocations.add(revocation)
    assert await stored(storage) == set(ALL)
    async with opened(url) as other:
        assert await stored(other) == set(ALL)


async def test_a_revocation_moves_the_revision(storage: Storage) -> None:
    """So that other nodes notice, and read only what is new to them."""
    before, nothing = await storage.revocations.since(-1)
    assert nothing == ()
    await storage.revocations.add(TOKEN)
    middle, found = await storage.revocations.since(before)
    assert (middle > before, found) == (True, (TOKEN,))
    assert await storage.revocations.since(middle) == (middle, ())
    await storage.revocations.add(CLIENT)
    assert await stored(storage, middle) == {CLIENT}
    assert await storage.revision() == (await storage.revocations.since(-1))[0]


async def test_a_second_revocation_of_the_same_takes_nothing_back(storage: Storage) -> None:
    """The later time counts, whichever comes first, and other nodes hear of it again."""
    await storage.revocations.add(Revocation.of_client("reports", before=2_000.0))
    seen = await storage.revision()
    await storage.revocations.add(Revocation.of_client("reports", before=1_000.0))
    assert await stored(storage, seen) == {Revocation.of_client("reports", before=2_000.0)}
    await storage.revocations.add(Revocation.of_client("reports", before=3_000.0))
    assert await stored(storage) == {Revocation.of_client("reports", before=3_000.0)}


async def test_kinds_do_not_mix(storage: Storage) -> None:
    """A client and a token may bear the same name."""
    await storage.revocations.add(Revocation.of_client("id", before=1.0))
    await storage.revocations.add(TOKEN)
    assert len(await stored(storage)) == 2


async def test_several_nodes_lose_nothing(storage: Storage, url: str) -> None:
    """Whoever reads along sees each revocation, though they are written at the same time."""
    seen: set[Revocation] = set()
    async with opened(url) as other:

        async def follow() -> None:
            revision = -1
            while len(seen) < 20:
                revision, found = await storage.revocations.since(revision)
                seen.update(found)

        writers = [
            (storage, other)[n % 2].revocations.add(Revocation.of_token(f"{n}", expires_at=9e9)) for n in range(20)
        ]
        async with asyncio.timeout(20):
            await asyncio.gather(follow(), *writers)
    assert {revocation.value for revocation in seen} == {str(n) for n in range(20)}


async def test_what_can_match_no_token_is_forgotten(storage: Storage) -> None:
    """Quietly: no node has to notice. A revocation by time is kept for as long as any token may live."""
    for revocation in ALL:
        await storage.revocations.add(revocation)
    before = await storage.revision()
    await storage.revocations.prune(ended_before=1_300.0)
    assert TOKEN in await stored(storage)
    await storage.revocations.prune(ended_before=1_300.1)
    assert await stored(storage) == {CLIENT, CERTIFICATE, EVERYTHING}
    await storage.revocations.prune(ended_before=1_000.5 + LONGEST_LIFE + 1)
    assert await stored(storage) == set()
    assert await storage.revision() == before
