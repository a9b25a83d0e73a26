"""Revocation against a running server: every row of the threat table that concerns lists, OCSP and URLs."""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from mtls_as.rfc.refusal import Refusal
from tests.authority import DAY, HOUR, Authority, Identity, dns
from tests.ocsp_responder import OpenSSLResponder, appoint, forge_answer
from tests.origin import Origin
from tests.revocation_lists import issue_crl
from tests.running import Deployment, RunningServer, running, token_form

UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
PATIENCE = 30.0


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what the server does in the background."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def outcome(server: RunningServer, identity: Identity) -> Refusal | str:
    """How a token request over a new connection ended: the private reason of the refusal, or `token`."""
    response = server.token(identity)
    if response.status_code == 200:
        return "token"
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    refusal = server.last_event.refusal
    assert refusal is not None
    return refusal


class Party:
    """A CA with two clients that bear the same name; one of them is to be revoked."""

    def __init__(self) -> None:
        self.ca = Authority.create("Partner CA")
        self.good = self.ca.issue("client", san=[dns("c1.example")])
        self.bad = self.ca.issue("client", san=[dns("c1.example")])


@pytest.fixture
def party() -> Party:
    return Party()


@contextlib.contextmanager
def serving(folder: Path, ca: Authority, options: str, *more: Authority) -> Iterator[RunningServer]:
    deployment = Deployment(folder)
    deployment.trust("default", ca, *more, options=f"{options}\n")
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    with running(deployment) as server:
        yield server


