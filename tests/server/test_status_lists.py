"""Places in status lists and the lists made of them: nothing that was revoked is ever called valid."""

import asyncio
import json
from collections.abc import Callable, Collection

import pytest

from mtls_as.rfc.rfc4648_base64url import decode_base64url
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.status_list import StatusList, parse_status_list
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocation import Revocation
from mtls_as.server.revocations import Revocations
from mtls_as.server.signing_keys import SigningKeys, generate_signing_key
from mtls_as.server.status_block import (
    BLOCK_SECONDS,
    BLOCK_SIZE,
    BLOCKS_IN_LIST,
    LIST_SIZE,
    IssuedRecord,
    StatusBlock,
    StatusIndex,
)
from mtls_as.server.status_indices import StatusIndices
from mtls_as.server.status_lists import PUBLISH_SECONDS, SETTLE_SECONDS, StatusLists
from mtls_as.server.token_signing import TokenSigner
from mtls_as.wiring.foundation import Current
from tests.server.test_revocations import Monotonic
from tests.server.test_revocations import Store as RevocationStore

X5T, OTHER_X5T = "a" * 43, "b" * 43
EPOCH = 1_000_000.0


class BlockStore:
    """A storage of blocks that several nodes share; what is written counts."""

    def __init__(self) -> None:
        self.leased: list[float] = []
        self.known: dict[int, dict[int, bytes]] = {}
        self.used: dict[int, int] = {}
        self.writes = self.questions = 0
        self.read = set[int]()
        self.is_available = True

    async def lease(self, *, at: float) -> int:
        self._require()
        self.writes += 1
        self.leased.append(at)
        return len(self.leased) - 1

    async def record(self, block: int, *, first: int, records: bytes, ends_at: float, used: int | None) -> None:
        self._require()
        self.writes += 1
        assert ends_at or not records
        parts = {offset: part for offset, part in self.known.get(block, {}).items() if offset < first}
        self.known[block] = parts | ({first: records} if records else {})
        if used is not None:
            self.used[block] = used

    async def blocks(self, numbers: range, *, without_records: Collection[int] = ()) -> tuple[StatusBlock, ...]:
        self._require()
        self.read = set(numbers).difference(without_records)
        return tuple(
            StatusBlock(
                number=number,
                leased_at=self.leased[number],
                used=self.used.get(number),
                records=b"".join(part for _, part in sorted(self.known.get(number, {}).items()) if number in self.read),
            )
            for number in numbers
            if number < len(self.leased)
        )

    async def numbers(self) -> tuple[int, ...]:
        self._require()
        return tuple(range(len(self.leased)))

    def _require(self) -> None:
        self.questions += 1
        if not self.is_available:
            raise StorageUnavailable("gone")


class Site:
    """Nodes on one storage, with one clock that the test moves."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.blocks = BlockStore()
        self.revocations = RevocationStore()
        self.keys = SigningKeys([generate_signing_key("ES256", created_at=0, activates_at=0)])

    def node(self) -> "Node":
        return Node(self)


class Node:
    """A process of the server."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.monotonic = Monotonic()
        self.revocations = Revocations(site.revocations, monotonic=self.monotonic)
        clock: Callable[[], float] = lambda: site.now  # noqa: E731 # one line, used twice
        self.indices = StatusIndices(site.blocks, broad_changes=lambda: self.revocations.broad_changes, clock=clock)
        self.lists = StatusLists(
            issuer="https://as.example",
            url="https://as.example/status",
            ttl=60,
            store=site.blocks,
            revocations=self.revocations,
            signer=TokenSigner(Current(site.keys)),
            algorithm="ES256",
            clock=clock,
            monotonic=self.monotonic,
        )

    def wait(self, seconds: float) -> None:
        self.site.now += seconds
        self.monotonic.now += seconds

    async def issue(self, client_id: str = "c1", thumbprint: str | None = X5T) -> StatusIndex:
        issued_at = int(self.site.now)
        return await self.indices.take(IssuedRecord(client_id, thumbprint, issued_at, issued_at + 300))

    async def read(self, number: int = 0) -> StatusList:
        token = await self.lists.token(number)
        assert token is not None
        claims = json.loads(decode_base64url(token.split(".")[1]))
        assert claims["sub"] == f"https://as.example/status/{number}"
        assert (claims["iat"], claims["ttl"]) == (int(self.site.now), 60)
        return parse_status_list(claims["status_list"])

    async def invalid(self, number: int = 0) -> set[int]:
        """The places that a list made just now calls INVALID."""
        self.wait(PUBLISH_SECONDS)
        statuses = await self.read(number)
        assert len(statuses.octets) * 8 == LIST_SIZE
        octets = [position for position, octet in enumerate(statuses.octets) if octet]
        return {place for octet in octets for place in range(octet * 8, octet * 8 + 8) if statuses.status(place)}


@pytest.fixture
async def node() -> Node:
    node = Site().node()
    await node.revocations.refresh()
    await node.issue("warm-up")  # the first one leases a block
    node.wait(2)
    return node


