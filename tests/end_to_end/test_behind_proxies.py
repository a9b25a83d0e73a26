"""A running server behind real nginx, HAProxy and Apache, configured as documented, over each documented hop."""

import contextlib
import grp
import json
import os
import pwd
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mtls_as.http.certificate import HEADER_IGNORED
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import DAY, Authority, Identity, dns, name, self_signed
from tests.forwarded import vectors
from tests.forwarded.proxies import RunningProxy, Upstream, running_proxy
from tests.running import Deployment, RunningServer, running, token_form
from tests.threats.test_forwarded_certificates import jwk_of, thumbprint_of

HOPS = ("a unix socket", "the proxy's own certificate", "a listed address")


@dataclass(frozen=True)
class Documented:
    """A file in `docs/proxies`, and what `mtls-as` is configured with behind it."""

    snippet: str
    preset: str
    header: str
    vector: str
    chain_header: str | None = None
    forwards_chain: bool = True

    @property
    def lines(self) -> str:
        chain = f'chain_header = "{self.chain_header}"\n' if self.chain_header else ""
        return f'preset = "{self.preset}"\n{chain}'


DOCUMENTED = {
    each.snippet: each
    for each in (
        Documented("nginx.conf", "nginx", "X-SSL-Client-Cert", "nginx", forwards_chain=False),
        Documented("apache.conf", "apache", "SSL_CLIENT_CERT", "apache", chain_header="SSL_CLIENT_CERT_CHAIN"),
        Documented("haproxy.cfg", "haproxy", "X-SSL-Client-Cert", "haproxy", chain_header="X-SSL-Client-Chain"),
        Documented("haproxy-rfc9440.cfg", "rfc9440", "Client-Cert", "rfc9440", forwards_chain=False),
    )
}


@dataclass(frozen=True)
class World:
    """Two partners and a namesake of the first, their clients, a proxy, and the server behind it."""

    documented: Documented
    a: Authority
    b: Authority
    intermediate: Authority
    victim: Identity
    lonely: Identity
    server: RunningServer
    proxy: RunningProxy

    def ask(self, client: Identity | None, client_id: str, *sent: tuple[str, str]) -> tuple[int, dict[str, Any]]:
        """A token request through the proxy."""
        form = "&".join(f"{key}={value}" for key, value in token_form(client_id).items())
        status, body = self.proxy.post_form(client, form, sent)
        return status, json.loads(body)

    def accepted(self, client: Identity, client_id: str, *sent: tuple[str, str]) -> None:
        status, document = self.ask(client, client_id, *sent)
        assert status == 200, self.server.last_event
        assert thumbprint_of(document["access_token"]) == x5t_s256(client.der)

    def refused(self, client: Identity | None, client_id: str, sent: list[tuple[str, str]], *refusals: Refusal) -> None:
        status, document = self.ask(client, client_id, *sent)
        assert (status, document["error"]) == (401, "invalid_client"), self.server.last_event
        assert self.server.last_event.refusal in refusals, self.server.last_event

    @property
    def forged(self) -> list[tuple[str, str]]:
        """What a client would send to be taken for the victim."""
        headers = vectors.PROXIES[self.documented.vector].forward(self.victim.der_chain[:1])
        return [(self.documented.header, value.decode()) for _, value in headers]


@pytest.fixture(scope="module", params=HOPS)
def hop(request: pytest.FixtureRequest) -> str:
    hop: str = request.param
    return hop