def put(path: Path, data: bytes) -> None:
    """Replace a file as a careful operator does, in one step."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


# -- Revoked during a connection


def test_revoked_during_a_kept_alive_connection(tmp_path: Path, party: Party) -> None:
    """HTTP/1.1: the same socket, the next request after the new list is refused; the other client goes on."""
    (tmp_path / "ca.crl").write_bytes(issue_crl(party.ca))
    with serving(tmp_path, party.ca, 'crl = ["ca.crl"]') as server:
        connection = http.client.HTTPSConnection(
            "localhost", server.ports["mtls"], context=server.ssl_context(party.bad), timeout=10
        )

        def status() -> int:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/token", urlencode(token_form()), headers)
            response = connection.getresponse()
            response.read()
            return response.status

        assert status() == 200
        opened = connection.sock
        assert opened is not None
        put(tmp_path / "ca.crl", issue_crl(party.ca, [party.bad], number=2))
        eventually(lambda: status() == 401)
        assert connection.sock is opened
        assert server.last_event.refusal is Refusal.CERTIFICATE_REVOKED
        assert status() == 401
        assert outcome(server, party.good) == "token"
        connection.close()


def test_revoked_during_an_http2_connection(tmp_path: Path, party: Party) -> None:
    """HTTP/2: the next stream of the same connection is refused."""
    (tmp_path / "ca.crl").write_bytes(issue_crl(party.ca))
    with (
        serving(tmp_path, party.ca, 'crl = ["ca.crl"]') as server,
        httpx.Client(
            verify=server.ssl_context(party.bad), base_url=server.url, trust_env=False, http1=False, http2=True
        ) as client,
    ):
        addresses = set()

        def status() -> int:
            with client.stream("POST", "/token", data=token_form()) as response:
                assert response.http_version == "HTTP/2"
                addresses.add(response.extensions["network_stream"].get_extra_info("client_addr"))
                response.read()
            return response.status_code

        assert status() == 200
        put(tmp_path / "ca.crl", issue_crl(party.ca, [party.bad], number=2))
        eventually(lambda: status() == 401)
        assert server.last_event.refusal is Refusal.CERTIFICATE_REVOKED
        assert len(addresses) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(tmp_path: Path, party: Party, version: ssl.TLSVersion) -> None:
    """A resumed session would bring a certificate whose key nobody proved: each handshake is a whole one."""
    (tmp_path / "ca.crl").write_bytes(issue_crl(party.ca))
    with serving(tmp_path, party.ca, 'crl = ["ca.crl"]') as server:
        context = server.ssl_context(party.good)
        context.minimum_version = context.maximum_version = version
        session = None
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", server.ports["mtls"])) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as wrapped,
            ):
                wrapped.sendall(b"GET /jwks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                while wrapped.recv(65536):
                    pass
                assert not wrapped.session_reused
                session = wrapped.session


# -- Bad lists


def bad_lists(party: Party) -> dict[str, bytes]:
    """Lists that would free the revoked client, were they used."""
    ca, now = party.ca, datetime.now(UTC)
    other = Authority.create("Other CA")
    namesake = Authority.create("Partner CA")
    fresh = issue_crl(ca, number=9)
    return {
        "unsigned": fresh[:-8] + bytes(8),
        "another CA's": issue_crl(other, number=9),
        "a namesake's": issue_crl(namesake, number=9),
        "expired": issue_crl(ca, number=9, this_update=now - DAY, next_update=now - HOUR),
        "of the future": issue_crl(ca, number=9, this_update=now + HOUR, next_update=now + DAY),
        "critical": issue_crl(ca, number=9, extensions=[UNKNOWN_CRITICAL]),
        "garbage": b"\x00" * 100,
        "empty": b"",
        "half": fresh[: len(fresh) // 2],
    }


@pytest.mark.parametrize("kind", list(bad_lists(Party())))
def test_a_bad_list_is_no_list(tmp_path: Path, party: Party, kind: str) -> None:
    """Not used: with nothing else at hand the domain is closed, by default."""
    (tmp_path / "ca.crl").write_bytes(bad_lists(party)[kind])
    with serving(tmp_path, party.ca, 'crl = ["ca.crl"]') as server:
        assert outcome(server, party.good) is Refusal.REVOCATION_UNKNOWN


def test_a_bad_list_never_replaces_a_good_one(tmp_path: Path, party: Party, caplog: pytest.LogCaptureFixture) -> None:
    """Garbage, forgeries and old lists come one after the other: each is told aloud, and the good list stays."""
    file = tmp_path / "ca.crl"
    file.write_bytes(issue_crl(party.ca, [party.bad], number=5))
    bad = bad_lists(party) | {"older": issue_crl(party.ca, number=4)}
    with serving(tmp_path, party.ca, 'crl = ["ca.crl"]') as server:
        (state,) = server.node.revocation.domains()
        for data in bad.values():
            caplog.clear()
            put(file, data)
            if data == bad["another CA's"]:  # an intermediate may bear that name: it waits, unused
                eventually(lambda: any(not proven for _, proven in state.lists.all()))
            else:
                eventually(lambda: any("what is known stays" in record.message for record in caplog.records))
            assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
            assert outcome(server, party.good) == "token"
        put(file, issue_crl(party.ca, [party.good], number=6))
        eventually(lambda: outcome(server, party.good) is Refusal.CERTIFICATE_REVOKED)
        assert outcome(server, party.bad) == "token"


def test_a_missing_list_closes_the_domain(tmp_path: Path, party: Party) -> None:
    """The file comes later: closed until then, open from then on, without a restart."""
    with serving(tmp_path, party.ca, 'crl = ["crls/*.crl"]') as server:
        assert outcome(server, party.good) is Refusal.REVOCATION_UNKNOWN
        (tmp_path / "crls").mkdir()
        (tmp_path / "crls" / "ca.crl").write_bytes(issue_crl(party.ca, pem=True))
        eventually(lambda: outcome(server, party.good) == "token")
        (tmp_path / "crls" / "ca.crl").unlink()
        time.sleep(1.5)
        assert outcome(server, party.good) == "token"


def test_an_open_domain_still_refuses_the_revoked(tmp_path: Path, party: Party) -> None:
    """`open` lets in what is unknown, never what is revoked: not even by a list that has ended."""
    now = datetime.now(UTC)
    ended = issue_crl(party.ca, [party.bad], this_update=now - DAY, next_update=now - HOUR)
    (tmp_path / "ca.crl").write_bytes(ended)
    with serving(tmp_path, party.ca, 'crl = ["ca.crl"]\nrevocation = "open"') as server:
        assert outcome(server, party.good) == "token"
        assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED


def test_a_list_ends_for_returning_clients_too(tmp_path: Path, party: Party) -> None:
    """The path was verified a moment ago; the list behind it ends all the same, after its grace."""
    now = datetime.now(UTC)
    list_ = issue_crl(party.ca, this_update=now - HOUR, next_update=now + timedelta(seconds=100))
    (tmp_path / "ca.crl").write_bytes(list_)
    with serving(tmp_path, party.ca, 'crl = ["ca.crl"]\nrevocation_grace = 60') as server:
        assert outcome(server, party.good) == "token"
        server.move_clock(140)
        assert outcome(server, party.good) == "token"
        server.move_clock(40)
        assert outcome(server, party.good) is Refusal.REVOCATION_UNKNOWN


def test_every_ca_of_the_path_needs_a_list(tmp_path: Path) -> None:
    """The intermediate's own list does not tell whether the intermediate still stands, nor the other way round."""
    root = Authority.create("Root")
    middle = Authority.create("Middle", parent=root)
    client = middle.issue("client", san=[dns("c1.example")])
    with serving(tmp_path, root, 'crl = ["*.crl"]') as server:
        (tmp_path / "middle.crl").write_bytes(issue_crl(middle))
        time.sleep(1.5)
        assert outcome(server, client) is Refusal.REVOCATION_UNKNOWN
        assert "'CN=Middle'" in (server.last_event.detail or "")
        (tmp_path / "root.crl").write_bytes(issue_crl(root))
        eventually(lambda: outcome(server, client) == "token")
        put(tmp_path / "root.crl", issue_crl(root, [middle], number=2))
        eventually(lambda: outcome(server, client) is Refusal.CERTIFICATE_REVOKED)


