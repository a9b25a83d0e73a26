"""Ending the tokens of revoked certificates: how much is looked up, what is bounded, and what survives an outage."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_as.pki.accepted_paths import NOTE_AGAIN, AcceptedPaths, read_path
from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.revocation import DomainRevocation
from mtls_as.pki.revocation import Revocation as CertificateRevocation
from mtls_as.pki.revocation_policy import Issued, RevocationPolicy, issued_certificates
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from mtls_as.server.accepted_path import StoredPath
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocation import Revocation, RevocationKind
from mtls_as.server.revocations import Revocations
from mtls_as.server.revoked_certificates import LATE_SECONDS, STORE_SECONDS, SWEEP_SECONDS, RevokedCertificates
from tests.authority import Authority, Identity
from tests.revocation_lists import issue_crl

START = datetime.now(UTC).timestamp()


class Store:
    """Both stores, which may fail; counts what is asked."""

    def __init__(self) -> None:
        self.paths: dict[str, StoredPath] = {}
        self.revocations: list[Revocation] = []
        self.is_available = True
        self.asked: list[float] = []
        self.records = 0

    async def record(self, paths: Sequence[StoredPath]) -> None:
        self._require()
        self.records += 1
        self.paths |= {path.x5t_s256: path for path in paths}

    async def stored_since(
        self, trust: str, since: float, *, before: StoredPath | None, limit: int
    ) -> tuple[StoredPath, ...]:
        self._require()
        self.asked.append(since)
        found = sorted(self.paths.values(), key=lambda path: (-path.stored_at, path.x5t_s256))
        start = 0 if before is None else found.index(before) + 1
        return tuple(path for path in found if path.trust == trust and path.stored_at >= since)[start : start + limit]

    async def add(self, revocation: Revocation) -> None:
        self._require()
        self.revocations.append(revocation)

    async def since(self, revision: int) -> tuple[int, tuple[Revocation, ...]]:
        self._require()
        return len(self.revocations), tuple(self.revocations[max(revision, 0) :])

    async def prune(self, *, ended_before: float) -> None:
        del ended_before

    def _require(self) -> None:
        if not self.is_available:
            raise StorageUnavailable("gone")


class Node:
    """What a process has of it, with a clock that the test moves; `store` may be shared."""

    def __init__(self, folder: Path, ca: Authority, store: Store | None = None) -> None:
        self.now = START
        self.ca = ca
        self.file = folder / "ca.crl"
        self.store = store or Store()
        self.certificates = CertificateRevocation(base=folder, clock=lambda: self.now)
        policy = RevocationPolicy(lists=("ca.crl",), revokes_tokens=True)
        domain = self.certificates.domain("partner", policy, [certificate(ca)])
        assert domain is not None
        self.domain: DomainRevocation = domain
        self.revocations = Revocations(self.store, monotonic=lambda: self.now)
        self.revoked = RevokedCertificates(self.certificates, self.store, self.revocations, clock=lambda: self.now)

    def use(self, identity: Identity) -> bool:
        """Whether a request with the certificate goes on."""
        try:
            self.domain.check(self.path(identity), at=datetime.fromtimestamp(self.now, UTC))
        except CertificateRefused:
            return False
        return True

    def path(self, identity: Identity) -> tuple[Issued, ...]:
        return issued_certificates([certificate(identity), certificate(self.ca)])

    def publish(self, *revoked: Identity | int, number: int) -> None:
        self.file.write_bytes(issue_crl(self.ca, revoked, number=number))
        self.domain.sources.take(self.domain.sources.read_changed())

    async def round(self, seconds: float = 1.0) -> None:
        self.now += seconds
        await self.revoked.round()

    def ended(self) -> list[str]:
        return [each.value for each in self.store.revocations if each.kind is RevocationKind.CERTIFICATE]


def certificate(identity: Identity):  # noqa: ANN201 # of the module that parses it
    return parse_certificate(identity.certificate.public_bytes(Encoding.DER))


def x5t(identity: Identity) -> str:
    return encode_base64url(certificate(identity).sha256)


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority.create("CA")


@pytest.fixture
def node(tmp_path: Path, ca: Authority) -> Node:
    (tmp_path / "ca.crl").write_bytes(issue_crl(ca))
    return Node(tmp_path, ca)


async def test_a_large_list_costs_no_more_questions(node: Node) -> None:
    """The certificates that were used are looked up in the list: one page of them, whatever the list's length."""
    good, bad = node.ca.issue("good"), node.ca.issue("bad")
    assert node.use(good)
    assert node.use(bad)
    await node.round()
    node.publish(bad, *range(1, 20_000), number=2)
    node.store.asked.clear()
    await node.round()
    assert node.ended() == [x5t(bad)]
    assert len(node.store.asked) == 1


