"""Limits on requests against running servers: who is refused, how, and who is not."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_as.rfc.refusal import Refusal
from tests.authority import Authority, Identity, dns
from tests.running import Deployment, RunningServer, running, token_form
from tests.threats.test_revoked_certificates import eventually

LIMITS = """[limits]
failure_rate = 0.01
failure_burst = 5
exempt_networks = []
[limits.requests.token]
client_rate = 0.05
client_burst = 4
address_rate = 1000
address_burst = 1000
"""


class Party:
    """A CA with two clients, and a certificate of nobody's."""

    def __init__(self) -> None:
        self.ca = Authority.create("CA")
        self.c1 = self.ca.issue("c1", san=[dns("c1.example")])
        self.c2 = self.ca.issue("c2", san=[dns("c2.example")])
        self.stranger = Authority.create("Stranger").issue("c1", san=[dns("c1.example")])

    def deployment(self, folder: Path, limits: str = LIMITS) -> Deployment:
        deployment = Deployment(folder)
        deployment.trust("default", self.ca)
        for name in ("c1", "c2"):
            deployment.client(name, tls_client_auth_san_dns=f"{name}.example")
        deployment.sections.insert(0, limits)
        return deployment


@pytest.fixture(scope="module")
def party() -> Party:
    return Party()


@pytest.fixture
def server(party: Party, tmp_path: Path) -> Iterator[RunningServer]:
    with running(party.deployment(tmp_path)) as server:
        yield server


def ask(
    server: RunningServer, identity: Identity | None, client_id: str = "c1", *, address: str = "127.0.0.1"
) -> httpx.Response:
    """One token request from an address of this machine."""
    transport = httpx.HTTPTransport(verify=server.ssl_context(identity), local_address=address)
    with httpx.Client(transport=transport, base_url=server.url, trust_env=False) as client:
        return client.post("/token", data=token_form(client_id))


def assert_limited(server: RunningServer, response: httpx.Response, refusal: Refusal) -> None:
    assert response.status_code == 429
    assert response.json() == {
        "error": "temporarily_unavailable",
        "error_description": "The server cannot answer now. Try again later.",
    }
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Cache-Control"] == "no-store"
    assert server.last_event.refusal is refusal


def test_a_client_that_asks_too_often(server: RunningServer, party: Party) -> None:
    """429 with `Retry-After`, one event each; the other client is served, from the same address."""
    assert [ask(server, party.c1).status_code for _ in range(4)] == [200] * 4
    count = len(server.events)
    assert_limited(server, ask(server, party.c1), Refusal.RATE_LIMITED)
    assert len(server.events) == count + 1
    assert server.last_event.client_id == "c1"
    assert ask(server, party.c2, "c2").status_code == 200
    metrics = server.node.foundation.limits.budgets(5)
    assert [budget.client_id for budget in metrics] == ["c1", "c2"]


def test_guessing_is_penalised_and_nobody_else(server: RunningServer, party: Party) -> None:
    """Who proved a key at the same address goes on; the name that was tried is welcome from elsewhere."""
    assert ask(server, party.c2, "c2").status_code == 200
    for _ in range(6):
        assert ask(server, party.stranger).status_code == 401
    assert_limited(server, ask(server, party.stranger), Refusal.TOO_MANY_FAILURES)
    assert_limited(server, ask(server, None), Refusal.TOO_MANY_FAILURES)
    assert ask(server, party.c2, "c2").status_code == 200
    assert ask(server, party.c1, address="127.0.0.9").status_code == 200
    # A penalised certificate is known wherever it comes from.
    assert_limited(server, ask(server, party.stranger, address="127.0.0.9"), Refusal.TOO_MANY_FAILURES)


def test_all_nodes_learn_of_it(party: Party, tmp_path: Path) -> None:
    """By way of the storage, within seconds."""
    with running(party.deployment(tmp_path)) as first, running(party.deployment(tmp_path)) as second:
        for _ in range(6):
            ask(first, party.stranger)
        eventually(lambda: len(second.node.foundation.limits.penalties) > 0)
        assert_limited(second, ask(second, party.stranger), Refusal.TOO_MANY_FAILURES)


def test_the_defaults_limit_no_fleet_of_private_addresses(party: Party, tmp_path: Path) -> None:
    """Such as those behind one balancer: one that fails all the time silences nobody else there."""
    with running(party.deployment(tmp_path, "")) as server, server.client(party.c1) as client:
        with server.client() as failing:
            for _ in range(250):
                assert failing.post("/token", data=token_form()).status_code == 401
        for _ in range(250):
            assert client.post("/token", data=token_form()).status_code == 200


PRESET = 'bind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.1"]\npreset = "nginx"\n'


@pytest.mark.parametrize("trusts", [True, False])
def test_behind_a_proxy(party: Party, tmp_path: Path, trusts: bool) -> None:  # a parameter
    """The proxy's own address is nobody's. What it says of its clients' counts where the operator says that it does.

    What a client writes into the header itself stands before what the proxy adds, and is not read.
    """
    rates = "[limits.requests.token]\naddress_rate = 0.01\naddress_burst = 3\n"
    limits = f"[limits]\nexempt_networks = []\ntrust_forwarded_for = {str(trusts).lower()}\n{rates}"
    deployment = party.deployment(tmp_path, limits)
    deployment.proxy = PRESET
    pem = quote(party.c1.certificate.public_bytes(Encoding.PEM))
    with running(deployment) as server, server.proxy_client() as proxy:

        def status(forwarded_for: str) -> int:
            headers = {"X-SSL-Client-Cert": pem, "X-Forwarded-For": forwarded_for}
            return proxy.post("/token", data=token_form(), headers=headers).status_code

        first = [status(f"203.0.113.{number}, 198.51.100.1") for number in range(5)]
        assert first == ([200, 200, 200, 429, 429] if trusts else [200] * 5)
        assert status("198.51.100.1, 198.51.100.2") == 200
        assert status("2001:db8::1") == 200
        assert [status("nonsense") for _ in range(5)] == [200] * 5


def test_headers_choose_no_address_without_a_proxy(party: Party, tmp_path: Path) -> None:
    """On the listener for clients nobody reads them."""
    rates = "[limits.requests.token]\naddress_rate = 0.01\naddress_burst = 3\n"
    deployment = party.deployment(tmp_path, f"[limits]\nexempt_networks = []\ntrust_forwarded_for = true\n{rates}")
    with running(deployment) as server, server.client(party.c1) as client:
        headers = [{"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": "for=10.0.0.1"} for number in range(5)]
        answers = [client.post("/token", data=token_form(), headers=each) for each in headers]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert client.post("/revoke", data={"client_id": "c1", "token": "x"}).status_code == 200


def test_a_reload_changes_the_limits(party: Party, tmp_path: Path) -> None:
    """And fills no bucket whose rate stays."""
    deployment = party.deployment(tmp_path)
    with running(deployment) as server:
        for _ in range(5):
            ask(server, party.c1)
        assert server.reload().outcome == "succeeded"
        assert ask(server, party.c1).status_code == 429
        deployment.sections[0] = LIMITS.replace("client_rate = 0.05", "client_rate = 0")
        deployment.configure()
        assert server.reload().outcome == "succeeded"
        assert [ask(server, party.c1).status_code for _ in range(9)] == [200] * 9