def test_two_cas_of_one_name_have_a_list_each(tmp_path: Path) -> None:
    """A roll-over: the new CA's list says nothing of the old CA's certificates."""
    old, new = Authority.create("Rolling CA"), Authority.create("Rolling CA")
    of_old, of_new = (ca.issue("client", san=[dns("c1.example")]) for ca in (old, new))
    (tmp_path / "all.crl").write_bytes(issue_crl(new, pem=True))
    with serving(tmp_path, old, 'crl = ["all.crl"]', new) as server:
        assert outcome(server, of_new) == "token"
        assert outcome(server, of_old) is Refusal.REVOCATION_UNKNOWN
        put(tmp_path / "all.crl", issue_crl(new, pem=True) + issue_crl(old, [of_old], pem=True))
        eventually(lambda: outcome(server, of_old) is Refusal.CERTIFICATE_REVOKED)
        assert outcome(server, of_new) == "token"


def test_delta_lists(tmp_path: Path, party: Party) -> None:
    """A delta revokes and takes back what the complete list holds (RFC 5280 §5.2.4)."""
    held = party.bad.certificate.serial_number
    hold = {held: x509.ReasonFlags.certificate_hold}
    (tmp_path / "base.crl").write_bytes(issue_crl(party.ca, [held], number=7, reasons=hold))
    with serving(tmp_path, party.ca, 'crl = ["*.crl"]') as server:
        assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
        delta = issue_crl(
            party.ca, [held, party.good], number=8, delta_of=7, reasons={held: x509.ReasonFlags.remove_from_crl}
        )
        (tmp_path / "delta.crl").write_bytes(delta)
        eventually(lambda: outcome(server, party.bad) == "token")
        assert outcome(server, party.good) is Refusal.CERTIFICATE_REVOKED


# -- URLs


def test_urls_of_certificates_are_never_fetched(tmp_path: Path) -> None:
    """CRL distribution points, CA issuers and OCSP URLs of the certificates lead to an attacker: nobody comes."""
    with Origin() as attacker:
        url = x509.UniformResourceIdentifier(attacker.url)
        points = x509.CRLDistributionPoints([x509.DistributionPoint([url], None, None, None)])
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url),
                x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url),
            ]
        )
        extensions = [(points, False), (access, False)]
        root = Authority.create("Root", extensions=extensions)
        middle = Authority.create("Middle", parent=root, extensions=extensions)
        client = middle.issue("client", san=[dns("c1.example")], extensions=extensions)
        freshest = (x509.FreshestCRL([x509.DistributionPoint([url], None, None, None)]), False)
        (tmp_path / "root.crl").write_bytes(issue_crl(root, extensions=[freshest]))
        with Origin() as ours, serving(tmp_path, root, f'crl = ["root.crl"]\nocsp = "{ours.url}/ocsp"') as server:
            alone = Identity(client.certificate, client.private_key)
            assert outcome(server, alone) is Refusal.UNTRUSTED_ISSUER
            assert outcome(server, client) is Refusal.REVOCATION_UNKNOWN
            assert ours.requests == ["/ocsp"]
        assert attacker.connections == 0


