"""Diagnoses from observations alone, for what no server on this machine can show."""

from datetime import UTC, datetime, timedelta

import pytest

from mtls_as.doctor.asking import bearer_challenge
from mtls_as.doctor.checks.network import network_findings
from mtls_as.doctor.checks.resource import resource_findings
from mtls_as.doctor.checks.tls import tls_findings
from mtls_as.doctor.checks.token import token_findings
from mtls_as.doctor.checks.words import seconds
from mtls_as.doctor.consent import Consent
from mtls_as.doctor.findings import Actor, Check, Finding, Place, Status
from mtls_as.doctor.handshake import read_head
from mtls_as.doctor.hosts import host_names, is_for_host
from mtls_as.doctor.observations import (
    Answer,
    Handshake,
    Observations,
    OwnCertificate,
    Reach,
    ResourceObservation,
    ServerObservation,
    TokenObservation,
)
from mtls_as.doctor.report import Report, examine
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import Authority, dns

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CA = Authority.create("CA")
LEAF = parse_certificate(CA.issue("me", san=[dns("*.api.example"), dns("as.example")]).der)


def server(reach: Reach = Reach.CONNECTED, handshake: Handshake | None = None, failure: str = "") -> ServerObservation:
    return ServerObservation(
        place=Place.ISSUER,
        url="https://as.example",
        host="as.example",
        port=443,
        addresses=() if reach is Reach.NO_ADDRESS else ("192.0.2.1",),
        reach=reach,
        failure=failure,
        handshake=handshake,
    )


def observations(**members: object) -> Observations:
    usual: dict[str, object] = {"url": "https://as.example", "at": NOW, "given_issuer": None, "given_resource": None}
    return Observations(**usual | {"ca_file": None} | members)  # type: ignore[arg-type] # each by its own field


@pytest.mark.parametrize(
    ("reach", "check", "word"),
    [
        (Reach.NO_ADDRESS, "dns", "getent ahosts as.example"),
        (Reach.REFUSED, "tcp", "port 443"),
        (Reach.TIMEOUT, "tcp", "firewall"),
        (Reach.UNREACHABLE, "tcp", "routes"),
    ],
)
def test_the_way_to_a_server(reach: Reach, check: str, word: str) -> None:
    """Each end of it has its own next step."""
    [failure] = [f for f in network_findings(server(reach, failure="no answer")) if f.status is Status.FAILURE]
    assert failure.id == check
    assert word in str(failure.steps)


@pytest.mark.parametrize(
    ("handshake", "status", "word"),
    [
        (Handshake(version="TLSv1", group="x25519"), Status.FAILURE, "broken"),
        (Handshake(failure="wrong version number"), Status.FAILURE, "does not speak TLS"),
        (Handshake(failure="protocol_version"), Status.FAILURE, "no version of TLS in common"),
        (Handshake(failure="handshake_failure"), Status.FAILURE, "the handshake fails: handshake_failure"),
        (Handshake(failure="timeout"), Status.FAILURE, "does not answer in the handshake"),
    ],
    ids=["TLS 1.0", "not TLS", "too old", "no ciphers", "timeout"],
)
def test_handshakes_that_fail(handshake: Handshake, status: Status, word: str) -> None:
    found = tls_findings(server(handshake=handshake), "a library")[0]
    assert (found.id, found.status) == ("tls.version", status)
    assert word in found.seen


@pytest.mark.parametrize(
    ("group", "status", "word"),
    [
        ("X25519MLKEM768", Status.OK, "(post-quantum hybrid)"),
        ("x25519", Status.OK, "not post-quantum"),
        (None, Status.WARNING, "does not tell"),
    ],
    ids=["hybrid", "classical", "unknown"],
)
def test_the_key_exchange(group: str | None, status: Status, word: str) -> None:
    """What is not known is said to be not known, and by whom."""
    found = tls_findings(server(handshake=Handshake(version="TLSv1.3", group=group)), "a library")[1]
    assert (found.id, found.status) == ("tls.group", status)
    assert word in found.seen
    assert found.details == ("a library",)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("unauthorized_client", "grant_types"),
        ("unsupported_grant_type", "grant_types"),
        ("temporarily_unavailable", "try again"),
        ("server_error", "log"),
        ("something_else", "log"),
    ],
)
def test_oauth_errors_become_next_steps(error: str, word: str) -> None:
    """RFC 6749 §5.2; those of registrations are shown with a real server."""
    [found] = token_findings(with_token(error=error))
    assert error in found.seen
    assert word in str(found.steps)


