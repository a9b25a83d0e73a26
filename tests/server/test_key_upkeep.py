"""The upkeep of signing keys: successors in time, an end for what nobody wants, and no living token without its key."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.http.routes import DOCUMENT_MAX_AGE_SECONDS
from mtls_as.remote.key_sets import MAX_AGE
from mtls_as.rfc.rfc7517_jwk import parse_jwks
from mtls_as.server.clients import ACCESS_TOKEN_LIFETIMES
from mtls_as.server.key_upkeep import JWKS_MAX_AGE, OVERLAP, PUBLISH_AHEAD, KeyPlan, KeyUpkeep, MadeKeys
from mtls_as.server.ports import SignerUnavailable, StorageUnavailable
from mtls_as.server.signing_keys import (
    ExternalKey,
    KeyPair,
    KeyState,
    SigningKey,
    SigningKeys,
    generate_private_key,
    generate_signing_key,
    rotate,
)

DAY = 86_400.0
START = 1_000_000.0
PLAN = KeyPlan(algorithms=frozenset({"EdDSA"}), rotate_every=10 * DAY)


def key(algorithm: str = "EdDSA", *, activates_at: float = START, expires_at: float | None = None) -> SigningKey:
    made = generate_signing_key(algorithm, created_at=activates_at, activates_at=activates_at)
    return replace(made, expires_at=expires_at)


def fulfilled(
    keys: SigningKeys, plan: KeyPlan, at: float, made: MadeKeys
) -> tuple[SigningKeys, tuple[SigningKey, ...]]:
    """What every storage does in one transaction."""
    added = []
    for name in sorted(plan.due(keys, at) & made.keys()):
        times = {"at": at, "publish_ahead": PUBLISH_AHEAD, "overlap": OVERLAP}
        new, changed = rotate(keys, name, **times, private_key=made[name])
        keys = with_changes(keys, (*changed, new))
        added.append(new)
    keys = with_changes(keys, plan.corrections(keys, at))
    return SigningKeys(tuple(one for one in keys.keys if not one.is_gone(at))), tuple(added)


def with_changes(keys: SigningKeys, changed: Sequence[SigningKey]) -> SigningKeys:
    updated = {one.kid: one for one in changed}
    kept = [updated.pop(one.kid, one) for one in keys.keys]
    return SigningKeys((*kept, *updated.values()))


def test_the_caches_are_those_of_the_server_and_the_verifier() -> None:
    """Before it signs and after its last token, a key is published for as long as anybody may have an older set."""
    assert JWKS_MAX_AGE == DOCUMENT_MAX_AGE_SECONDS
    assert PUBLISH_AHEAD == DOCUMENT_MAX_AGE_SECONDS + MAX_AGE
    assert max(ACCESS_TOKEN_LIFETIMES) + PUBLISH_AHEAD == OVERLAP


def test_a_successor_is_due_so_that_it_signs_in_time() -> None:
    keys = SigningKeys((key(),))
    due = START + 10 * DAY - PUBLISH_AHEAD
    assert PLAN.due(keys, due - 0.001) == frozenset()
    assert PLAN.due(keys, due) == {"EdDSA"}
    assert PLAN.rotates_at(keys, keys.keys[0], START) == due
    assert PLAN.rotates_at(keys, keys.keys[0], due + 5) == due + 5


def test_one_successor_is_enough() -> None:
    """As long as it is only published, and after it has begun."""
    keys, (new,) = fulfilled(SigningKeys((key(),)), PLAN, START + 10 * DAY, {"EdDSA": generate_private_key("EdDSA")})
    assert [keys.state(one, START + 10 * DAY) for one in keys.keys] == [KeyState.ACTIVE, KeyState.NEXT]
    assert PLAN.due(keys, START + 10 * DAY) == frozenset()
    assert PLAN.due(keys, new.activates_at + DAY) == frozenset()
    assert PLAN.rotates_at(keys, keys.keys[0], START + 10 * DAY) is None


def test_without_a_schedule_only_a_command_rotates() -> None:
    plan = replace(PLAN, rotate_every=0.0)
    keys = SigningKeys((key(),))
    assert plan.due(keys, START + 1000 * DAY) == frozenset()
    assert plan.due(SigningKeys(), START) == frozenset()
    assert plan.is_fulfilled(keys, START + 1000 * DAY)
    assert plan.rotates_at(keys, keys.keys[0], START) is None


def test_an_algorithm_without_a_key_gets_one() -> None:
    plan = replace(PLAN, algorithms=frozenset({"EdDSA", "ES256"}))
    assert plan.due(SigningKeys((key(),)), START) == {"ES256"}


def test_keys_of_an_algorithm_that_is_not_wanted_end_after_their_last_token() -> None:
    """They do not stay published for ever; nor do they end at once."""
    old = key("ES256")
    at = START + DAY
    (ending,) = PLAN.corrections(SigningKeys((old, key())), at)
    assert (ending.kid, ending.expires_at) == (old.kid, at + OVERLAP)
    keys = SigningKeys((ending, key()))
    assert PLAN.corrections(keys, at + 1) == ()
    assert not PLAN.is_fulfilled(keys, at + OVERLAP)
    keys, _ = fulfilled(keys, PLAN, at + OVERLAP, {})
    assert [one.algorithm for one in keys.keys] == ["EdDSA"]


def test_an_algorithm_that_is_wanted_again_keeps_its_key() -> None:
    """Before it is gone: no gap, and no rotation for a change of mind."""
    at = START + DAY
    ending = key(expires_at=at + OVERLAP)
    (kept,) = PLAN.corrections(SigningKeys((ending,)), at)
    assert (kept.kid, kept.expires_at) == (ending.kid, None)


def test_keys_whose_turn_was_taken_are_not_brought_back() -> None:
    """A rotation in an emergency ends the waiting key when it would have begun."""
    keys = SigningKeys((key(),))
    for ahead in (PUBLISH_AHEAD, 0.0):
        new, changed = rotate(keys, "EdDSA", at=START + 5, publish_ahead=ahead, overlap=OVERLAP)
        keys = with_changes(keys, (*changed, new))
    assert PLAN.corrections(keys, START + 6) == ()
    assert PLAN.due(keys, START + 6) == frozenset()


class Storage:
    """One storage for several nodes."""

    def __init__(self, *keys: SigningKey) -> None:
        self.value = SigningKeys(keys)
        self.transactions = 0
        self.failure: Exception | None = None

    def current(self) -> SigningKeys:
        return self.value

    async def fulfil(self, plan: KeyPlan, *, at: float, made: MadeKeys) -> tuple[SigningKey, ...]:
        self.transactions += 1
        if self.failure is not None:
            raise self.failure
        self.value, added = fulfilled(self.value, plan, at, made)
        return added


@dataclass
class Node:
    """One node, with the keys that it saw last."""

    storage: Storage
    at: float
    seen: SigningKeys = field(init=False)
    plan: KeyPlan = PLAN
    made: list[KeyPair] = field(default_factory=list)
    discarded: list[ExternalKey] = field(default_factory=list)
    outside: bool = False

    def __post_init__(self) -> None:
        self.seen = self.storage.value

    def current(self) -> SigningKeys:
        return self.seen

    def make(self, algorithm: str) -> KeyPair:
        private_key = generate_private_key(algorithm)
        made: KeyPair = private_key
        if self.outside:
            made = ExternalKey(uri=f"pkcs11:object={len(self.made)}", public=private_key.public_key())
        self.made.append(made)
        return made

    def upkeep(self) -> KeyUpkeep:
        return KeyUpkeep(
            plan=lambda: self.plan, signing_keys=self, storage=self.storage,
            make=self.make, discard=self.discarded.append, clock=lambda: self.at,
        )  # fmt: skip

    async def run(self) -> tuple[SigningKey, ...]:
        return await self.upkeep().run()


async def test_the_first_node_rotates_for_all() -> None:
    """The second one worked with what it knew, and throws away what it made."""
    storage = Storage(key())
    first, second = (Node(storage, START + 10 * DAY, outside=True) for _ in range(2))
    (new,) = await first.run()
    assert await second.run() == ()
    assert second.discarded == second.made
    assert first.discarded == []
    assert [one.kid for one in storage.value.keys][1:] == [new.kid]


async def test_nothing_to_do_costs_nothing() -> None:
    """No look at the storage, no key made in vain."""
    storage = Storage(key())
    assert await Node(storage, START + DAY).run() == ()
    assert storage.transactions == 0


async def test_a_storage_that_may_have_failed_keeps_what_was_made_elsewhere() -> None:
    """It may have stored the key all the same: deleting it in the HSM could delete the key that signs."""
    storage = Storage(key())
    storage.failure = StorageUnavailable("gone")
    node = Node(storage, START + 10 * DAY, outside=True)
    with pytest.raises(StorageUnavailable):
        await node.run()
    assert len(node.made) == 1
    assert node.discarded == []


async def test_without_a_signer_nothing_changes() -> None:
    class Broken(Node):
        def make(self, algorithm: str) -> KeyPair:
            raise SignerUnavailable("the HSM is down")

    storage = Storage(key())
    with pytest.raises(SignerUnavailable):
        await Broken(storage, START + 10 * DAY).run()
    assert storage.transactions == 0


async def test_upkeep_goes_on_after_an_unforeseen_error() -> None:
    """Nobody else would begin anew: until a restart, no key of this configuration would ever be made."""
    storage = Storage(key())
    storage.failure = RuntimeError("unforeseen")
    node = Node(storage, START + 10 * DAY)
    following = asyncio.create_task(node.upkeep().follow(every=0.001))
    try:
        async with asyncio.timeout(10):
            while storage.transactions < 2:  # noqa: ASYNC110 # what is waited for tells nobody
                await asyncio.sleep(0.001)
            storage.failure = None
            while len(storage.value.keys) < 2:  # noqa: ASYNC110 # as above
                await asyncio.sleep(0.001)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


_numbers = itertools.count(1)


def cheap_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(next(_numbers).to_bytes(32))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([30.0, 400.0, 3_600.0, DAY, 9 * DAY, 10 * DAY, 40 * DAY]),
            st.sampled_from([frozenset({"EdDSA"}), frozenset({"EdDSA"}), frozenset({"ES256"}), frozenset()]),
            st.sampled_from([300.0, 7_200.0, DAY]),
        ),
        max_size=8,
    )
)
def test_no_token_outlives_its_key_in_the_key_set(steps: list[tuple[float, frozenset[str], float]]) -> None:
    """Whatever the configuration says, and however late the upkeep comes: what has signed is published to the end.

    A token ends with its key at the latest, as `AccessTokenIssuer` sees to.
    """
    keys, at = SigningKeys((key(),)), START
    living: list[tuple[str, float]] = []
    for pause, algorithms, lifetime in steps:
        plan = KeyPlan(algorithms=algorithms, rotate_every=10 * DAY)
        marks = {t for one in keys.keys for t in (one.activates_at, one.expires_at or at) if at <= t < at + pause}
        for mark in sorted({at, *marks, at + pause / 2}):
            active = [one for one in keys.keys if keys.state(one, mark) is KeyState.ACTIVE]
            assert len({one.algorithm for one in active}) == len(active)
            living += [(one.kid, min(mark + lifetime, one.expires_at or mark + lifetime)) for one in active]
            published = {str(one.kid) for one in parse_jwks(keys.published(mark)).keys}
            assert {kid for kid, end in living if mark < end} <= published
        at += pause
        made = {name: cheap_key() for name in plan.due(keys, at) if name == "EdDSA"}
        keys, _ = fulfilled(keys, plan, at, made)
        if "EdDSA" in algorithms:
            assert keys.active("EdDSA", at).expires_at is None or plan.due(keys, at) == frozenset()