async def test_nothing_is_asked_while_nothing_changes(node: Node) -> None:
    """Once a minute those that are new, and no others."""
    node.use(node.ca.issue("c"))
    await node.round()
    first = node.now
    node.store.asked.clear()
    for _ in range(int(SWEEP_SECONDS) - 1):
        await node.round()
    assert node.store.asked == []
    await node.round()
    assert node.store.asked == [first - LATE_SECONDS]


async def test_a_certificate_is_stored_once_an_hour(node: Node) -> None:
    """And not at each of its requests."""
    client = node.ca.issue("c")
    for _ in range(20):
        node.use(client)
        await node.round(STORE_SECONDS)
    assert node.store.records == 1
    node.now += NOTE_AGAIN.total_seconds()
    node.publish(number=2)
    node.use(client)
    await node.round()
    assert node.store.records == 2


async def test_one_end_is_written_once(node: Node, tmp_path: Path) -> None:
    """Neither each round nor each node nor each restart writes it again; not even when the certificate is shown."""
    bad = node.ca.issue("bad")
    node.use(bad)
    await node.round()
    node.publish(bad, number=2)
    for number in range(3, 6):
        assert not node.use(bad)
        await node.round(SWEEP_SECONDS)
        node.publish(bad, number=number)
    other = Node(tmp_path, node.ca, node.store)
    await other.revocations.refresh()
    await other.round(SWEEP_SECONDS)
    assert not other.use(bad)
    await other.round()
    assert node.ended() == [x5t(bad)]


async def test_a_second_hold_ends_what_was_issued_in_between(node: Node) -> None:
    """Although the certificate was noted less than an hour before."""
    bad = node.ca.issue("bad")
    node.use(bad)
    await node.round()
    node.publish(bad, number=2)
    await node.round()
    node.publish(number=3)
    await node.round()
    assert node.use(bad)
    used_at = node.now
    await node.round()
    assert len(node.ended()) == 1
    node.publish(bad, number=4)
    await node.round()
    assert len(node.ended()) == 2
    assert node.store.revocations[-1].issued_before > used_at


async def test_an_outage_forgets_nothing(node: Node) -> None:
    """What was noted stays so, and what is revoked is ended when the storage is back."""
    bad, shown = node.ca.issue("bad"), node.ca.issue("shown")
    node.use(bad)
    node.store.is_available = False
    with pytest.raises(StorageUnavailable):
        await node.round(STORE_SECONDS)
    node.publish(bad, shown, number=2)
    assert not node.use(shown)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await node.round(STORE_SECONDS)
    node.store.is_available = True
    await node.round()
    assert sorted(node.ended()) == sorted([x5t(bad), x5t(shown)])


async def test_an_unreadable_row_hides_no_other(node: Node) -> None:
    """It is skipped, and said."""
    bad = node.ca.issue("bad")
    node.use(bad)
    await node.round()
    broken = StoredPath(trust="partner", x5t_s256="x" * 43, path=b"\x30", last_used_at=node.now, stored_at=node.now)
    node.store.paths[broken.x5t_s256] = broken
    node.publish(bad, number=2)
    await node.round()
    assert node.ended() == [x5t(bad)]


async def test_the_last_uses_are_stored_when_the_server_stops(node: Node) -> None:
    """Those of the last seconds."""
    async with node.revoked.following(every=3600):
        node.use(node.ca.issue("c"))
    assert node.store.records == 1


def test_notes_are_bounded(node: Node) -> None:
    """The oldest go, of each kind; what is lost is counted."""
    notes = AcceptedPaths(max_notes=3)
    at = datetime.fromtimestamp(START, UTC)
    paths = [node.path(node.ca.issue(f"c{number}")) for number in range(6)]
    for index, path in enumerate(paths):
        notes.accept(path, at=at + timedelta(seconds=index))
        notes.refuse(path, at=at)
    taken, revoked = notes.take_accepted(), notes.take_revoked()
    newest = [path[0].certificate.sha256 for path in paths[3:]]
    assert (list(taken), list(revoked), notes.lost) == (newest, newest, 3)
    notes.accept(paths[0], at=at)
    notes.put_back(taken)
    notes.put_back_revoked(revoked)
    assert (len(notes.take_accepted()), notes.lost, len(notes.take_revoked())) == (3, 4, 3)
    assert read_path(taken[newest[0]].encoding) == paths[3]
