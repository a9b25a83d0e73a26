"""Limits on requests: who pays for what, who is left alone, and that nobody can be locked out by a stranger."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from mtls_as.pki.presented import PresentedCertificate, present
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4291_addresses import peer_key
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.events import RequestEvent
from mtls_as.server.limits import PROVEN_SECONDS, EndpointLimits, LimitSettings, RequestLimits
from mtls_as.server.penalties import MAX_PENALTIES, MAX_WRITTEN, Penalties, Penalty, PenaltyKind
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.rates import Rate
from tests.authority import Authority

SETTINGS = LimitSettings(
    endpoints={"token": EndpointLimits(client=Rate(per_second=1, burst=10), address=Rate(per_second=10, burst=50))},
    failures=Rate(per_second=1, burst=5),
    penalty=60.0,
    exempt=(ip_network("10.0.0.0/8"),),
)
HERE, THERE = "192.0.2.1", "192.0.2.2"


class Store:
    """A storage that several nodes share."""

    def __init__(self) -> None:
        self.rows: dict[tuple[PenaltyKind, str], Penalty] = {}
        self.is_available = True
        self.writes = 0

    async def add(self, penalties: Sequence[Penalty]) -> None:
        if not self.is_available:
            raise StorageUnavailable("gone")
        self.writes += len(penalties)
        self.rows |= {(penalty.kind, penalty.value): penalty for penalty in penalties}

    async def after(self, now: float, *, limit: int) -> tuple[Penalty, ...]:
        if not self.is_available:
            raise StorageUnavailable("gone")
        return tuple(penalty for penalty in self.rows.values() if penalty.until > now)[:limit]


class Node:
    """The limits of one process; its wall clock is not its monotonic one."""

    def __init__(self, store: Store | None = None, settings: LimitSettings = SETTINGS) -> None:
        self.now = 0.0
        self.store = store or Store()
        self.noted: list[tuple[str, str]] = []
        penalties = Penalties(self.store, clock=lambda: 1e9 + self.now, monotonic=lambda: self.now)
        self.limits = RequestLimits(
            penalties, monotonic=lambda: self.now, note=lambda limit, endpoint: self.noted.append((limit, endpoint))
        )
        self.limits.use(settings)

    def request(
        self,
        peer: str | None = HERE,
        *,
        certificate: PresentedCertificate | None = None,
        client_id: str | None = None,
        refusal: Refusal | None = None,
        code: ErrorCode = ErrorCode.INVALID_CLIENT,
    ) -> OAuthError | None:
        """One request as the server handles it; the refusal by a limit, if there was one."""
        event = RequestEvent(endpoint="token", peer=peer)
        try:
            event.counted_as = self.limits.admit("token", peer)
            self.limits.refuse_penalised("token", event.counted_as, certificate)
            if certificate is not None:
                event.certificate_thumbprint = encode_base64url(certificate.leaf.sha256)
            if client_id is not None:
                event.client_id = client_id
                event.certificate = certificate.leaf if certificate is not None else None
                self.limits.spend("token", client_id)
            if refusal is not None:
                event.refuse(OAuthError(code, refusal, ""))
        except OAuthError as error:
            event.refuse(error)
            self.limits(event)
            return error
        self.limits(event)
        return None

    def fail(self, peer: str | None = HERE, *, times: int = 1, certificate: PresentedCertificate | None = None) -> None:
        for _ in range(times):
            self.request(peer, certificate=certificate, refusal=Refusal.WRONG_SECRET)


@pytest.fixture(scope="module")
def certificates() -> list[PresentedCertificate]:
    ca = Authority.create("CA")
    return [present(ca.issue(name).der_chain) for name in ("first", "second")]


def test_the_rate_of_an_address() -> None:
    """Before anybody knows who asks; the next address is not concerned."""
    node = Node()
    assert [node.request() for _ in range(50)] == [None] * 50
    refused = node.request()
    assert refused is not None
    assert (refused.code, refused.refusal) == (ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.RATE_LIMITED)
    assert refused.retry_after == 1
    assert node.request(THERE) is None
    assert node.noted == [("address", "token")]
    node.now += 0.1
    assert node.request() is None


def test_a_network_of_ipv6_counts_as_one() -> None:
    """Whoever has one address of it has 2⁶⁴."""
    node = Node()
    assert not any(node.request(f"2001:db8::{number:x}") for number in range(50))
    assert node.request("2001:db8::ffff:1") is not None
    assert node.request("2001:db8:0:1::1") is None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        (HERE, HERE),
        ("::ffff:192.0.2.1", HERE),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("64:ff9b::c000:201", HERE),  # by NAT64: all of IPv4 comes from this network
        ("64:ff9b::a01:203", "10.1.2.3"),
        ("64:ff9b:1::c000:201", "64:ff9b:1::/64"),
        ("10.1.2.3", ""),
        ("::ffff:10.1.2.3", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_what_an_address_counts_as(address: str, key: str) -> None:
    assert peer_key(address, exempt=SETTINGS.exempt) == key


def test_exempt_addresses_and_proxies_have_no_rate() -> None:
    """They stand for many."""
    node = Node()
    assert not any(node.request(peer) for peer in ("10.0.0.1", None) for _ in range(500))


def test_the_rate_of_a_client() -> None:
    """From wherever it asks."""
    node = Node()
    peers = [f"192.0.2.{number}" for number in range(10)]
    assert not any(node.request(peer, client_id="c1") for peer in peers)
    refused = node.request("10.0.0.1", client_id="c1")
    assert refused is not None
    assert "c1" in refused.detail
    assert node.request("10.0.0.1", client_id="c2") is None
    assert [(b.client_id, b.endpoint, b.left) for b in node.limits.budgets(9)] == [
        ("c1", "token", 0.0),
        ("c2", "token", 0.9),
    ]
    assert len(node.limits.budgets(1)) == 1


def test_refused_requests_of_a_client_cost_it_more() -> None:
    """Ten are its burst: two that were refused take as much."""
    node = Node()
    for _ in range(2):
        node.request(client_id="c1", refusal=Refusal.SCOPE_NOT_ALLOWED, code=ErrorCode.INVALID_SCOPE)
    assert node.request(client_id="c1") is not None
    node.now += 1
    assert node.request(client_id="c1") is None


def test_failures_are_penalised_long_before_requests() -> None:
    """For a minute; refused requests do not prolong it."""
    node = Node()
    node.fail(times=6)
    for _ in range(3):
        refused = node.request()
        assert refused is not None
        assert (refused.refusal, refused.retry_after) == (Refusal.TOO_MANY_FAILURES, 60 - int(node.now))
        node.now += 10
    assert node.noted == [("failures", "token")] * 3
    assert node.request(THERE) is None
    node.now = 60.5
    assert node.request() is None


@pytest.mark.parametrize("refusal", [Refusal.REVOCATION_UNKNOWN, Refusal.DPOP_NONCE_NEEDED])
def test_what_is_not_the_clients_fault_is_no_failure(refusal: Refusal) -> None:
    """A list that has ended must not silence a fleet beyond its return."""
    node = Node()
    for _ in range(30):
        node.request(refusal=refusal)
    for _ in range(15):
        node.request(refusal=Refusal.MALFORMED_REQUEST, code=ErrorCode.INVALID_REQUEST)
    assert node.request() is None


def test_nobody_can_penalise_a_client_that_is_not_himself(certificates: list[PresentedCertificate]) -> None:
    """Its name counts for nothing: from elsewhere it is as welcome as before."""
    node = Node()
    node.fail(times=30)
    assert node.request(THERE, client_id="c1") is None
    assert {kind for kind, _ in node.limits.penalties._until} == {PenaltyKind.ADDRESS}
    assert node.request(THERE, client_id="c2", certificate=certificates[0]) is None


def test_a_neighbour_locks_out_nobody_who_has_proven_a_key(certificates: list[PresentedCertificate]) -> None:
    """Behind one address: the client with its certificate goes on, for an hour after it was let in the last time."""
    good, bad = certificates
    node = Node()
    assert node.request(client_id="c1", certificate=good) is None
    node.fail(times=6, certificate=bad)
    assert node.request(client_id="c1", certificate=good) is None
    assert node.request(certificate=bad) is not None
    assert node.request() is not None
    node.now = PROVEN_SECONDS
    node.fail(times=6)
    assert node.request(client_id="c1", certificate=good) is not None


def test_a_certificate_is_penalised_wherever_it_comes_from(certificates: list[PresentedCertificate]) -> None:
    """Behind proxies and balancers too, where addresses say nothing; it took its key to get there."""
    bad, other = certificates
    node = Node()
    node.fail(None, times=3, certificate=bad)
    node.fail("10.0.0.1", times=3, certificate=bad)
    for peer in (None, "10.0.0.2", THERE):
        assert node.request(peer, certificate=bad) is not None
        assert node.request(peer, certificate=other) is None
        assert node.request(peer) is None


async def test_all_nodes_learn_of_a_penalty() -> None:
    """It is written once, and ends with the same second; their own clocks may differ."""
    store = Store()
    first, second = Node(store), Node(store)
    second.now = 500.0
    second.limits.penalties._clock = lambda: 1e9 + second.now - 500.0
    first.fail(times=6)
    await first.limits.penalties.follow()
    await second.limits.penalties.follow()
    refused = second.request()
    assert refused is not None
    assert refused.retry_after == 60
    for _ in range(20):
        first.request()
        await first.limits.penalties.follow()
    assert store.writes == 1
    second.now += 61
    assert second.request() is None


async def test_without_the_storage_each_node_has_its_own() -> None:
    """And tells them when it is back."""
    node = Node()
    node.store.is_available = False
    node.fail(times=6)
    with pytest.raises(StorageUnavailable):
        await node.limits.penalties.follow()
    assert node.request() is not None
    node.store.is_available = True
    await node.limits.penalties.follow()
    assert node.store.writes == 1


async def test_penalties_are_bounded_and_no_flood_pushes_them_out() -> None:
    """In memory, in number, and in what is written at a time; the first of them stays."""
    node = Node()
    node.fail(times=6)
    penalties = node.limits.penalties
    for number in range(MAX_PENALTIES + 10):
        penalties.impose(PenaltyKind.ADDRESS, f"flood {number}", seconds=60, now=node.now)
    assert (len(penalties), penalties.dropped) == (MAX_PENALTIES, 11)
    assert node.request() is not None
    await penalties.follow()
    assert node.store.writes == MAX_WRITTEN
    node.now = 61
    await penalties.follow()
    assert len(penalties) == 0


async def test_what_waits_to_be_shared_is_bounded_and_not_yet_over() -> None:
    """More is imposed than is written, for hours: what has ended meanwhile neither waits nor is written."""
    node = Node()
    penalties = node.limits.penalties
    for hour in range(20):
        for number in range(1_000):
            penalties.impose(PenaltyKind.ADDRESS, f"{hour}.{number}", seconds=60.0, now=node.now)
        await penalties.follow()
        node.now += 61.0
    assert len(penalties._unwritten) <= 1_000
    assert node.store.writes == 20 * MAX_WRITTEN
    assert {value.partition(".")[0] for _, value in list(node.store.rows)[-MAX_WRITTEN:]} == {"19"}
    node.store.is_available = False
    for _ in range(3):
        penalties.impose(PenaltyKind.ADDRESS, f"at {node.now}", seconds=60.0, now=node.now)
        with pytest.raises(StorageUnavailable):
            await penalties.follow()
        node.now += 61.0
    assert len(penalties._unwritten) == 1


def test_a_reload_keeps_what_has_not_changed() -> None:
    """An emptied bucket is not filled by it, unless its rate is another."""
    node = Node()
    for _ in range(10):
        node.request("10.0.0.1", client_id="c1")
    node.limits.use(SETTINGS)
    assert node.request("10.0.0.1", client_id="c1") is not None
    node.limits.use(LimitSettings(endpoints={"token": EndpointLimits(client=Rate(per_second=1, burst=11))}))
    assert node.request("10.0.0.1", client_id="c1") is None
    node.limits.use(LimitSettings())
    assert not any(node.request(client_id="c1", refusal=Refusal.WRONG_SECRET) for _ in range(99))


async def test_penalties_follow_the_storage_in_the_background() -> None:
    """Also past its outage."""
    store = Store()
    first, second = Node(store), Node(store)
    store.is_available = False
    async with first.limits.penalties.following(every=0.01), second.limits.penalties.following(every=0.01):
        first.fail(times=6)
        await asyncio.sleep(0.03)
        store.is_available = True
        async with asyncio.timeout(5):
            while second.request() is None:  # noqa: ASYNC110 # what is waited for happens in a task of another node
                await asyncio.sleep(0.01)
