"""What ends when, as metrics tell it: bounded, remembered for a minute, and kept while the storage is silent."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from mtls_as.observability import expiries as module
from mtls_as.observability.expiries import MAX_AGE_SECONDS, Expiries, Expiry
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.clients import Client
from mtls_as.server.ports import StorageUnavailable
from tests.authority import DAY, Authority, self_signed
from tests.server.test_certificate_inventory import pki_client, self_signed_client

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class World:
    """What the storage would say, and how often it was asked."""

    seen: list[tuple[str, float]] = field(default_factory=list)
    stored: list[Client] = field(default_factory=list)
    known: dict[str, Client] = field(default_factory=dict)
    authorities: Any = field(default_factory=dict)
    error: Exception | None = None
    asked: int = 0
    now: float = NOW.timestamp()

    async def find(self, client_id: str) -> Client | None:
        return self.known.get(client_id)

    async def soonest(self, limit: int) -> Iterable[tuple[str, float]]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.seen[:limit]

    async def registered(self, limit: int) -> Iterable[Client]:
        return self.stored[:limit]

    def expiries(self, *, declared: tuple[Client, ...] = (), anchors: Any = MappingProxyType({})) -> Expiries:
        return Expiries(
            server=lambda: (),
            trust=Trust(anchors),  # type: ignore[arg-type] # only its anchors are asked for
            spiffe=Trust(authorities=self.authorities),  # type: ignore[arg-type] # only its authorities are asked for
            declared=declared,
            clients=self,
            seen=self.soonest,
            registered=self.registered,
            clock=lambda: self.now,
        )


@dataclass
class Trust:
    anchors: Any = field(default_factory=dict)
    authorities: Any = field(default_factory=dict)

    def current(self) -> "Trust":
        return self


async def test_the_soonest_of_each_domain_is_told() -> None:
    """Every domain, whatever else it has."""
    old = parse_certificate(Authority.create("A", not_after=NOW + DAY).der)
    new = parse_certificate(Authority.create("A", not_after=NOW + 9 * DAY).der)
    found = await World().expiries(anchors={"a": (new, old), "b": (new,), "pinned": ()}).current()
    assert found == (
        Expiry((NOW + DAY).timestamp(), "anchor", "a"),
        Expiry((NOW + 9 * DAY).timestamp(), "anchor", "b"),
    )


async def test_the_last_authority_of_a_bundle_is_told() -> None:
    """A bundle holds old ones until they end; it is out of date when there is no newer one."""
    old = parse_certificate(Authority.create("A", not_after=NOW + DAY).der)
    new = parse_certificate(Authority.create("A", not_after=NOW + 9 * DAY).der)
    found = await World(authorities={"workloads.example": (new, old), "empty.example": ()}).expiries().current()
    assert found == (Expiry((NOW + 9 * DAY).timestamp(), "spiffe", "workloads.example"),)


async def test_seen_and_registered_certificates_of_a_client_are_one_series() -> None:
    """The soonest of them, of declared and stored clients alike."""
    declared, stored = self_signed_client("s1", self_signed(days=5)), self_signed_client("s2", self_signed(days=3))
    seen = [("s1", NOW.timestamp() + 60.0)]
    found = await World(seen, [stored], {"s1": declared, "s2": stored}).expiries(declared=(declared,)).current()
    assert [(each.client_id, round((each.not_after - NOW.timestamp()) / 3600)) for each in found] == [
        ("s1", 0),
        ("s2", 3 * 24),
    ]


async def test_clients_that_are_gone_or_disabled_are_left_out() -> None:
    """Nobody needs to care when their certificates end."""
    disabled = replace(self_signed_client("s1", self_signed()), enabled=False)
    world = World([("gone", 1.0), ("off", 2.0)], [disabled], {"off": pki_client("off", enabled=False)})
    assert await world.expiries().current() == ()


async def test_the_most_urgent_clients_are_told_and_the_rest_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on the number of series."""
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    world = World([(f"c{n}", float(n)) for n in range(9)], [], {f"c{n}": pki_client(f"c{n}") for n in range(9)})
    expiries = world.expiries()
    assert [each.client_id for each in await expiries.current()] == ["c0", "c1"]
    assert expiries.clients_left_out
    world.seen = world.seen[:2]
    world.now += MAX_AGE_SECONDS
    assert len(await expiries.current()) == 2
    assert not expiries.clients_left_out


async def test_the_storage_is_asked_once_a_minute() -> None:
    """However often somebody scrapes."""
    world = World([("c1", 5.0)], [], {"c1": pki_client()})
    expiries = world.expiries()
    for _ in range(5):
        assert await expiries.current() == (Expiry(5.0, "client", "", "c1"),)
    assert world.asked == 1
    world.now += MAX_AGE_SECONDS
    await expiries.current()
    assert world.asked == 2


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailable("is locked"),
        OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, "is locked"),
    ],
)
async def test_what_is_known_stays_while_the_storage_is_silent(error: Exception) -> None:
    """A scrape is answered all the same."""
    world = World([("c1", 5.0)], [], {"c1": pki_client()})
    expiries = world.expiries()
    before = await expiries.current()
    world.error = error
    world.now += MAX_AGE_SECONDS
    assert await expiries.current() == before
