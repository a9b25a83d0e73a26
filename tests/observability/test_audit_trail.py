"""What a process records: no request waits for it, nothing is lost in silence, and nothing secret is in it."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from mtls_as.observability.audit_trail import STRANGERS, AuditTrail
from mtls_as.rfc.refusal import Refusal
from mtls_as.server.audit import AuditEntry
from mtls_as.server.events import ReloadEvent, ReloadOutcome, RequestEvent
from mtls_as.server.ports import StorageUnavailable


class Store:
    """An `AuditStore` in memory, which can be away, or refuse."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.failure: Exception | None = None
        self.asked = 0
        self.pruned: list[tuple[float, int]] = []

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.entries += entries

    async def prune(self, *, ended_before: float, keep: int) -> int:
        self.pruned.append((ended_before, keep))
        return 3 if len(self.pruned) == 1 else 0

    def members(self) -> list[dict[str, Any]]:
        return [json.loads(entry.text) for entry in self.entries]


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def trail(store: Store, clock: Clock, *, capacity: int = 100) -> AuditTrail:
    return AuditTrail(
        store,
        requests=("token", "revocation"),
        keep_seconds=1_000.0,
        keep_records=50,
        clock=clock,
        capacity=capacity,
    )


async def test_requests_of_the_named_endpoints_are_recorded(store: Store, clock: Clock) -> None:
    """With the client that proved who it is; one that only said so is in the text alone."""
    made = trail(store, clock)
    made(RequestEvent(endpoint="token", client_id="c1", token_id="t1"))
    made(RequestEvent(endpoint="token", unverified_client_id="c2"))
    made(RequestEvent(endpoint="introspection", client_id="c3"))
    made(RequestEvent(endpoint="revocation", client_id="c4"))
    assert (made.depth, made.lag) == (3, 0.0)
    clock.now += 5
    assert made.lag == 5.0
    await made.flush()
    assert [(entry.kind, entry.client_id) for entry in store.entries] == [
        ("token", "c1"), ("token", None), ("revocation", "c4"),
    ]  # fmt: skip
    first, second, _ = store.members()
    assert (first["token_id"], first["number"], second["number"]) == ("t1", 1, 2)
    assert second["unverified_client_id"] == "c2"
    assert first["node"] == second["node"]
    assert (made.depth, made.lag, made.written, made.lost) == (0, 0.0, 3, 0)


async def test_what_comes_while_records_are_stored_waits_for_the_next_time(store: Store, clock: Clock) -> None:
    """Batches under load are not as small as what comes while one is stored; and none is passed over."""
    made = trail(store, clock)
    append = store.append

    async def append_slowly(entries: Sequence[AuditEntry]) -> None:
        made(RequestEvent(endpoint="token", token_id="late"))
        await append(entries)

    store.append = append_slowly  # type: ignore[method-assign] # this one alone
    made(RequestEvent(endpoint="token", token_id="t1"))
    made(RequestEvent(endpoint="token", token_id="t2"))
    await made.flush()
    assert ([record["token_id"] for record in store.members()], made.depth) == (["t1", "t2"], 1)
    await made.flush()
    assert [record["token_id"] for record in store.members()] == ["t1", "t2", "late"]


async def test_many_events_are_recorded_before_it_is_time(store: Store, clock: Clock) -> None:
    """A busy server fills no memory within a second; one whose storage is away does not ask it without end."""
    made = trail(store, clock, capacity=10_000)

    async def come(numbers: range) -> None:
        for number in numbers:
            made(RequestEvent(endpoint="token", token_id=str(number)))
            await asyncio.sleep(0)

    async with made.recording(every=3_600.0):
        await come(range(2_000))
        assert len(store.entries) >= 800
        store.failure, asked = StorageUnavailable("it is away"), store.asked
        await come(range(2_000, 6_000))
        assert store.asked - asked == 1
        store.failure = None
    assert [record["token_id"] for record in store.members()] == [str(number) for number in range(6_000)]


async def test_what_else_happens_is_recorded_too(store: Store, clock: Clock) -> None:
    made = trail(store, clock)
    made.note(ReloadEvent(cause="signal", outcome=ReloadOutcome.SUCCEEDED, generation=2))
    made.note({"event": "command", "command": "client disable", "client_id": "c1"})
    await made.flush()
    assert [(entry.kind, entry.client_id) for entry in store.entries] == [("reload", None), ("command", "c1")]


async def test_strangers_push_nothing_out(store: Store, clock: Clock) -> None:
    """Refused requests of nobody in particular are recorded one by one while they are few, and then as numbers."""
    made = trail(store, clock, capacity=10_000)
    for _ in range(5_000):
        made(RequestEvent(endpoint="token", error="invalid_request", refusal=Refusal.MALFORMED_REQUEST))
        made(RequestEvent(endpoint="token", error="invalid_client", refusal=Refusal.UNKNOWN_CLIENT))
    assert made.depth == STRANGERS.burst
    for number in range(300):  # whoever has proven who he is, and what was done, is recorded in any case
        made(RequestEvent(endpoint="token", client_id="c1", token_id=f"t{number}"))
        made(RequestEvent(endpoint="token", client_id="c1", error="invalid_scope", refusal=Refusal.SCOPE_NOT_ALLOWED))
    async with made.recording(every=60):
        pass
    kinds = Counter(entry.kind for entry in store.entries)
    assert kinds == {"token": STRANGERS.burst + 600, "strangers": 1}
    assert store.members()[-1]["refused"] == {"malformed_request": 4_950, "unknown_client": 4_950}