@pytest.mark.parametrize(("lifetime", "status"), [(5, "warning"), (300, "ok"), (86_400, "warning")])
def test_lifetimes(lifetime: float, status: str) -> None:
    [found] = [f for f in token_findings(with_token(lifetime=lifetime)) if f.id == "token.lifetime"]
    assert found.status == status


def test_an_opaque_token_is_known_by_the_resource_alone() -> None:
    """Its binding shows in what the resource answers."""
    statuses = {f.id: f.status for f in token_findings(with_token(lifetime=300.0))}
    assert statuses["token"] is Status.OK
    assert {statuses[f"token.{name}"] for name in ("binding", "signature", "audience")} == {Status.SKIPPED}


def with_token(**members: object) -> Observations:
    asked: dict[str, object] = {"client_id": "c", "endpoint": "https://as.example/token"}
    asked |= {"requested_scope": None, "requested_resource": None}
    token = TokenObservation(**asked | members)  # type: ignore[arg-type] # each by its own field
    files: dict[str, object] = {"certificate_file": "c.pem", "key_file": "k.pem", "chain": (LEAF,)}
    return observations(own=OwnCertificate(**files), token=token)  # type: ignore[arg-type] # texts will do here


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(status=200), Status.FAILURE),
        (Answer(status=204), Status.FAILURE),
        (Answer(status=400), Status.OK),
        (Answer(status=401, challenge={}), Status.OK),
        (Answer(status=403), Status.OK),
        (Answer(alert="certificate_required"), Status.OK),
        (Answer(status=302), Status.WARNING),
        (Answer(status=500), Status.WARNING),
        (Answer(failure="no answer within 5 s"), Status.WARNING),
    ],
    ids=["200", "204", "400", "401", "403", "alert", "302", "500", "timeout"],
)
def test_what_counts_as_a_refusal_of_a_stolen_token(answer: Answer, status: Status) -> None:
    """Only what the server says; silence and errors of its own prove nothing."""
    resource = ResourceObservation(
        url="https://api.example/",
        without_token=Answer(status=401, challenge={}),
        with_token=Answer(status=200),
        without_certificate=answer,
        other_certificate=answer,
    )
    found = {f.id: f.status for f in resource_findings(observations(resource=resource))}
    assert found["resource.without_certificate"] is found["resource.other_certificate"] is status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(status=200), Status.OK),
        (Answer(status=401, challenge={"error": "invalid_token"}), Status.FAILURE),
        (Answer(status=403, challenge={}), Status.FAILURE),
        (Answer(status=503), Status.FAILURE),
        (Answer(alert="unknown_ca"), Status.FAILURE),
        (Answer(status=404), Status.WARNING),
    ],
    ids=["200", "401", "403", "503", "alert", "404"],
)
def test_answers_to_the_holder_of_a_token(answer: Answer, status: Status) -> None:
    resource = ResourceObservation(url="https://api.example/", without_token=Answer(status=401), with_token=answer)
    [found] = [f for f in resource_findings(observations(resource=resource)) if f.id == "resource.with_token"]
    assert found.status is status


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["Basic realm=x"], None),
        (["Bearer"], {}),
        (['bearer error="x", error_description="a, \\"b\\""'], {"error": "x", "error_description": 'a, "b"'}),
        (['DPoP algs="ES256", Bearer scope="a b"'], {"scope": "a b"}),
        (['Bearer error=invalid_token, DPoP algs="ES256"'], {"error": "invalid_token"}),
        (["Basic realm=x", 'Bearer resource_metadata="https://api.example/"'], {"resource_metadata": "https://api.example/"}),
    ],
    ids=["none", "basic", "bare", "quoted", "second", "first", "two headers"],
)  # fmt: skip
def test_bearer_challenges(values: list[str], expected: dict[str, str] | None) -> None:
    """RFC 9110 §11.6.1: several schemes may share a header."""
    assert bearer_challenge(values) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", (None, None)),
        (b"\x00\x00\x06\x04", (None, None)),
        (b"HTTP/1.1 200 OK\r\n\r\n", (200, None)),
        (b"HTTP/1.1 2", (None, None)),
        (b"HTTP/1.0 404 No\r\ndate: Tue, 01 Jan 2030 00:00:00 GMT\r\n\r\n", (404, NOW)),
        (b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n", (200, None)),
        (b"HTTP/1.1 200 OK\r\nDate: Tue, 99 Jan 2030 00:00:00 GMT\r\n\r\n", (200, None)),
    ],
    ids=["nothing", "HTTP/2", "no date", "cut", "a date", "no date at all", "no such date"],
)
def test_heads_of_answers(head: bytes, expected: tuple[int | None, datetime | None]) -> None:
    assert read_head(head) == expected