async def test_the_steady_state_writes_nothing(node: Node) -> None:
    """However many tokens: one write each time that they are written down, a lease before a block runs out."""
    before = node.site.blocks.writes
    places = [await node.issue() for _ in range(BLOCK_SIZE // 2)]
    assert node.site.blocks.writes == before
    assert len({place.place for place in places}) == len(places)
    await node.indices.upkeep()
    await node.indices.upkeep()
    assert node.site.blocks.writes == before + 2  # the records, and a spare block
    node.wait(2)
    for _ in range(BLOCK_SIZE):
        await node.issue()
    assert node.site.blocks.writes == before + 2


async def test_every_place_is_given_once(node: Node) -> None:
    """Over blocks and nodes."""
    other = node.site.node()
    places = [await each.issue() for _ in range(BLOCK_SIZE + 5) for each in (node, other)]
    assert len(set(places)) == len(places)
    assert len({(place.list_number, place.place) for place in places}) == len(places)
    assert all(StatusIndex.of_token_id(place.token_id("x" * 22)) == place for place in places)


@pytest.mark.parametrize("token_id", ["", "x", "a.1", "a.1.8192", "a.01.1", "a.1.01", "a.-1.1", "a.1.1.1", "a.٣.1"])
async def test_other_token_ids_say_no_place(token_id: str) -> None:
    """Those of tokens without a status, and invented ones."""
    assert StatusIndex.of_token_id(token_id) is None


async def test_one_token_is_ended_by_its_id(node: Node) -> None:
    """At once, whether it was written down or not."""
    mine, other = await node.issue(), await node.issue()
    await node.revocations.revoke(Revocation.of_token(mine.token_id("x" * 22), expires_at=node.site.now + 300))
    assert await node.invalid() == {mine.place}
    await node.indices.flush()
    assert await node.invalid() == {mine.place}
    assert other.place not in await node.invalid()


@pytest.mark.parametrize(
    ("revocation", "ended"),
    [
        (lambda at: Revocation.of_client("c1", before=at), {0, 1}),
        (lambda at: Revocation.of_certificate(X5T, before=at), {0, 2}),
        (lambda at: Revocation.of_everything(before=at), {0, 1, 2, 3}),
        (lambda at: Revocation.of_client("nobody", before=at), set()),
    ],
    ids=["client", "certificate", "everything", "somebody else"],
)
async def test_many_tokens_are_ended_and_no_others(
    node: Node, revocation: Callable[[float], Revocation], ended: set[int]
) -> None:
    """Those before the time, by what they are; a token from after it lives, though its client is the same."""
    places = [
        await node.issue(client, thumbprint)
        for client, thumbprint in [("c1", X5T), ("c1", OTHER_X5T), ("c2", X5T), ("c3", None)]
    ]
    await node.indices.flush()
    node.wait(5)
    await node.revocations.revoke(revocation(node.site.now))
    node.wait(1)
    await node.indices.upkeep()
    later = await node.issue()
    node.wait(SETTLE_SECONDS)
    found = await node.invalid()
    assert found & {place.place for place in places} == {places[index].place for index in ended}
    assert later.place not in found
    assert await node.issue() not in found


async def test_another_nodes_tokens_are_ended_too(node: Node) -> None:
    """Whoever makes the list, and wherever the revocation came in."""
    other = node.site.node()
    await other.revocations.refresh()
    place = await other.issue()
    await node.revocations.revoke(Revocation.of_client("c1", before=node.site.now + 1))
    await other.revocations.refresh()
    await other.indices.upkeep()
    assert place.place in await node.invalid()


async def test_tokens_of_a_process_that_died_are_ended_by_what_may_mean_them(node: Node) -> None:
    """It had not written them down; nobody else's are touched, and as long as nothing is revoked neither are they."""
    dead = node.site.node()
    await dead.revocations.refresh()
    await dead.issue("warm-up")
    dead.wait(3)
    written, lost = await dead.issue("c2", OTHER_X5T), None
    await dead.indices.flush()
    lost = await dead.issue()
    del dead  # killed
    mine = await node.issue("c2", OTHER_X5T)
    assert await node.invalid() == set()
    await node.revocations.revoke(Revocation.of_client("c1", before=node.site.now))
    await node.indices.upkeep()
    node.wait(SETTLE_SECONDS)
    found = await node.invalid()
    assert lost.place in found
    assert {written.place, mine.place}.isdisjoint(found)
    fresh = await node.issue()
    assert fresh.place not in await node.invalid()


async def test_a_token_older_than_its_block_is_written_down_at_once(node: Node) -> None:
    """A request that took long: of a lost token it must be known that it is no older than its block."""
    node.wait(BLOCK_SECONDS)
    began = node.site.now
    node.wait(10)
    place = await node.indices.take(IssuedRecord("c1", X5T, int(began), int(began) + 300))
    node.revocations = Revocations(node.site.revocations, monotonic=node.monotonic)  # and the process dies
    after = node.site.node()
    await after.revocations.refresh()
    await after.revocations.revoke(Revocation.of_client("c1", before=began + 5))
    after.monotonic.now += SETTLE_SECONDS
    assert place.place in await after.invalid()


async def test_a_process_has_a_moment_to_write_down_its_tokens(node: Node) -> None:
    """What is not written down yet is not called revoked at once: most of it belongs to others."""
    other = await node.issue("c2", OTHER_X5T)
    await node.revocations.revoke(Revocation.of_client("c1", before=node.site.now + 1))
    assert other.place not in await node.invalid()
    await node.indices.upkeep()
    node.wait(SETTLE_SECONDS)
    assert other.place not in await node.invalid()


async def test_a_node_that_starts_gives_old_revocations_no_moment(node: Node) -> None:
    """They are as old as can be: whoever had to write down anything has had the time."""
    lost = await node.issue()
    await node.revocations.revoke(Revocation.of_client("c1", before=node.site.now + 1))
    started = node.site.node()
    assert lost.place in await started.invalid()


async def test_without_the_storage_there_is_no_list(node: Node) -> None:
    """An old one would say yes to what was revoked meanwhile."""
    await node.invalid()
    node.wait(PUBLISH_SECONDS)
    for store in (node.site.blocks, node.site.revocations):
        store.is_available = False
        with pytest.raises(OAuthError) as caught:
            await node.lists.token(0)
        assert caught.value.code is ErrorCode.TEMPORARILY_UNAVAILABLE
        store.is_available = True
    assert await node.lists.token(0) is not None
    assert await node.lists.token(9) is None


async def test_tokens_go_on_without_the_storage_as_long_as_places_last(node: Node) -> None:
    """And are written down when it is back; then none goes out that could not be revoked."""
    node.site.blocks.is_available = False
    places = [await node.issue() for _ in range(10)]
    with pytest.raises(StorageUnavailable):
        await node.indices.upkeep()
    for _ in range(BLOCK_SIZE - 11):
        await node.issue("c2", None)
    with pytest.raises(OAuthError) as caught:
        await node.issue()
    assert caught.value.code is ErrorCode.TEMPORARILY_UNAVAILABLE
    node.site.blocks.is_available = True
    await node.issue("c2", None)
    await node.indices.upkeep()
    await node.revocations.revoke(Revocation.of_client("c1", before=node.site.now + 1))
    assert {place.place for place in places} <= await node.invalid()


async def test_a_graceful_end_explains_everything(node: Node) -> None:
    """A later revocation ends the tokens that it means, and no others."""
    mine, other = await node.issue(), await node.issue("c2", OTHER_X5T)
    async with node.indices.recording():
        pass
    after = node.site.node()
    await after.revocations.refresh()
    await after.revocations.revoke(Revocation.of_client("c1", before=after.site.now + 1))
    after.wait(SETTLE_SECONDS)
    found = await after.invalid()
    assert mine.place in found
    assert other.place not in found


async def test_a_list_is_made_once_for_all_who_ask(node: Node) -> None:
    """Within a moment; and all lists are known by their URLs."""
    first = await node.lists.token(0)
    assert await node.lists.token(0) == first
    node.wait(PUBLISH_SECONDS)
    assert await node.lists.token(0) != first
    assert await node.lists.uris() == ("https://as.example/status/0",)


async def test_lists_that_nobody_made_cost_the_storage_nothing(node: Node) -> None:
    """Anybody may ask for any number, as often as he likes; a list that another node has begun is there at once."""
    await node.lists.token(0)
    node.wait(PUBLISH_SECONDS)
    before, reads = node.site.blocks.questions, node.site.revocations.reads
    found = await asyncio.gather(*(node.lists.token(number) for number in range(1_000, 2_000)))
    assert set(found) == {None}
    assert (node.site.blocks.questions - before, node.site.revocations.reads - reads) == (1, 0)
    assert set(await asyncio.gather(*(node.lists.uris() for _ in range(100)))) == {("https://as.example/status/0",)}
    assert node.site.blocks.questions - before == 1
    while len(node.site.blocks.leased) <= 2 * BLOCKS_IN_LIST:
        await node.site.blocks.lease(at=node.site.now)
    assert await node.lists.token(1) is not None
    assert await node.lists.token(2) is not None


async def test_closed_blocks_are_judged_once_for_each_set_of_revocations(node: Node) -> None:
    """What they said stays true until there is a new one; those that are open are looked at each time."""
    mine = await node.issue()
    await node.revocations.revoke(Revocation.of_client("c1", before=node.site.now + 1))
    node.wait(2)
    await node.indices.upkeep()
    assert mine.place in await node.invalid()
    later = await node.issue("c2", OTHER_X5T)
    assert 0 in node.site.blocks.read
    assert await node.invalid() == {mine.place}
    assert node.site.blocks.read.isdisjoint({0})
    assert 1 in node.site.blocks.read
    await node.revocations.revoke(Revocation.of_everything(before=node.site.now + 1))
    await node.indices.flush()
    assert {mine.place, later.place} <= await node.invalid()
    assert 0 in node.site.blocks.read