async def test_start_and_stop_are_recorded(store: Store, clock: Clock) -> None:
    """So that one without the other tells of a process that was killed. Handshakes that were refused, as numbers."""
    made = trail(store, clock)
    async with made.recording(every=60):
        made.note_start()
        for reason in ("timeout", "alert_unknown_ca", "timeout"):
            made.count_refused_handshake(reason)
        made(RequestEvent(endpoint="token"))
    assert [entry.kind for entry in store.entries] == ["start", "token", "handshakes", "stop"]
    *_, handshakes, stop = store.members()
    assert handshakes["refused"] == {"timeout": 2, "alert_unknown_ca": 1}
    assert (stop["written"], stop["lost"]) == (3, 0)


async def test_a_node_that_only_checks_its_configuration_records_nothing(store: Store, clock: Clock) -> None:
    async with trail(store, clock).recording(every=60):
        pass
    assert store.entries == []


async def test_events_wait_while_the_storage_is_away(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """In their order, each once; it is said once, and that it is over."""
    caplog.set_level("INFO", "mtls_as")
    made = trail(store, clock)
    store.failure = StorageUnavailable("away")
    for number in range(5):
        made(RequestEvent(endpoint="token", token_id=str(number)))
        await made.flush()
    store.failure = None
    await made.flush()
    assert [members["token_id"] for members in store.members()] == list("01234")
    assert caplog.text.count("cannot be written now") == 1
    assert "written again" in caplog.text


async def test_what_finds_no_room_is_counted_and_recorded_as_a_gap(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """As soon as anything can be recorded, with its number and since when; then never again."""
    made = trail(store, clock, capacity=10)
    store.failure = StorageUnavailable("away")
    for _ in range(10):
        made(RequestEvent(endpoint="token"))
    clock.now += 60
    for _ in range(7):
        made(RequestEvent(endpoint="token"))
    await made.flush()
    assert (made.lost, made.depth) == (7, 10)
    store.failure = None
    await made.flush()
    made(RequestEvent(endpoint="token"))
    await made.flush()
    assert [entry.kind for entry in store.entries] == ["gap", *["token"] * 11]
    gap, *_ = store.members()
    assert (gap["lost"], gap["since"]) == (7, "1970-01-12T13:47:40.000+00:00")
    assert "will have a gap" in caplog.text


async def test_what_the_storage_can_never_take_is_a_gap_too(store: Store, clock: Clock) -> None:
    """And keeps nothing else from it."""
    made = trail(store, clock)
    made(RequestEvent(endpoint="token"))
    store.failure = ValueError("a constraint")
    with pytest.raises(ValueError, match="constraint"):
        await made.flush()
    store.failure = None
    made(RequestEvent(endpoint="revocation"))
    await made.flush()
    assert [entry.kind for entry in store.entries] == ["gap", "revocation"]
    assert store.members()[0]["lost"] == 1


async def test_what_is_never_recorded_is_told_at_the_end(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store.failure = StorageUnavailable("away")
    made = trail(store, clock)
    async with made.recording(every=60):
        made(RequestEvent(endpoint="token"))
    assert "1 events were never recorded" in caplog.text


async def test_an_unforeseen_error_does_not_end_it(store: Store, clock: Clock) -> None:
    made = trail(store, clock)
    store.failure = ValueError("unforeseen")
    async with made.recording(every=0.01):
        made(RequestEvent(endpoint="token"))
        while made.lost == 0:  # noqa: ASYNC110 # it tells nobody
            await asyncio.sleep(0.01)
        store.failure = None
        made(RequestEvent(endpoint="token"))
        while not store.entries:  # noqa: ASYNC110 # it tells nobody
            await asyncio.sleep(0.01)
    assert [entry.kind for entry in store.entries] == ["gap", "token"]


async def test_old_records_are_pruned_and_that_is_recorded(store: Store, clock: Clock) -> None:
    """By age and number, every ten minutes."""
    made = trail(store, clock)
    await made.prune()
    await made.prune()
    await made.flush()
    assert store.pruned[0] == (clock.now - 1_000.0, 50)
    assert [(entry.kind, json.loads(entry.text)["count"]) for entry in store.entries] == [("pruned", 3)]


async def test_hostile_text_is_escaped_and_cut(store: Store, clock: Clock) -> None:
    """A record is one line of printable ASCII, as in the event log."""
    made = trail(store, clock)
    made(RequestEvent(endpoint="token", unverified_client_id='"}\n\x1b[31m\u2028\ud800', detail="x" * 100_000))
    await made.flush()
    [entry] = store.entries
    assert entry.text.isascii()
    assert entry.text.isprintable()
    assert len(entry.text) < 1_000
