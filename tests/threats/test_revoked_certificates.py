"""Tokens of certificates that their CA revoked, against running servers: they end, also if nobody comes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509

from mtls_as.rfc.refusal import Refusal
from tests.authority import Authority, Identity, dns
from tests.ocsp_responder import OpenSSLResponder, appoint
from tests.origin import Origin
from tests.revocation_lists import issue_crl
from tests.running import Deployment, RunningServer, running

PATIENCE = 20.0
CRL = 'crl = ["ca.crl"]\nrevoke_tokens = true'


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def put(path: Path, data: bytes) -> None:
    """Replace a file as a careful operator does, in one step."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


@dataclass
class Party:
    """A CA with two clients of one name, and a resource server of another CA that asks about their tokens."""

    folder: Path
    ca: Authority = field(default_factory=lambda: Authority.create("Partner CA"))
    resource_servers: Authority = field(default_factory=lambda: Authority.create("Resource servers"))
    deployment: Deployment = field(init=False)

    def __post_init__(self) -> None:
        self.good = self.ca.issue("client", san=[dns("c1.example")])
        self.bad = self.ca.issue("client", san=[dns("c1.example")])
        self.rs = self.resource_servers.issue("rs", san=[dns("rs1.example")])
        self.publish()

    def publish(self, *revoked: Identity, number: int = 1, **options: object) -> None:
        put(self.folder / "ca.crl", issue_crl(self.ca, revoked, number=number, **options))  # type: ignore[arg-type] # of `issue_crl`

    def deploy(self, options: str, *, token_format: str = "jwt") -> Self:
        deployment = Deployment(self.folder)
        deployment.resource_options = f'introspection_clients = ["rs1"]\ntoken_format = "{token_format}"'
        deployment.trust("default", self.ca, options=options + "\n")
        deployment.trust("rs", self.resource_servers)
        deployment.client("c1", tls_client_auth_san_dns="c1.example")
        deployment.client("rs1", scope=None, trust="rs", tls_client_auth_san_dns="rs1.example")
        self.deployment = deployment
        return self

    def is_active(self, server: RunningServer, token: str) -> bool:
        with server.client(self.rs) as client:
            response = client.post("/introspect", data={"client_id": "rs1", "token": token})
        assert response.status_code == 200
        active = response.json()["active"]
        assert active or server.last_event.refusal is Refusal.TOKEN_REVOKED
        return bool(active)


@pytest.fixture
def party(tmp_path: Path) -> Party:
    return Party(tmp_path)


def fetch(server: RunningServer, identity: Identity) -> str:
    token: str = server.token(identity).json()["access_token"]
    return token


@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
def test_a_published_list_ends_the_tokens(party: Party, token_format: str) -> None:
    """Without the client coming back; another client's tokens live on, and those of a new certificate."""
    with running(party.deploy(CRL, token_format=token_format).deployment) as server:
        bad, good = fetch(server, party.bad), fetch(server, party.good)
        assert party.is_active(server, bad)
        party.publish(party.bad, number=2)
        eventually(lambda: not party.is_active(server, bad))
        assert party.is_active(server, good)
        assert party.is_active(server, fetch(server, party.good))


def test_an_answer_of_the_responder_ends_the_tokens(party: Party) -> None:
    """The responder is asked about certificates with live tokens although no request comes with them."""
    responder = OpenSSLResponder(party.ca, appoint(party.ca), minutes=1)
    responder.know(party.good, party.bad)
    with Origin(answers={"/": responder.answer}) as origin:
        party.deploy(f'ocsp = "{origin.url}/"\nrevoke_tokens = true')
        with running(party.deployment) as server:
            bad, good = fetch(server, party.bad), fetch(server, party.good)
            assert party.is_active(server, bad)
            responder.revoke(party.bad)
            server.move_clock(31)
            eventually(lambda: not party.is_active(server, bad))
            assert party.is_active(server, good)