def test_lists_from_urls_survive_a_restart(tmp_path: Path, party: Party) -> None:
    """Fetched at the start, kept on disk, verified anew: the URL may be down the next time, or the copy be forged."""
    with Origin() as origin:
        url = origin.serve("/ca.crl", issue_crl(party.ca, [party.bad], number=3))
        options = f'crl = ["{url}"]'
        with serving(tmp_path, party.ca, options) as server:
            assert outcome(server, party.good) == "token"
            assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
        origin.serve("/ca.crl", b"down", 503)
        with serving(tmp_path, party.ca, options) as server:
            assert outcome(server, party.good) == "token"
            assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
        origin.serve("/ca.crl", issue_crl(party.ca, number=2))  # a replay
        with serving(tmp_path, party.ca, options) as server:
            eventually(lambda: origin.requests.count("/ca.crl") >= 3)
            time.sleep(0.3)
            assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
        (kept,) = (tmp_path / "test.revocation").iterdir()
        origin.serve("/ca.crl", b"down", 503)
        kept.write_bytes(bad_lists(party)["unsigned"])
        with serving(tmp_path, party.ca, options) as server:
            assert outcome(server, party.good) is Refusal.REVOCATION_UNKNOWN


def test_lists_are_fetched_again_before_they_end(tmp_path: Path, party: Party) -> None:
    """Half of the time that is left, an hour at most."""
    with Origin() as origin:
        url = origin.serve("/ca.crl", issue_crl(party.ca))
        with serving(tmp_path, party.ca, f'crl = ["{url}"]') as server:
            assert outcome(server, party.bad) == "token"
            origin.serve("/ca.crl", issue_crl(party.ca, [party.bad], number=2))
            server.move_clock(3601)
            eventually(lambda: outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED)
            assert origin.requests == ["/ca.crl", "/ca.crl"]


# -- OCSP


def test_a_real_responder(tmp_path: Path, party: Party) -> None:
    """`openssl ocsp` by an appointed responder: asked once about each certificate, and again before its answer ends."""
    responder = OpenSSLResponder(party.ca, appoint(party.ca))
    stranger = party.ca.issue("client", san=[dns("c1.example")])
    responder.know(party.good)
    responder.revoke(party.bad)
    with (
        Origin(answers={"/": responder.answer}) as origin,
        serving(tmp_path, party.ca, f'ocsp = "{origin.url}/"') as server,
    ):
        assert outcome(server, party.good) == "token"
        assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
        assert outcome(server, stranger) is Refusal.REVOCATION_UNKNOWN
        assert len(origin.requests) == 3
        for _ in range(3):
            assert outcome(server, party.good) == "token"
        assert outcome(server, stranger) is Refusal.REVOCATION_UNKNOWN
        assert len(origin.requests) == 3
        responder.revoke(party.good)
        server.move_clock(31 * 60)
        eventually(lambda: outcome(server, party.good) is Refusal.CERTIFICATE_REVOKED)


def test_a_responder_without_next_update_and_signed_by_the_ca(tmp_path: Path, party: Party) -> None:
    """Such answers hold for some minutes; and a revoked certificate stays so when the responder is gone."""
    responder = OpenSSLResponder(party.ca, party.ca, minutes=None)
    responder.know(party.good)
    responder.revoke(party.bad)
    with (
        Origin(answers={"/": responder.answer}) as origin,
        serving(tmp_path, party.ca, f'ocsp = "{origin.url}/"') as server,
    ):
        assert outcome(server, party.good) == "token"
        assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED
        origin.serve("/", b"", 500)
        server.move_clock(400)
        assert outcome(server, party.good) is Refusal.REVOCATION_UNKNOWN
        assert outcome(server, party.bad) is Refusal.CERTIFICATE_REVOKED


