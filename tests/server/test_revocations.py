"""Revocations in memory: what they match, how they come from other nodes, and what happens without the storage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocation import LONGEST_LIFE, Revocation, revocable_names
from mtls_as.server.revocations import CLOCK_SKEW, CURRENT_SECONDS, Revocations

X5T = "a" * 43
CLAIMS = {"jti": "id", "client_id": "reports", "iat": 1_000, "exp": 1_300, "cnf": {"x5t#S256": X5T}}


class Store:
    """A storage that several nodes share."""

    def __init__(self) -> None:
        self.written: list[Revocation] = []
        self.is_available = True
        self.reads = 0

    async def add(self, revocation: Revocation) -> None:
        self._require()
        self.written.append(revocation)

    async def since(self, revision: int) -> tuple[int, tuple[Revocation, ...]]:
        self._require()
        self.reads += 1
        return len(self.written), tuple(self.written[max(revision, 0) :])

    async def prune(self, *, ended_before: float) -> None:
        self._require()
        self.written = [each for each in self.written if each.ends_at >= ended_before]

    def _require(self) -> None:
        if not self.is_available:
            raise StorageUnavailable("gone")


class Monotonic:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def node(store: Store, monotonic: Monotonic) -> Revocations:
    return Revocations(store, monotonic=monotonic)


@pytest.mark.parametrize(
    "revocation",
    [
        Revocation.of_token("id", expires_at=1_300),
        Revocation.of_client("reports", before=1_000.5),
        Revocation.of_certificate(X5T, before=1_000.5),
        Revocation.of_everything(before=1_000.5),
    ],
    ids=lambda revocation: revocation.kind,
)
async def test_each_kind_ends_its_tokens(node: Revocations, revocation: Revocation) -> None:
    assert await node.find(CLAIMS) is None
    await node.revoke(revocation)
    assert await node.find(CLAIMS) == revocation


@pytest.mark.parametrize(
    "revocation",
    [
        Revocation.of_token("di", expires_at=1_300),
        Revocation.of_client("report", before=1_000.5),
        Revocation.of_certificate("A" * 43, before=1_000.5),
        Revocation.of_client("reports", before=1_000.0),
        Revocation.of_everything(before=999.9),
        Revocation.of_token("reports", expires_at=9_999),
        Revocation.of_client("id", before=9_999),
    ],
)
async def test_other_and_later_tokens_live_on(node: Revocations, revocation: Revocation) -> None:
    """A token that is issued after the time is another matter."""
    await node.revoke(revocation)
    assert await node.find(CLAIMS) is None


async def test_a_token_without_a_time_is_as_old_as_any(node: Revocations) -> None:
    """Whoever cannot say that a token is younger must not let it live."""
    await node.revoke(Revocation.of_everything(before=1.0))
    assert await node.find({name: value for name, value in CLAIMS.items() if name != "iat"}) is not None


async def test_the_later_time_counts(node: Revocations) -> None:
    await node.revoke(Revocation.of_client("reports", before=2_000))
    await node.revoke(Revocation.of_client("reports", before=500))
    assert await node.find(CLAIMS) is not None


async def test_other_nodes_hear_of_it(store: Store, node: Revocations, monotonic: Monotonic) -> None:
    """When they ask, and after some seconds at the latest, though nobody asks for them."""
    other = Revocations(store, monotonic=monotonic)
    assert await other.find(CLAIMS) is None
    await node.revoke(Revocation.of_token("id", expires_at=1_300))
    assert await other.find(CLAIMS) is None
    await other.refresh()
    assert await other.find(CLAIMS) is not None
    third = Revocations(store, monotonic=monotonic)
    await third.refresh()
    await node.revoke(Revocation.of_everything(before=5_000))
    monotonic.now += CURRENT_SECONDS
    assert await third.find(CLAIMS | {"jti": "other"}) is not None


async def test_in_the_steady_state_the_storage_is_left_alone(store: Store, node: Revocations) -> None:
    """As long as the node follows it."""
    await node.refresh()
    before = store.reads
    for _ in range(100):
        assert await node.find(CLAIMS) is None
    assert store.reads == before


async def test_without_the_storage_nothing_is_active_on_the_word_of_old_memory(
    store: Store, node: Revocations, monotonic: Monotonic
) -> None:
    """Never a wrong yes: it says that it cannot tell, and goes on when the storage is back."""
    await node.refresh()
    store.is_available = False
    assert await node.find(CLAIMS) is None
    monotonic.now += CURRENT_SECONDS
    with pytest.raises(StorageUnavailable):
        await node.find(CLAIMS)
    store.is_available = True
    assert await node.find(CLAIMS) is None


async def test_nothing_is_promised_before_it_is_stored(store: Store, node: Revocations) -> None:
    """What was not acknowledged is not in force either: the client asks again."""
    await node.refresh()
    store.is_available = False
    with pytest.raises(StorageUnavailable):
        await node.revoke(Revocation.of_token("id", expires_at=1_300))
    assert await node.find(CLAIMS) is None


async def test_the_same_revocation_is_stored_once(store: Store, node: Revocations) -> None:
    """A client cannot keep all nodes busy with one token."""
    for _ in range(3):
        await node.revoke(Revocation.of_token("id", expires_at=1_300))
    assert len(store.written) == 1


async def test_an_older_copy_of_the_database_is_read_whole(store: Store, node: Revocations) -> None:
    """As after a restore from a backup; what this node knew already stays."""
    for number in range(5):
        await node.revoke(Revocation.of_token(f"{number}", expires_at=1_300))
    await node.refresh()
    store.written = [Revocation.of_token("id", expires_at=1_300)]
    await node.refresh()
    assert await node.find(CLAIMS) is not None
    assert await node.find(CLAIMS | {"jti": "3"}) is not None


async def test_what_can_match_nothing_is_forgotten(store: Store, node: Revocations) -> None:
    """Not before: neither while a token may live, nor while a slower clock may think so."""
    await node.revoke(Revocation.of_token("id", expires_at=1_300))
    await node.prune(ended_before=1_300 + CLOCK_SKEW)
    assert await node.find(CLAIMS) is not None
    await node.prune(ended_before=1_301 + CLOCK_SKEW)
    assert (await node.find(CLAIMS), store.written) == (None, [])


def test_a_revocation_by_time_is_kept_for_as_long_as_any_token_may_live() -> None:
    assert Revocation.of_everything(before=1_000).ends_at == 1_000 + LONGEST_LIFE


@given(st.dictionaries(st.sampled_from(["jti", "client_id", "cnf", "iat"]), st.none() | st.text() | st.integers()))
def test_any_claims_have_names(claims: dict[str, object]) -> None:
    """Whatever a token says, everything before a time can be revoked."""
    assert revocable_names(claims)[-1][1] == ""
