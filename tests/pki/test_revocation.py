"""Revocation in trust domains: what a verification says of it, and what outlives a reload."""

import asyncio
import contextlib
import gc
import random
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.pki.crl import CRL, parse_crl
from mtls_as.pki.presented import present
from mtls_as.pki.refused import CertificateRefused
from mtls_as.pki.revocation import DomainRevocation, Revocation
from mtls_as.pki.revocation_fetching import SourceUnavailable
from mtls_as.pki.revocation_lists import ListRefused
from mtls_as.pki.revocation_policy import Issued, RevocationPolicy, RevocationStatus, issued_certificates
from mtls_as.pki.trust_domains import TrustDomains, TrustDomainSettings, TrustedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import HOUR, Authority, Identity
from tests.ocsp_responder import appoint, forge_answer
from tests.revocation_lists import forge_crl, issue_crl

CA = Authority.create("Revocation CA")
CLIENT = CA.issue("client")
URL = "http://ocsp.example/"


def load(
    folder: Path, policy: RevocationPolicy, revocation: Revocation | None = None, anchor: Identity = CA
) -> TrustDomains:
    (folder / "ca.pem").write_text(anchor.pem)
    settings = TrustDomainSettings(name="default", anchors=("ca.pem",), revocation=policy)
    return TrustDomains.load([settings], base=folder, revocation=revocation)


def verify(domains: TrustDomains, client: Identity = CLIENT, *, later: float = 0) -> TrustedCertificate:
    at = datetime.now(UTC) + timedelta(seconds=later)
    return domains.verify(present(client.der_chain), domain="default", at=at)


async def verify_online(domains: TrustDomains, client: Identity = CLIENT) -> TrustedCertificate:
    return await domains.verify_online(present(client.der_chain), domain="default", at=datetime.now(UTC))


