"""SPIFFE Federation: bundles from files and from real HTTPS endpoints, and what happens when they go wrong."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import present
from mtls_as.pki.trust_domains import TrustConfigurationError
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.spiffe_id import parse_spiffe_id
from mtls_as.server.spiffe_federation import BundleEndpoint, Federation, SpiffeDomainSettings
from tests.authority import Authority, Identity
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.workloads import TrustDomain, document

NAME = "td.example"


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


class Publisher:
    """A bundle endpoint that serves what it is told to, and counts."""

    def __init__(self, document: Any, **options: Any) -> None:
        self.answer: bytes = answer(document)
        self.server = HTTPSServer(self.handle, **options)

    def handle(self, _request: Request) -> bytes:
        return self.answer

    @property
    def fetches(self) -> int:
        return len(self.server.requests)

    def endpoint(self, folder: Path, **options: Any) -> BundleEndpoint:
        """The endpoint, known by the CA of its server unless told otherwise."""
        ca = folder / "web-ca.pem"
        ca.write_text(self.server.authority.pem)
        known = options or {"ca": ca}
        return BundleEndpoint(url=f"{self.server.url}/bundle.json", **known)


@pytest.fixture
def domain() -> TrustDomain:
    return TrustDomain(NAME)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refusal_of(federation: Federation, svid: Identity, name: str = NAME) -> Refusal | None:
    """Why an X.509-SVID is refused, or None if it is accepted."""
    try:
        federation.current().verify(present(svid.der_chain), trust_domain=name, at=datetime.now(UTC))
    except CertificateRefused as error:
        return error.refusal
    return None


def names_with(part: str, folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if part in file.name]


def settings(**options: Any) -> list[SpiffeDomainSettings]:
    return [SpiffeDomainSettings(trust_domain=NAME, **options)]


class TestFiles:
    def test_a_file_is_read_at_once(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        federation = Federation(settings(bundle=tmp_path / domain.write(tmp_path)), clock=clock)
        assert refusal_of(federation, domain.svid("/a")) is None
        assert federation.current().generation == 1

    @pytest.mark.parametrize("content", [None, "", "{", '{"keys": 1}'])
    def test_a_bad_file_keeps_the_server_from_starting(self, tmp_path: Path, clock: Clock, content: str | None) -> None:
        """Missing, empty, half written, or something else; the message names the domain and the file."""
        file = tmp_path / "bundle.json"
        if content is not None:
            file.write_text(content)
        with pytest.raises(TrustConfigurationError, match=f"SPIFFE trust domain '{NAME}': {file}: "):
            Federation(settings(bundle=file), clock=clock)

    async def test_an_unchanged_file_is_not_read_again(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        federation = Federation(settings(bundle=tmp_path / domain.write(tmp_path)), clock=clock)
        before = federation.current()
        await federation.refresh()
        assert federation.current() is before

    async def test_a_bad_change_is_reported_once(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = tmp_path / domain.write(tmp_path)
        federation = Federation(settings(bundle=file), clock=clock)
        file.write_text("{")
        with caplog.at_level(logging.WARNING, logger="mtls_as"):
            for _ in range(3):
                await federation.refresh()
        assert len(caplog.records) == 1
        assert str(file) in caplog.text
        assert "the bundle in force stays" in caplog.text
        assert refusal_of(federation, domain.svid("/a")) is None

    async def test_the_sequence_never_goes_back(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """Not even by way of a bundle without one."""
        file = tmp_path / domain.write(tmp_path, sequence=7)
        federation = Federation(settings(bundle=file), clock=clock)
        other = TrustDomain(NAME)
        other.write(tmp_path, sequence=6)
        await federation.refresh()
        assert refusal_of(federation, other.svid("/a")) is Refusal.UNTRUSTED_ISSUER
        domain.write(tmp_path, sequence=None, refresh_hint=60)
        await federation.refresh()
        other.write(tmp_path, sequence=6, refresh_hint=61)
        await federation.refresh()
        assert refusal_of(federation, domain.svid("/a")) is None
        other.write(tmp_path, sequence=8)
        await federation.refresh()
        assert refusal_of(federation, other.svid("/a")) is None


class TestEndpoints:
    async def test_a_bundle_is_fetched(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """SPIFFE Federation §5.2.1; before that, nobody of the domain is let in."""
        publisher = Publisher(domain.bundle())
        with publisher.server:
            federation = Federation(settings(endpoint=publisher.endpoint(tmp_path)), clock=clock)
            assert refusal_of(federation, domain.svid("/a")) is Refusal.SPIFFE_BUNDLE_UNAVAILABLE
            await federation.refresh()
        assert refusal_of(federation, domain.svid("/a")) is None

    @pytest.mark.parametrize(("hint", "interval"), [(None, 300), (0, 60), (1, 60), (900, 900), (2_419_200, 3600)])
    async def test_it_is_fetched_again_as_often_as_the_hint_says(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock, hint: int | None, interval: int
    ) -> None:
        """SPIFFE Federation §4.1, within limits."""
        publisher = Publisher(domain.bundle(refresh_hint=hint))
        with publisher.server:
            federation = Federation(settings(endpoint=publisher.endpoint(tmp_path)), clock=clock)
            for seconds, fetches in ((0, 1), (interval - 1, 1), (2, 2)):
                clock.now += seconds
                await federation.refresh()
                assert publisher.fetches == fetches

    async def test_a_clock_that_is_set_back_delays_nothing(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock
    ) -> None:
        publisher = Publisher(domain.bundle())
        with publisher.server:
            federation = Federation(settings(endpoint=publisher.endpoint(tmp_path)), clock=clock)
            await federation.refresh()
            clock.now -= 86_400
            await federation.refresh()
        assert publisher.fetches == 2

    @pytest.mark.parametrize(
        "reply",
        [
            answer({"keys": []}, status=500),
            answer({"keys": []}, status=302, Location="https://localhost/other"),
            answer(b"<html>", media_type="text/html"),
            answer(b"{"),
            answer({"keys": 1}),
            answer(b"", media_type="application/json"),
            answer(document(sequence=4)),
            answer(b'{"keys": []}' + b" " * 600_000),
        ],
        ids=["500", "redirect", "html", "half", "shape", "empty", "older", "long"],
    )
    async def test_a_bad_answer_changes_nothing(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock, reply: bytes
    ) -> None:
        """SPIFFE Federation §6.2: the next attempt comes with the next interval."""
        publisher = Publisher(domain.bundle(sequence=5))
        with publisher.server:
            federation = Federation(settings(endpoint=publisher.endpoint(tmp_path)), clock=clock)
            await federation.refresh()
            publisher.answer = reply
            clock.now += 301
            await federation.refresh()
            await federation.refresh()
        assert publisher.fetches == 2
        assert refusal_of(federation, domain.svid("/a")) is None

    async def test_no_answer_at_all(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        publisher = Publisher(domain.bundle())
        with publisher.server:
            endpoint = publisher.endpoint(tmp_path)
        federation = Federation(settings(endpoint=endpoint), clock=clock)
        await federation.refresh()
        assert refusal_of(federation, domain.svid("/a")) is Refusal.SPIFFE_BUNDLE_UNAVAILABLE

    async def test_a_server_of_another_ca_is_not_believed(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock
    ) -> None:
        publisher = Publisher(domain.bundle())
        with publisher.server:
            endpoint = publisher.endpoint(tmp_path)
            (tmp_path / "web-ca.pem").write_text(Authority.create("Other CA").pem)
            federation = Federation(settings(endpoint=endpoint), clock=clock)
            await federation.refresh()
        assert publisher.fetches == 0
        assert refusal_of(federation, domain.svid("/a")) is Refusal.SPIFFE_BUNDLE_UNAVAILABLE

    def test_a_bad_ca_file_keeps_the_server_from_starting(self, tmp_path: Path, clock: Clock) -> None:
        file = tmp_path / "ca.pem"
        endpoint = BundleEndpoint(url="https://localhost/bundle.json", ca=file)
        for content in (None, "no certificate"):
            if content is not None:
                file.write_text(content)
            with pytest.raises(TrustConfigurationError, match=f"'{NAME}': {file}: "):
                Federation(settings(endpoint=endpoint), clock=clock)

    async def test_one_endpoint_speaks_for_one_domain(self, tmp_path: Path, clock: Clock) -> None:
        """SPIFFE Federation §4.2: bundles are never merged, even where two domains publish the same file."""
        one, other = TrustDomain("one.example"), TrustDomain("other.example")
        publisher = Publisher(one.bundle())
        with publisher.server:
            endpoint = publisher.endpoint(tmp_path)
            both = [
                SpiffeDomainSettings(trust_domain="one.example", endpoint=endpoint),
                SpiffeDomainSettings(trust_domain="other.example", bundle=tmp_path / other.write(tmp_path)),
            ]
            federation = Federation(both, clock=clock)
            await federation.refresh()
        forged = one.authority.issue_svid("spiffe://other.example/a")
        assert refusal_of(federation, forged, "other.example") is Refusal.UNTRUSTED_ISSUER
        assert refusal_of(federation, forged, "one.example") is Refusal.SUBJECT_MISMATCH
        assert refusal_of(federation, other.svid("/a"), "other.example") is None


class TestKeptCopies:
    async def test_a_restart_finds_what_was_fetched(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """SPIFFE Federation §4.2; the sequence number is remembered with it."""
        publisher = Publisher(domain.bundle(sequence=9))
        file = tmp_path / "kept.json"
        with publisher.server:
            both = settings(endpoint=publisher.endpoint(tmp_path), bundle=file)
            federation = Federation(both, clock=clock)
            await federation.refresh()
            kept = federation.current()
            await federation.refresh()
            assert federation.current() is kept, "its own copy is no change"
        assert json.loads(file.read_text()) == domain.bundle(sequence=9)
        assert names_with("kept", tmp_path) == ["kept.json"]
        again = Federation(both, clock=clock)
        assert refusal_of(again, domain.svid("/a")) is None
        TrustDomain(NAME).write(tmp_path, sequence=8)
        (tmp_path / f"{NAME}.bundle.json").replace(file)
        await again.refresh()
        assert refusal_of(again, domain.svid("/a")) is None

    async def test_a_broken_copy_keeps_the_server_from_starting(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock
    ) -> None:
        file = tmp_path / "kept.json"
        file.write_text("{")
        endpoint = BundleEndpoint(url="https://localhost/bundle.json")
        with pytest.raises(TrustConfigurationError, match=r"kept\.json"):
            Federation(settings(endpoint=endpoint, bundle=file), clock=clock)

    async def test_a_copy_that_cannot_be_written_is_reported(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        publisher = Publisher(domain.bundle())
        with publisher.server:
            file = tmp_path / "missing" / "kept.json"
            federation = Federation(settings(endpoint=publisher.endpoint(tmp_path), bundle=file), clock=clock)
            await federation.refresh()
        assert "cannot be kept" in caplog.text
        assert refusal_of(federation, domain.svid("/a")) is None

    async def test_looking_keeps_nothing(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """`cert explain` fetches as the server does, and writes nothing."""
        publisher = Publisher(domain.bundle())
        file = tmp_path / "kept.json"
        with publisher.server:
            both = settings(endpoint=publisher.endpoint(tmp_path), bundle=file)
            federation = Federation(both, clock=clock, keeps_copies=False)
            await federation.refresh()
        assert refusal_of(federation, domain.svid("/a")) is None
        assert not file.exists()


class TestSpiffeAuthentication:
    """`https_spiffe`, SPIFFE Federation §5.2.2: the server is a workload, and its host's name means nothing."""

    SERVER = "spiffe://td.example/bundle-server"

    async def fetch(self, tmp_path: Path, domain: TrustDomain, clock: Clock, identity: Identity) -> int:
        """Fetch from a server with this identity; the number of requests that reached it."""
        publisher = Publisher(domain.bundle(sequence=2, refresh_hint=77), identity=identity)
        file = tmp_path / domain.write(tmp_path, sequence=1)
        with publisher.server:
            endpoint = publisher.endpoint(tmp_path, server=parse_spiffe_id(self.SERVER))
            federation = Federation(settings(endpoint=endpoint, bundle=file), clock=clock)
            await federation.refresh()
        fetched = json.loads(file.read_text())["spiffe_sequence"]
        assert fetched == (2 if publisher.fetches else 1)
        return publisher.fetches

    async def test_the_right_workload(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        assert await self.fetch(tmp_path, domain, clock, domain.svid("/bundle-server")) == 1

    async def test_others(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """Another workload, another authority, two names, and a certificate for the host: nothing is asked of them."""
        for identity in (
            domain.svid("/other"),
            domain.authority.issue_svid(self.SERVER, "spiffe://td.example/other"),
            TrustDomain(NAME).svid("/bundle-server"),
            domain.authority.issue_server("localhost"),
        ):
            assert await self.fetch(tmp_path, domain, clock, identity) == 0

    async def test_the_latest_bundle_proves_the_server(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """§5.2.2.4: keys roll over without an operator."""
        rolled = TrustDomain(NAME)
        file = tmp_path / domain.write(tmp_path, sequence=1)
        first = Publisher(
            domain.bundle(*rolled.bundle()["keys"][:1], sequence=2), identity=domain.svid("/bundle-server")
        )
        with first.server:
            endpoint = first.endpoint(tmp_path, server=parse_spiffe_id(self.SERVER))
            federation = Federation(settings(endpoint=endpoint, bundle=file), clock=clock)
            await federation.refresh()
        second = Publisher(rolled.bundle(sequence=3), identity=rolled.svid("/bundle-server"))
        with second.server:
            endpoint = second.endpoint(tmp_path, server=parse_spiffe_id(self.SERVER))
            again = Federation(settings(endpoint=endpoint, bundle=file), clock=clock)
            await again.refresh()
        assert refusal_of(again, rolled.svid("/a")) is None
        assert refusal_of(again, domain.svid("/a")) is Refusal.UNTRUSTED_ISSUER

    async def test_a_server_of_another_domain(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        """Not self-serving: the other domain's bundle proves the server, and the fetched one is still this domain's."""
        operator = TrustDomain("operator.example")
        publisher = Publisher(domain.bundle(), identity=operator.svid("/bundles"))
        with publisher.server:
            endpoint = publisher.endpoint(tmp_path, server=parse_spiffe_id("spiffe://operator.example/bundles"))
            both = [
                SpiffeDomainSettings(trust_domain=NAME, endpoint=endpoint),
                SpiffeDomainSettings(trust_domain="operator.example", bundle=tmp_path / operator.write(tmp_path)),
            ]
            federation = Federation(both, clock=clock)
            await federation.refresh()
        assert refusal_of(federation, domain.svid("/a")) is None
        assert refusal_of(federation, operator.authority.issue_svid("spiffe://td.example/a")) is (
            Refusal.UNTRUSTED_ISSUER
        )


class TestSuccession:
    """A federation under changed settings."""

    async def test_what_is_known_of_an_unchanged_domain_is_taken_over(
        self, tmp_path: Path, domain: TrustDomain, clock: Clock
    ) -> None:
        publisher = Publisher(domain.bundle(sequence=5))
        with publisher.server:
            same = settings(endpoint=publisher.endpoint(tmp_path))
            before = Federation(same, clock=clock)
            await before.refresh()
            added = TrustDomain("added.example")
            more = [*same, SpiffeDomainSettings(trust_domain="added.example", bundle=tmp_path / added.write(tmp_path))]
            after = Federation(more, clock=clock, before=before)
            assert refusal_of(after, domain.svid("/a")) is None
            assert refusal_of(after, added.svid("/a"), "added.example") is None
            publisher.answer = answer(TrustDomain(NAME).bundle(sequence=4))
            await after.refresh()
        assert publisher.fetches == 2
        assert refusal_of(after, domain.svid("/a")) is None

    def test_a_domain_that_went_is_gone(self, tmp_path: Path, domain: TrustDomain, clock: Clock) -> None:
        before = Federation(settings(bundle=tmp_path / domain.write(tmp_path)), clock=clock)
        after = Federation([], clock=clock, before=before)
        assert refusal_of(after, domain.svid("/a")) is Refusal.UNKNOWN_TRUST_DOMAIN