@pytest.fixture(scope="module", params=DOCUMENTED)
def world(request: pytest.FixtureRequest, hop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    documented = DOCUMENTED[request.param]
    with contextlib.ExitStack() as stack:
        # Proxies that root starts serve as nobody, who cannot look into the folders of pytest.
        short = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        short.chmod(0o755)
        a = Authority.create(name("Partner A CA", organization="Example A"))
        b = Authority.create(name("Partner B CA", organization="Example B"))
        intermediate = Authority.create("Partner A issuing CA", parent=a)
        victim, lonely = a.issue("victim", san=[dns("victim.example")]), self_signed("lonely")
        own = self_signed("proxy")
        lines = {
            "a unix socket": f'bind = "unix:{short}/proxy.sock"\n{_socket_group()}',
            "the proxy's own certificate": (
                f'bind = "127.0.0.1:0"\nproxy_certificates = ["sha256:{sha256(own.der).hexdigest()}"]\n'
            ),
            "a listed address": 'bind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.1"]\n',
        }[hop]
        deployment = Deployment(tmp_path_factory.mktemp("server"), proxy=lines + documented.lines)
        anchors = (a,) if documented.forwards_chain else (a, intermediate)
        deployment.trust("a", *anchors).trust("b", b)
        deployment.client("victim", trust="a", tls_client_auth_san_dns="victim.example")
        deployment.client("below", trust="a", tls_client_auth_san_dns="below.example")
        jwks = {"keys": [jwk_of(lonely)]}
        deployment.client("lonely", token_endpoint_auth_method="self_signed_tls_client_auth", jwks=jwks)
        server = stack.enter_context(running(deployment))
        upstream = Upstream(
            hop=hop,
            port=server.ports.get("proxy", 0),
            unix_socket=short / "proxy.sock",
            ca=deployment.folder / "server-ca.pem",
            proxy=own,
        )
        proxy = stack.enter_context(running_proxy(documented.snippet, tmp_path_factory.mktemp("proxy"), upstream))
        yield World(documented, a, b, intermediate, victim, lonely, server, proxy)


def _socket_group() -> str:
    """Where root starts the proxy, it serves as nobody, and its group may open the socket."""
    if os.geteuid() != 0:
        return ""
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    return f'socket_group = "{group}"\n'


def test_the_right_certificate(world: World) -> None:
    """A token bound to the very certificate of each client, one client after the other."""
    below = world.intermediate.issue("below", san=[dns("below.example")])
    for _ in range(2):
        world.accepted(world.victim, "victim")
        world.accepted(below, "below")
        world.accepted(world.lonely, "lonely")


def test_the_wrong_client(world: World) -> None:
    """The certificate of one client under the name of another."""
    other = world.a.issue("other", san=[dns("other.example")])
    world.refused(other, "victim", [], Refusal.SUBJECT_MISMATCH)
    world.refused(world.lonely, "victim", [], Refusal.SUBJECT_MISMATCH, Refusal.UNTRUSTED_ISSUER)
    world.refused(world.victim, "lonely", [], Refusal.KEY_NOT_REGISTERED)


def test_another_partners_authority(world: World) -> None:
    """Partner B, and a CA with the name of partner A's and another key, cannot speak for A's client."""
    namesake = Authority.create(world.a.certificate.subject)
    for authority in (world.b, namesake):
        forged = authority.issue("victim", san=[dns("victim.example")])
        world.refused(forged, "victim", [], Refusal.UNTRUSTED_ISSUER, Refusal.BAD_SIGNATURE)


def test_a_header_of_the_clients_own(world: World) -> None:
    """It is replaced by what the client proved, or by nothing, however often it comes and whatever Connection names."""
    other = world.a.issue("other", san=[dns("other.example")])
    chain = [(world.documented.chain_header or "Client-Cert-Chain", world.forged[0][1])]
    for sent in (world.forged, world.forged * 2, [*world.forged, *chain]):
        for hop_by_hop in ([], [("Connection", f"close, {world.documented.header}")]):
            world.refused(None, "victim", [*sent, *hop_by_hop], Refusal.NO_CERTIFICATE)
            world.refused(other, "victim", [*sent, *hop_by_hop], Refusal.SUBJECT_MISMATCH)
            world.accepted(world.lonely, "lonely", *sent, *hop_by_hop)


def test_no_certificate(world: World) -> None:
    """The proxy lets such a client in, and the server does not."""
    world.refused(None, "victim", [], Refusal.NO_CERTIFICATE)


def test_an_expired_certificate(world: World) -> None:
    """nginx and Apache refuse it themselves, HAProxy hands it on, and the server refuses it."""
    yesterday = datetime.now(UTC) - DAY
    expired = world.a.issue(san=[dns("victim.example")], not_before=yesterday - DAY, not_after=yesterday)
    if world.documented.preset == "nginx":
        assert world.proxy.post_form(expired, "grant_type=client_credentials")[0] == 400
    elif world.documented.preset == "apache":
        with pytest.raises((ssl.SSLError, ConnectionError)):
            world.ask(expired, "victim")
    else:
        world.refused(expired, "victim", [], Refusal.CERTIFICATE_EXPIRED)


def test_past_the_proxy_to_the_mtls_listener(world: World) -> None:
    """The header counts for nothing there."""
    with world.server.client() as client:
        response = client.post("/token", data=token_form("victim"), headers=dict(world.forged))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert world.server.last_event.refusal is Refusal.NO_CERTIFICATE
    assert world.server.last_event.note == HEADER_IGNORED


def test_past_the_proxy_to_its_listener(world: World, hop: str) -> None:
    """Nobody else gets an answer there; a unix socket is guarded by the kernel (see `tests/tls/test_plain.py`)."""
    if hop != "a unix socket":
        address = "127.0.0.2" if hop == "a listed address" else None
        with world.server.proxy_client(world.victim, address=address) as client:
            response = client.post("/token", data=token_form("victim"), headers=dict(world.forged))
        assert response.status_code == 403
        assert world.server.last_event.refusal is Refusal.PROXY_NOT_AUTHENTICATED