def test_a_restart_forgets_no_certificate(party: Party) -> None:
    """Revoked while no server ran: the first look of the next one ends the tokens, by list and by responder."""
    responder = OpenSSLResponder(party.ca, appoint(party.ca))
    responder.know(party.good, party.bad)
    third = party.ca.issue("client", san=[dns("c1.example")])
    responder.know(third)
    with Origin(answers={"/": responder.answer}) as origin:
        party.deploy(f'{CRL}\nocsp = "{origin.url}/"')
        put(party.folder / "ca.crl", issue_crl(Authority.create("Other"), number=1))
        with running(party.deployment) as server:
            tokens = [fetch(server, identity) for identity in (party.good, party.bad, third)]
        party.publish(party.bad, number=2, next_update=None)
        responder.revoke(third)
        with running(party.deployment) as server:
            eventually(lambda: not party.is_active(server, tokens[1]))
            assert party.is_active(server, tokens[0])
    with running(party.deploy(CRL).deployment) as server:
        assert not party.is_active(server, tokens[1])
        assert party.is_active(server, tokens[0])


def test_a_responder_is_asked_after_a_restart(party: Party) -> None:
    """What was stored is enough to ask it, and to verify its answer."""
    responder = OpenSSLResponder(party.ca, appoint(party.ca))
    responder.know(party.good, party.bad)
    with Origin(answers={"/": responder.answer}) as origin:
        party.deploy(f'ocsp = "{origin.url}/"\nrevoke_tokens = true')
        with running(party.deployment) as server:
            bad, good = fetch(server, party.bad), fetch(server, party.good)
        responder.revoke(party.bad)
        with running(party.deployment) as server:
            eventually(lambda: not party.is_active(server, bad))
            assert party.is_active(server, good)


def test_all_nodes_know(party: Party) -> None:
    """The node that hears of it first tells the others, which may have no list at all."""
    with running(party.deploy(CRL).deployment) as first:
        token = fetch(first, party.bad)
        with running(party.deploy("").deployment) as second:
            assert party.is_active(second, token)
            party.publish(party.bad, number=2)
            eventually(lambda: not party.is_active(second, token))


def test_a_node_ends_tokens_that_another_issued(party: Party) -> None:
    """The other one is gone before the list comes."""
    with running(party.deploy(CRL).deployment) as second:
        with running(party.deployment) as first:
            token = fetch(first, party.bad)
        party.publish(party.bad, number=2)
        eventually(lambda: not party.is_active(second, token))


def test_a_revoked_certificate_that_is_shown_ends_its_tokens(party: Party) -> None:
    """Also where nothing is known of its uses."""
    with running(party.deploy("").deployment) as server:
        token = fetch(server, party.bad)
    party.publish(party.bad, number=2)
    with running(party.deploy(CRL).deployment) as server:
        assert server.token(party.bad).status_code == 401
        eventually(lambda: not party.is_active(server, token))


def test_a_revoked_intermediate_ends_the_tokens_below_it(party: Party) -> None:
    """The root takes the intermediate back; its own list of end entities is good."""
    middle = Authority.create("Middle", parent=party.ca)
    client = middle.issue("client", san=[dns("c1.example")])
    lists = issue_crl(party.ca, pem=True), issue_crl(middle, pem=True)
    put(party.folder / "ca.crl", b"".join(lists))
    with running(party.deploy(CRL).deployment) as server:
        token = fetch(server, client)
        put(party.folder / "ca.crl", issue_crl(party.ca, [middle], number=2, pem=True) + lists[1])
        eventually(lambda: not party.is_active(server, token))


def test_the_end_of_a_hold_revives_nothing(party: Party) -> None:
    """New tokens are good, old ones stay ended; and a second hold ends the new ones too."""
    with running(party.deploy(CRL).deployment) as server:
        old = fetch(server, party.bad)
        hold = {"reason": x509.ReasonFlags.certificate_hold}
        party.publish(party.bad, number=2, **hold)
        eventually(lambda: not party.is_active(server, old))
        time.sleep(1)  # tokens say in whole seconds when they were issued
        party.publish(number=3)
        eventually(lambda: server.token(party.bad).status_code == 200)
        new = fetch(server, party.bad)
        assert party.is_active(server, new)
        assert not party.is_active(server, old)
        party.publish(party.bad, number=4, **hold)
        eventually(lambda: not party.is_active(server, new))


def test_without_the_option_tokens_live_on(party: Party) -> None:
    """As before: the certificate gets no new ones, and the old ones end by themselves."""
    with running(party.deploy('crl = ["ca.crl"]').deployment) as server:
        token = fetch(server, party.bad)
        party.publish(party.bad, number=2)
        eventually(lambda: server.token(party.bad).status_code == 401)
        time.sleep(2.5)
        assert party.is_active(server, token)
        assert server.call(server.node.storage.accepted_paths.stored_since("default", 0, before=None, limit=9)) == ()