def test_bad_answers_are_failures(tmp_path: Path, party: Party) -> None:
    """By the wrong signer, about another serial number, stale, replayed, `good` without a match: never good."""
    ca, good, now = party.ca, party.good, datetime.now(UTC)
    mallory = Authority.create("Partner CA")
    sibling = Authority.create("Sub CA", parent=ca)
    answers: dict[str, Callable[[bytes], bytes]] = {
        "another CA": lambda q: forge_answer(q, good, ca, mallory),
        "another CA's responder": lambda q: forge_answer(q, good, ca, r := appoint(mallory), brings=(r,)),
        "a subordinate CA's responder": lambda q: forge_answer(q, good, ca, r := appoint(sibling), brings=(r,)),
        "a client's key": lambda q: forge_answer(q, good, ca, good, brings=(good,)),
        "an expired responder": lambda q: forge_answer(
            q, good, ca, r := appoint(ca, not_before=now - DAY, not_after=now - HOUR), brings=(r,)
        ),
        "a responder that does not come along": lambda q: forge_answer(q, good, ca, appoint(ca)),
        "another serial number": lambda q: forge_answer(q, party.bad, ca, ca),
        "another CA's certificate": lambda q: forge_answer(q, good, mallory, ca),
        "stale": lambda q: forge_answer(q, good, ca, ca, this_update=now - DAY, next_update=now - HOUR),
        "of the future": lambda q: forge_answer(q, good, ca, ca, this_update=now + DAY, next_update=now + 2 * DAY),
        "a replay": lambda q: forge_answer(q, good, ca, ca, nonce=b"another nonce..."),
        "unknown": lambda q: forge_answer(q, good, ca, ca, status=ocsp.OCSPCertStatus.UNKNOWN),
        "an error": lambda q: ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER
        ).public_bytes(Encoding.DER),
        "garbage": lambda q: b"\x30\x03\x0a\x01",
        "large": lambda q: bytes(100_000),
    }
    with Origin() as origin, serving(tmp_path, ca, f'ocsp = "{origin.url}/"') as server:
        for name, answer in answers.items():
            origin.answers["/"] = lambda question, answer=answer: (200, answer(question))
            asked = len(origin.requests)
            assert outcome(server, good) is Refusal.REVOCATION_UNKNOWN, name
            assert len(origin.requests) == asked + 1, name
            server.move_clock(601)  # past the time in which nobody asks again
        origin.answers["/"] = lambda question: (200, forge_answer(question, good, ca, ca, nonce=b""))
        assert outcome(server, good) == "token"


def test_a_slow_responder_holds_nobody_for_long(tmp_path: Path, party: Party) -> None:
    """Two seconds for the first request, one question for all that wait; then the policy decides at once."""

    def slow(_question: bytes) -> tuple[int, bytes]:
        time.sleep(4)
        return 500, b""

    with (
        Origin(answers={"/": slow}) as origin,
        serving(tmp_path, party.ca, f'ocsp = "{origin.url}/"\nrevocation = "open"') as server,
    ):
        started = time.monotonic()
        assert outcome(server, party.good) == "token"
        assert 1.5 < time.monotonic() - started < 3.5
        assert origin.requests == ["/"]


def test_a_responder_completes_what_the_lists_leave_open(tmp_path: Path) -> None:
    """The root publishes a list, the intermediate runs a responder."""
    root = Authority.create("Root")
    middle = Authority.create("Middle", parent=root)
    client = middle.issue("client", san=[dns("c1.example")])
    responder = OpenSSLResponder(middle, appoint(middle))
    responder.know(client)
    (tmp_path / "root.crl").write_bytes(issue_crl(root))
    with (
        Origin(answers={"/": responder.answer}) as origin,
        serving(tmp_path, root, f'crl = ["root.crl"]\nocsp = "{origin.url}/"') as server,
    ):
        assert outcome(server, client) == "token"
        assert origin.requests == ["/"]