def test_hosts_and_wildcards() -> None:
    """RFC 9525 §6.3: a wildcard is a whole label, and one."""
    assert host_names(LEAF) == ("*.api.example", "as.example")
    assert is_for_host(LEAF, "AS.example")
    assert is_for_host(LEAF, "v1.api.example")
    for other in ("api.example", "a.b.api.example", "example", "as.example.evil", "192.0.2.1"):
        assert not is_for_host(LEAF, other)


def test_consent_is_asked_once_for_each_host() -> None:
    asked = []

    def ask(host: str, named_by: str) -> bool:
        asked.append((host, named_by))
        return host.endswith("good.example")

    consent = Consent(["https://as.example/x"], ask)
    assert consent.allows("https://AS.example:8443/y", named_by="a")
    assert [consent.allows(f"https://{host}.example/", named_by="a") for host in ("good", "bad", "good", "bad")] == [
        True, False, True, False,
    ]  # fmt: skip
    assert asked == [("good.example", "a"), ("bad.example", "a")]
    assert not consent.allows_issuer("https://bad.example", named_by="b")
    assert consent.allows_issuer("https://good.example", named_by="b")


def test_a_failure_has_a_next_step() -> None:
    with pytest.raises(ValueError, match="next step"):
        Check("x", Place.OWN).failure("it does not work")


def test_the_members_of_a_report_are_those_that_are_documented() -> None:
    """`docs/doctor.md` shows this form."""
    finding = Finding(id="x", place=Place.OWN, status=Status.OK, seen="y")
    members = Report(seen=observations(), findings=(finding,)).members()
    assert set(members) == {"version", "url", "issuer", "at", "ok", "counts", "checks"}
    assert members["at"] == "2030-01-01T00:00:00Z"
    assert members["counts"] == {"ok": 1, "warning": 0, "failure": 0, "skipped": 0}
    assert set(members["checks"][0]) == {"id", "place", "status", "seen", "details", "next"}
    assert {actor.value for actor in Actor} >= {"you", "the CA"}


def test_findings_are_unique_by_place_and_name() -> None:
    looked = server(handshake=Handshake(version="TLSv1.3", group="x25519", chain=(LEAF,)))
    found = examine(observations(servers=(looked,), issuer="https://as.example")).findings
    names = [(f.place, f.id) for f in found]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("number", "text"), [(0.004, "4 ms"), (3, "3 s"), (300, "300 s"), (3600, "60 minutes"), (1e6, "11 days")]
)
def test_times_for_people(number: float, text: str) -> None:
    assert seconds(number) == text
    assert timedelta(seconds=number)