class Fetcher:
    """Answers in memory, and counts."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.count = 0

    async def get_list(self, url: str) -> bytes:
        raise SourceUnavailable(url)

    async def ask_responder(self, url: str, question: bytes) -> bytes:
        self.count += 1
        await asyncio.sleep(0.01)
        return self.answer(question)


def test_nothing_is_checked_unless_it_is_configured(tmp_path: Path) -> None:
    """A domain without lists and responder asks nothing."""
    assert verify(load(tmp_path, RevocationPolicy())).revocation == ()


def test_a_verification_says_what_it_stands_on(tmp_path: Path) -> None:
    """Source, number and dates of the list, for `cert explain`."""
    root = Authority.create("Root")
    middle = Authority.create("Middle", parent=root)
    (tmp_path / "a.crl").write_bytes(issue_crl(root, number=3, pem=True) + issue_crl(middle, number=4, pem=True))
    domains = load(tmp_path, RevocationPolicy(lists=("a.crl",)), anchor=root)
    of_leaf, of_middle = verify(domains, middle.issue("leaf")).revocation
    assert (of_leaf.status, of_leaf.kind, of_leaf.number) == (RevocationStatus.GOOD, "crl", 4)
    assert (of_middle.status, of_middle.source, of_middle.number) == ("good", str(tmp_path / "a.crl"), 3)
    assert str(of_middle.certificate.subject) == "CN=Middle"
    assert of_leaf.this_update is not None
    assert of_leaf.next_update is not None


def test_an_open_domain_says_what_it_does_not_know(tmp_path: Path) -> None:
    """Let in, and told."""
    (check,) = verify(load(tmp_path, RevocationPolicy(lists=("missing.crl",), fails="open"))).revocation
    assert (check.status, check.policy, check.source) == (RevocationStatus.UNKNOWN, "open", None)
    assert check.detail == "there is no list of its CA"


def test_a_refusal_names_certificate_date_reason_and_source(tmp_path: Path) -> None:
    """What the log will say."""
    (tmp_path / "a.crl").write_bytes(issue_crl(CA, [CLIENT]))
    with pytest.raises(CertificateRefused) as refused:
        verify(load(tmp_path, RevocationPolicy(lists=("a.crl",), fails="open")))
    assert refused.value.refusal is Refusal.CERTIFICATE_REVOKED
    assert "'CN=client': revoked on" in refused.value.detail
    assert f"unspecified (by {tmp_path / 'a.crl'})" in refused.value.detail


def test_a_revoked_certificate_is_told_before_an_unknown_one(tmp_path: Path) -> None:
    """The stronger reason counts, wherever it stands on the path."""
    root = Authority.create("Root")
    middle = Authority.create("Middle", parent=root)
    (tmp_path / "a.crl").write_bytes(issue_crl(root, [middle]))
    with pytest.raises(CertificateRefused, match="certificate_revoked: 'CN=Middle'"):
        verify(load(tmp_path, RevocationPolicy(lists=("a.crl",)), anchor=root), middle.issue("leaf"))


def test_what_is_known_outlives_a_reload(tmp_path: Path) -> None:
    """The same settings, the same state, even if the file is gone; other settings begin anew."""
    policy, revocation = RevocationPolicy(lists=("a.crl",)), Revocation(base=tmp_path)
    (tmp_path / "a.crl").write_bytes(issue_crl(CA))
    first = load(tmp_path, policy, revocation)
    (tmp_path / "a.crl").unlink()
    second = load(tmp_path, policy, revocation)
    assert verify(second).revocation
    assert len(revocation.domains()) == 1
    third = load(tmp_path, RevocationPolicy(lists=("a.crl",), grace=1), revocation)
    assert len(revocation.domains()) == 2
    with pytest.raises(CertificateRefused, match="revocation_unknown"):
        verify(third)
    del first, second
    gc.collect()
    assert len(revocation.domains()) == 1


async def test_waiting_requests_share_one_question(tmp_path: Path) -> None:
    """Single flight; then memory; after a failure nobody asks for a while."""
    fetcher = Fetcher(lambda question: forge_answer(question, CLIENT, CA, CA))
    revocation = Revocation(base=tmp_path, fetcher=fetcher)
    domains = load(tmp_path, RevocationPolicy(responder=URL), revocation)
    trusted = await asyncio.gather(*(verify_online(domains) for _ in range(10)))
    assert fetcher.count == 1
    (check,) = trusted[0].revocation
    assert (check.status, check.kind, check.source, check.number) == ("good", "ocsp", URL, None)
    assert verify(domains).revocation == (check,)
    fetcher.answer = lambda question: b"garbage"
    other = CA.issue("other")
    for _ in range(3):
        with pytest.raises(CertificateRefused, match="OCSP: its structure"):
            await verify_online(domains, other)
    assert fetcher.count == 2


async def test_no_question_is_asked_about_a_path_that_is_not_valid(tmp_path: Path) -> None:
    """Strangers cannot make the server ask."""
    fetcher = Fetcher(lambda question: b"")
    domains = load(tmp_path, RevocationPolicy(responder=URL), Revocation(base=tmp_path, fetcher=fetcher))
    with pytest.raises(CertificateRefused, match="untrusted_issuer"):
        await verify_online(domains, Authority.create("Stranger").issue("client"))
    assert fetcher.count == 0


async def test_a_responder_that_was_taken_back_vouches_for_nobody(tmp_path: Path) -> None:
    """Its own serial number stands in a list of the CA, one that ended and so speaks for nobody else."""
    responder = appoint(CA)
    fetcher = Fetcher(lambda question: forge_answer(question, CLIENT, CA, responder, brings=(responder,)))
    policy = RevocationPolicy(lists=("a.crl",), responder=URL)
    domains = load(tmp_path, policy, Revocation(base=tmp_path, fetcher=fetcher))
    assert (await verify_online(domains)).revocation[0].kind == "ocsp"
    now = datetime.now(UTC)
    old = {"this_update": now - timedelta(days=2), "next_update": now - timedelta(days=1)}
    (tmp_path / "a.crl").write_bytes(
        issue_crl(CA, [responder], this_update=old["this_update"], next_update=old["next_update"])
    )
    again = load(tmp_path, policy, Revocation(base=tmp_path, fetcher=fetcher))
    with pytest.raises(CertificateRefused, match="revocation_unknown"):
        await verify_online(again)


async def test_an_older_answer_is_a_replay(tmp_path: Path) -> None:
    """It does not take the place of the one at hand."""
    now = time.time()
    clock = [now]
    fetcher = Fetcher(lambda question: forge_answer(question, CLIENT, CA, CA, nonce=b""))
    revocation = Revocation(base=tmp_path, fetcher=fetcher, clock=lambda: clock[0])
    domains = load(tmp_path, RevocationPolicy(responder=URL), revocation)
    (check,) = (await verify_online(domains)).revocation
    (state,) = revocation.domains()
    assert state.answers is not None
    at = datetime.fromtimestamp(now, UTC)
    fetcher.answer = lambda question: forge_answer(
        question, CLIENT, CA, CA, nonce=b"", this_update=at - timedelta(days=1), next_update=at + timedelta(days=2)
    )
    clock[0] += 3601
    state.answers.refresh()
    await asyncio.sleep(0.1)
    assert fetcher.count == 2
    assert verify(domains).revocation == (check,)


@pytest.mark.slow
async def test_reading_a_large_list_does_not_hold_up_the_requests(tmp_path: Path) -> None:
    """200,000 entries come in beside an event loop that goes on turning."""
    source = random.Random(3)
    serials = [source.getrandbits(150) | 1 << 158 for _ in range(200_000)]
    (tmp_path / "a.crl").write_bytes(issue_crl(CA))
    revocation = Revocation(base=tmp_path)
    domains = load(tmp_path, RevocationPolicy(lists=("a.crl",)), revocation)
    large = tmp_path / "large"
    large.write_bytes(forge_crl(CA, serials, number=2))
    longest = 0.0
    async with revocation.following():
        large.replace(tmp_path / "a.crl")
        deadline = time.monotonic() + 20
        while verify(domains).revocation[0].number != 2:
            assert time.monotonic() < deadline
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - started)
    assert longest < 0.5


MINUTES = [-90, -61, -60, -30, -1, 0, 1, 5, 29, 30, 31, 60, 61, 90]
"""Moments, in minutes from now, between, at and beside those at which the lists below begin and end."""


def _lists() -> list[bytes]:
    """Complete lists and deltas that revoke the client, or others, or take that back, for an hour each at most."""
    now = datetime.now(UTC)
    back = {CLIENT.certificate.serial_number: x509.ReasonFlags.remove_from_crl}
    made = []
    for number, (begins, ends) in enumerate([(-60, 30), (-60, 60), (-30, 30), (0, 60), (5, 30), (-90, -30)], start=1):
        dates = {"this_update": now + timedelta(minutes=begins), "next_update": now + timedelta(minutes=ends)}
        made.append(issue_crl(CA, [], number=number, **dates))
        made.append(issue_crl(CA, [CLIENT], number=number, **dates))
        made.append(issue_crl(CA, [CLIENT], number=number + 1, delta_of=number, **dates))
        made.append(issue_crl(CA, [CLIENT], number=number + 1, delta_of=number, reasons=back, **dates))
    return made


LISTS = [parse_crl(data) for data in _lists()]


def outcome(domain: DomainRevocation, path: Sequence[Issued], at: datetime) -> object:
    try:
        return domain.check(path, at=at)
    except CertificateRefused as error:
        return error.refusal, error.detail


@given(
    st.lists(st.sampled_from(MINUTES) | st.sampled_from(LISTS), max_size=24),
    st.sampled_from([0.0, 1800.0]),
    st.sampled_from(["closed", "open"]),
)
def test_what_is_remembered_of_a_path_is_what_its_lists_say(
    steps: list[int | CRL], grace: float, fails: Literal["closed", "open"]
) -> None:
    """Whatever lists come, and whatever the time is, forwards and backwards: as for a path that is new each time."""
    policy = RevocationPolicy(lists=("nowhere.crl",), grace=grace, fails=fails)
    authority = parse_certificate(CA.der)
    domain = Revocation(base=Path("/nowhere")).domain("default", policy, [authority])
    assert domain is not None
    path = issued_certificates([parse_certificate(CLIENT.der), authority])
    now = LISTS[0].this_update + HOUR
    for step in steps:
        if isinstance(step, CRL):
            with contextlib.suppress(ListRefused):
                domain.lists.take("somewhere", step, at=now)
        else:
            at = now + timedelta(minutes=step)
            assert outcome(domain, path, at) == outcome(domain, list(path), at) == outcome(domain, path, at)


def test_a_list_that_comes_counts_for_a_path_that_was_checked(tmp_path: Path) -> None:
    """At once, and whoever was good a moment ago is not any more."""
    (tmp_path / "ca.crl").write_bytes(issue_crl(CA))
    domains = load(tmp_path, RevocationPolicy(lists=("ca.crl",)))
    (domain,) = domains.revocations
    for _ in range(3):
        assert verify(domains).revocation[0].status is RevocationStatus.GOOD
    domain.lists.take("ca.crl", parse_crl(issue_crl(CA, [CLIENT], number=2)), at=datetime.now(UTC))
    for _ in range(2):
        with pytest.raises(CertificateRefused) as caught:
            verify(domains)
        assert caught.value.refusal is Refusal.CERTIFICATE_REVOKED


def test_a_list_that_ends_counts_to_its_last_moment_and_no_longer(tmp_path: Path) -> None:
    """Whether or not its path was checked at that very moment."""
    (tmp_path / "ca.crl").write_bytes(data := issue_crl(CA))
    domain = load(tmp_path, RevocationPolicy(lists=("ca.crl",))).revocations[0]
    path = issued_certificates([parse_certificate(CLIENT.der), parse_certificate(CA.der)])
    end = parse_crl(data).next_update
    assert domain.check(path, at=end)[0].status is RevocationStatus.GOOD
    with pytest.raises(CertificateRefused) as caught:
        domain.check(path, at=end + timedelta(microseconds=1))
    assert caught.value.refusal is Refusal.REVOCATION_UNKNOWN


class WatchedPath(list[Issued]):
    """A path that can be seen to be forgotten."""


def test_what_is_remembered_of_paths_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many clients come."""
    monkeypatch.setattr("mtls_as.pki.revocation.MAX_CHECKED", 4)
    (tmp_path / "ca.crl").write_bytes(issue_crl(CA))
    domains = load(tmp_path, RevocationPolicy(lists=("ca.crl",)))
    (domain,) = domains.revocations
    authority = parse_certificate(CA.der)
    paths = [WatchedPath(issued_certificates([parse_certificate(CLIENT.der), authority])) for _ in range(10)]
    alive = [weakref.ref(path) for path in paths]
    for path in paths:
        domain.check(path, at=datetime.now(UTC))
    del paths, path
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 4
