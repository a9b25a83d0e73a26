"""What attackers and accidents do with certificates in headers: the rows of the threat table, over a running server."""

import base64
import hashlib
import json
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_as.config import ConfigurationError, load_settings
from mtls_as.http.certificate import HEADER_IGNORED
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.events import ReloadOutcome
from tests.authority import DAY, HOUR, Authority, Identity, dns, name, self_signed
from tests.forwarded.vectors import (
    PROXIES,
    Headers,
    Proxy,
    lonely,
    long_chain,
    nginx,
    rfc9440,
    short_chain,
)
from tests.running import Deployment, RunningServer, running, token_form

LISTED = 'bind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.1"]'


class Parties:
    """Two partners, each with a CA; a client of the first; and the proxy between."""

    def __init__(self) -> None:
        self.a = Authority.create(name("Partner A CA", organization="Example A"))
        self.b = Authority.create(name("Partner B CA", organization="Example B"))
        self.namesake = Authority.create(self.a.certificate.subject)
        self.victim = self.a.issue("victim", san=[dns("victim.example")])
        self.attacker = self.a.issue("attacker", san=[dns("attacker.example")])
        self.proxy = self_signed("proxy")


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties()


def deployment(folder: Path, parties: Parties, proxy: str, **options: Any) -> Deployment:
    deployed = Deployment(folder, proxy=proxy, public="https://public.example", **options)
    deployed.trust("a", parties.a)
    deployed.trust("b", parties.b)
    deployed.client("victim", trust="a", tls_client_auth_san_dns="victim.example")
    deployed.client("attacker", trust="a", tls_client_auth_san_dns="attacker.example")
    deployed.client("b", trust="b", tls_client_auth_san_dns="victim.example")
    registered = {"keys": [jwk_of(parties.proxy)]}
    deployed.client("proxy", token_endpoint_auth_method="self_signed_tls_client_auth", jwks=registered)
    return deployed


def jwk_of(identity: Identity) -> dict[str, object]:
    jwk: dict[str, object] = dict(public_jwk(identity.certificate.public_key(), kid="k", algorithm="ES256"))  # type: ignore[arg-type] # a P-256 key
    return jwk | {"x5c": [base64.b64encode(identity.certificate.public_bytes(Encoding.DER)).decode()]}


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def listed(
    request: pytest.FixtureRequest, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """Behind a proxy that connects from 127.0.0.1 and speaks RFC 9440."""
    folder = tmp_path_factory.mktemp("listed")
    with running(deployment(folder, parties, LISTED, fast_lane=request.param)) as server:
        yield server


@pytest.fixture(scope="module")
def pinned(parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Behind a proxy that connects by TLS with a certificate of its own."""
    pin = hashlib.sha256(parties.proxy.der).hexdigest()
    lines = f'bind = "127.0.0.1:0"\nproxy_certificates = ["sha256:{pin}"]'
    with running(deployment(tmp_path_factory.mktemp("pinned"), parties, lines)) as server:
        yield server


@pytest.fixture(scope="module")
def local(parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Behind a proxy that connects over a unix socket."""
    with tempfile.TemporaryDirectory() as short:
        lines = f'bind = "unix:{short}/proxy.sock"\npreset = "nginx"'
        with running(deployment(tmp_path_factory.mktemp("local"), parties, lines)) as server:
            yield server


def ask(client: httpx.Client, client_id: str | None, headers: Headers, **form: Any) -> httpx.Response:
    with client:
        return client.post("/token", data=token_form(client_id, **form), headers=headers)


def thumbprint_in(response: httpx.Response) -> str:
    """To which certificate the token is bound."""
    assert response.status_code == 200, response.text
    return thumbprint_of(response.json()["access_token"])


def thumbprint_of(token: str) -> str:
    payload = token.split(".")[1]
    thumbprint: str = json.loads(base64.urlsafe_b64decode(payload + "=="))["cnf"]["x5t#S256"]
    return thumbprint


def assert_refused(server: RunningServer, response: httpx.Response, error: str, *refusals: Refusal) -> None:
    status = 401 if error == "invalid_client" else 400
    assert (response.status_code, response.json()["error"]) == (status, error), server.last_event
    assert server.last_event.refusal in refusals, server.last_event


# The rightful way


def binds(server: RunningServer, parties: Parties, forward: Callable[[tuple[bytes, ...]], Headers]) -> None:
    """Many clients over one connection of the proxy, each token bound to its own client's certificate."""
    with server.proxy_client(parties.proxy) as client:
        for client_id, identity in [("victim", parties.victim), ("attacker", parties.attacker)] * 2:
            response = client.post("/token", data=token_form(client_id), headers=forward(identity.der_chain))
            assert thumbprint_in(response) == x5t_s256(identity.der)
            assert server.last_event.certificate_thumbprint == x5t_s256(identity.der)
            assert server.last_event.note is None


def test_from_a_listed_address(listed: RunningServer, parties: Parties) -> None:
    """The control: everything below differs from this by one thing."""
    binds(listed, parties, rfc9440)
    assert listed.last_event.peer == "127.0.0.1"


def test_from_a_pinned_certificate(pinned: RunningServer, parties: Parties) -> None:
    """The control over TLS."""
    binds(pinned, parties, rfc9440)


def test_over_a_unix_socket(local: RunningServer, parties: Parties) -> None:
    """The control over a socket that its owner alone may open."""
    binds(local, parties, nginx)
    assert local.last_event.peer is None
    place = Path((local.deployment.proxy or "").partition("unix:")[2].partition('"')[0])
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_documents(listed: RunningServer) -> None:
    """The listener has the endpoints of the mTLS listener; metadata name one token endpoint, that of the latter."""
    with listed.proxy_client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
        assert metadata["token_endpoint"] == "https://localhost:8443/token"
        assert client.get("/jwks").json()["keys"]
        assert client.get("/health/live").status_code == 404


@pytest.mark.parametrize("vector", PROXIES)
def test_golden_vectors(vector: str, tmp_path: Path) -> None:
    """What each proxy forwards, chain included where it can, ends in a token bound to the client's certificate."""
    proxy: Proxy = PROXIES[vector]
    clients = {"short": short_chain(), "long": long_chain(), "lonely": lonely()}
    lines = f'{LISTED}\npreset = "{proxy.preset}"\n'
    lines += f'chain_header = "{proxy.chain_header}"\n' if proxy.chain_header else ""
    deployed = Deployment(tmp_path, proxy=lines)
    for each in ("short", "long"):
        anchors = [Identity(c, clients[each].private_key) for c in clients[each].chain]
        subject = str(parse_certificate(clients[each].der).subject)
        # Where the proxy forwards no chain, the operator gives the intermediates to the trust domain.
        deployed.trust(each, *(anchors[-1:] if proxy.forwards_chain else anchors))
        deployed.client(each, trust=each, tls_client_auth_subject_dn=subject)
    jwks = {"keys": [jwk_of(clients["lonely"])]}
    deployed.client("lonely", token_endpoint_auth_method="self_signed_tls_client_auth", jwks=jwks)
    with running(deployed) as server:
        for client_id, identity in clients.items():
            response = ask(server.proxy_client(), client_id, proxy.forward(identity.der_chain))
            assert thumbprint_in(response) == x5t_s256(identity.der)
            other = "short" if client_id == "lonely" else "lonely"
            response = ask(server.proxy_client(), other, proxy.forward(identity.der_chain))
            assert response.json()["error"] == "invalid_client"


# A certificate header straight to the application port, from an address that is not the proxy (CVE-2024-10039)


@pytest.mark.parametrize("header", ["Client-Cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert", "SSL_CLIENT_CERT"])
def test_header_to_the_mtls_listener(listed: RunningServer, parties: Parties, header: str) -> None:
    """It is ignored, and the event says so: without a certificate there is none, and with one that one counts."""
    forged = [(header.encode(), rfc9440(parties.victim.der_chain)[0][1])]
    response = ask(listed.client(), "victim", forged)
    assert_refused(listed, response, "invalid_client", Refusal.NO_CERTIFICATE)
    assert listed.last_event.note == HEADER_IGNORED
    response = ask(listed.client(parties.attacker), "victim", forged)
    assert_refused(listed, response, "invalid_client", Refusal.SUBJECT_MISMATCH)
    assert listed.last_event.note == HEADER_IGNORED
    response = ask(listed.client(parties.attacker), "attacker", forged)
    assert thumbprint_in(response) == x5t_s256(parties.attacker.der)
    assert listed.last_event.note == HEADER_IGNORED
    assert thumbprint_in(listed.token(parties.attacker, "attacker")) == x5t_s256(parties.attacker.der)
    assert listed.last_event.note is None


def test_header_to_a_server_without_a_proxy(parties: Parties, tmp_path: Path) -> None:
    """Off by default."""
    deployed = Deployment(tmp_path).trust("a", parties.a)
    deployed.client("victim", trust="a", tls_client_auth_san_dns="victim.example")
    with running(deployed) as server:
        assert "proxy" not in server.ports
        for proxy in PROXIES.values():
            response = ask(server.client(), "victim", proxy.forward(parties.victim.der_chain))
            assert_refused(server, response, "invalid_client", Refusal.NO_CERTIFICATE)
            assert server.last_event.note == HEADER_IGNORED


def test_a_configured_header_to_the_mtls_listener(parties: Parties, tmp_path: Path) -> None:
    """A name of the operator's own is noted as the usual ones are."""
    lines = f'{LISTED}\npreset = "nginx"\nheader = "X-Partner"\n'
    with running(deployment(tmp_path, parties, lines)) as server:
        headers = [(b"X-Partner", nginx(parties.victim.der_chain)[0][1])]
        assert thumbprint_in(ask(server.proxy_client(), "victim", headers)) == x5t_s256(parties.victim.der)
        response = ask(server.client(), "victim", headers)
        assert_refused(server, response, "invalid_client", Refusal.NO_CERTIFICATE)
        assert server.last_event.note == HEADER_IGNORED


def assert_turned_away(server: RunningServer, response: httpx.Response) -> None:
    assert (response.status_code, response.json()["error"]) == (403, "invalid_request")
    assert server.last_event.endpoint == "proxy"
    assert server.last_event.refusal is Refusal.PROXY_NOT_AUTHENTICATED


def test_another_address_at_the_proxy_listener(listed: RunningServer, parties: Parties) -> None:
    """Nobody but the proxy gets an answer there, with a header or without, whatever he asks for."""
    forged = rfc9440(parties.victim.der_chain)
    assert_turned_away(listed, ask(listed.proxy_client(address="127.0.0.2"), "victim", forged))
    assert listed.last_event.note == HEADER_IGNORED
    assert listed.last_event.peer == "127.0.0.2"
    lies = [*forged, (b"X-Forwarded-For", b"127.0.0.1"), (b"Forwarded", b"for=127.0.0.1")]
    assert_turned_away(listed, ask(listed.proxy_client(address="127.0.0.2"), "victim", lies))
    for path in ("/jwks", "/.well-known/oauth-authorization-server", "/nowhere"):
        with listed.proxy_client(address="127.0.0.2") as client:
            assert_turned_away(listed, client.get(path))
    assert listed.last_event.note is None


@pytest.mark.parametrize("who", ["nobody", "other", "victim", "other with the proxy's behind"])
def test_another_certificate_at_the_proxy_listener(pinned: RunningServer, parties: Parties, who: str) -> None:
    """A header together with a direct certificate that is not the proxy's is refused, as is one with none."""
    other = self_signed("other")
    identity = {
        "nobody": None,
        "other": other,
        "victim": parties.victim,
        "other with the proxy's behind": Identity(other.certificate, other.private_key, (parties.proxy.certificate,)),
    }[who]
    assert_turned_away(pinned, ask(pinned.proxy_client(identity), "victim", rfc9440(parties.victim.der_chain)))
    assert pinned.last_event.note == HEADER_IGNORED
    with pinned.proxy_client(identity) as client:
        assert_turned_away(pinned, client.get("/jwks"))


def test_the_proxys_own_certificate_is_nobodys(pinned: RunningServer, parties: Parties) -> None:
    """Without a header there is no certificate, even where the proxy's own is registered for a client."""
    response = ask(pinned.proxy_client(parties.proxy), "proxy", [])
    assert_refused(pinned, response, "invalid_client", Refusal.NO_CERTIFICATE)
    assert thumbprint_in(pinned.token(parties.proxy, "proxy")) == x5t_s256(parties.proxy.der)


def test_a_websocket_at_the_proxy_listener(listed: RunningServer) -> None:
    """The gate knows no other door."""
    head = (
        b"GET /token HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    address = ("127.0.0.1", listed.ports["proxy"])
    with socket.create_connection(address, 5, source_address=("127.0.0.2", 0)) as connection:
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 403")
    assert listed.last_event.refusal is Refusal.PROXY_NOT_AUTHENTICATED


# Header mode configured without an authenticated hop


@pytest.mark.parametrize(
    "lines",
    [
        'bind = "127.0.0.1:0"',
        'bind = "0.0.0.0:0"\nproxy_addresses = ["127.0.0.1"]',
        'bind = "127.0.0.1:0"\nproxy_addresses = ["192.0.2.1"]',
        'bind = "127.0.0.1:0"\nproxy_addresses = []',
        'bind = "127.0.0.1:0"\nproxy_certificates = []',
    ],
)
def test_no_start_without_an_authenticated_hop(parties: Parties, tmp_path: Path, lines: str) -> None:
    """Such a configuration cannot be loaded, so nothing listens."""
    with pytest.raises(ConfigurationError, match=r"listeners\.proxy"):
        load_settings(deployment(tmp_path, parties, lines).write())


# Two such headers; header and own certificate; empty value; truncated base64; PEM with junk around


def test_two_headers(listed: RunningServer, parties: Parties) -> None:
    """Never the first, never the last; two that are equal, or empty, are two."""
    victim, attacker = rfc9440(parties.victim.der_chain), rfc9440(parties.attacker.der_chain)
    for headers in (victim + attacker, attacker + victim, victim * 2, [*victim, (b"client-cert", b"")]):
        response = ask(listed.proxy_client(), "victim", headers)
        assert_refused(listed, response, "invalid_request", Refusal.FORWARDED_CERTIFICATE_REPEATED)
        assert (listed.last_event.detail or "").startswith("repeated_header: ")


@pytest.mark.parametrize("value", [b"", b"::"])
def test_an_empty_header_is_no_certificate(listed: RunningServer, value: bytes) -> None:
    """As if it were absent."""
    response = ask(listed.proxy_client(), "victim", [(b"Client-Cert", value)])
    assert_refused(listed, response, "invalid_client", Refusal.NO_CERTIFICATE)


@pytest.mark.parametrize("preset", PROXIES)
def test_broken_headers(preset: str, parties: Parties, tmp_path: Path) -> None:
    """Cut at any of many places, with junk around, or with a verdict in its place: a refusal with its reason."""
    proxy = PROXIES[preset]
    with running(deployment(tmp_path, parties, f'{LISTED}\npreset = "{proxy.preset}"')) as server:
        (name, value), *_ = proxy.forward((parties.victim.der,))
        if proxy.preset == "envoy":
            value = value[: value.index(b";Chain")]  # behind it stand names, whose loss nothing can show
        with server.proxy_client() as client:
            broken = [value[:length].strip() for length in range(1, len(value) - 3, len(value) // 20)]
            broken += [b'"x' + value, value + b"x", value + b" " + value, b"SUCCESS", b"NONE", b"\xff", b"%00"]
            for text in broken:
                response = client.post("/token", data=token_form("victim"), headers=[(name, text)])
                assert_refused(server, response, "invalid_request", Refusal.FORWARDED_CERTIFICATE_MALFORMED)
            response = client.post("/token", data=token_form("victim"), headers=[(name, value)])
            assert thumbprint_in(response) == x5t_s256(parties.victim.der)


def test_a_header_beyond_all_bounds(listed: RunningServer, parties: Parties) -> None:
    """Longer than any chain: refused, and a longer one yet by the HTTP parser."""
    value = rfc9440(parties.victim.der_chain)[0][1]
    response = ask(listed.proxy_client(), "victim", [(b"Client-Cert", value + b" " * 60_000 + value)])
    assert_refused(listed, response, "invalid_request", Refusal.FORWARDED_CERTIFICATE_MALFORMED)
    response = ask(listed.proxy_client(), "victim", [(b"Client-Cert", value), (b"X", b"a" * 150_000)])
    assert response.status_code == 431


def test_not_a_certificate(listed: RunningServer) -> None:
    """DER, but nothing that anybody would call a certificate."""
    response = ask(listed.proxy_client(), "victim", [(b"Client-Cert", b":MAA=:")])
    assert_refused(listed, response, "invalid_client", Refusal.CERTIFICATE_MALFORMED)


def test_headers_of_other_presets(listed: RunningServer, parties: Parties) -> None:
    """The proxy lets them pass, since it does not know them: they are the client's own, and ignored."""
    forged = nginx(parties.victim.der_chain)
    response = ask(listed.proxy_client(), "victim", forged)
    assert_refused(listed, response, "invalid_client", Refusal.NO_CERTIFICATE)
    assert listed.last_event.note == HEADER_IGNORED
    response = ask(listed.proxy_client(), "attacker", [*forged, *rfc9440(parties.attacker.der_chain)])
    assert thumbprint_in(response) == x5t_s256(parties.attacker.der)
    assert listed.last_event.note == HEADER_IGNORED


# `Connection: close, Client-Cert` from the client (GHSA-62c8-mh53-4cqv)


@pytest.mark.parametrize("value", ["close, Client-Cert", "Client-Cert", "keep-alive,client-cert,Client-Cert-Chain"])
def test_connection_names_the_header(listed: RunningServer, parties: Parties, value: str) -> None:
    """Nothing here takes a header away: identity is neither removed nor altered."""
    hop_by_hop = [(b"Connection", value.encode()), (b"Proxy-Connection", value.encode())]
    headers = [*hop_by_hop, *rfc9440(parties.victim.der_chain)]
    assert thumbprint_in(ask(listed.proxy_client(), "victim", headers)) == x5t_s256(parties.victim.der)
    response = ask(listed.proxy_client(), "victim", hop_by_hop)
    assert_refused(listed, response, "invalid_client", Refusal.NO_CERTIFICATE)


# A verdict without a certificate; and a certificate that the proxy says it verified, from an unknown CA


def test_the_proxys_verdict_counts_for_nothing(listed: RunningServer, parties: Parties) -> None:
    """The chain is verified here again, by the engine that verifies direct connections."""
    verdicts = [(b"X-SSL-Client-Verify", b"SUCCESS"), (b"X-Client-Verified", b"SUCCESS"), (b"verified", b"SUCCESS")]
    response = ask(listed.proxy_client(), "victim", verdicts)
    assert_refused(listed, response, "invalid_client", Refusal.NO_CERTIFICATE)
    unknown = Authority.create("Unknown CA").issue("victim", san=[dns("victim.example")])
    for forged in (unknown, self_signed("victim")):
        response = ask(listed.proxy_client(), "victim", [*verdicts, *rfc9440(forged.der_chain)])
        assert_refused(listed, response, "invalid_client", Refusal.UNTRUSTED_ISSUER, Refusal.SUBJECT_MISMATCH)


# What holds for direct connections holds through a proxy


def test_another_partners_authority(listed: RunningServer, parties: Parties) -> None:
    """Partner B's CA, or a namesake of A's, cannot speak for a client of partner A."""
    for authority in (parties.b, parties.namesake):
        forged = authority.issue("victim", san=[dns("victim.example")])
        chained = Identity(forged.certificate, forged.private_key, (authority.certificate, parties.a.certificate))
        for attack in (forged, chained):
            response = ask(listed.proxy_client(), "victim", rfc9440(attack.der_chain))
            refusals = (Refusal.UNTRUSTED_ISSUER, Refusal.BAD_SIGNATURE)
            assert_refused(listed, response, "invalid_client", *refusals)


def test_victims_certificate_in_the_chain(listed: RunningServer, parties: Parties) -> None:
    """Only the leaf speaks (CVE-2023-2422)."""
    attack = (parties.attacker.der, parties.victim.der)
    response = ask(listed.proxy_client(), "victim", rfc9440(attack))
    assert_refused(listed, response, "invalid_client", Refusal.SUBJECT_MISMATCH)
    response = ask(listed.proxy_client(), "victim", rfc9440(attack)[1:])
    assert_refused(listed, response, "invalid_request", Refusal.FORWARDED_CERTIFICATE_MALFORMED)


def test_expired_and_expiring(listed: RunningServer, parties: Parties) -> None:
    """Dates count at each request, also on the connection that the proxy keeps open."""
    now = datetime.now(UTC)
    old = parties.a.issue(san=[dns("victim.example")], not_before=now - 2 * DAY, not_after=now - HOUR)
    response = ask(listed.proxy_client(), "victim", rfc9440(old.der_chain))
    assert_refused(listed, response, "invalid_client", Refusal.CERTIFICATE_EXPIRED)
    short = parties.a.issue(san=[dns("victim.example")], not_after=now + timedelta(minutes=5))
    with listed.proxy_client() as client:
        request: dict[str, Any] = {"data": token_form("victim"), "headers": rfc9440(short.der_chain)}
        assert client.post("/token", **request).status_code == 200
        listed.move_clock(600)
        try:
            response = client.post("/token", **request)
        finally:
            listed.move_clock(-600)
    assert_refused(listed, response, "invalid_client", Refusal.CERTIFICATE_EXPIRED)


def test_forwarded_for_is_for_the_log(listed: RunningServer, parties: Parties) -> None:
    """What it says is unverified, and decides nothing."""
    headers = [*rfc9440(parties.victim.der_chain), (b"X-Forwarded-For", b"192.0.2.7\xff"), (b"X-Forwarded-For", b"x")]
    assert ask(listed.proxy_client(), "victim", headers).status_code == 200
    assert listed.last_event.unverified_forwarded_for == r"192.0.2.7\xff, x"
    assert listed.last_event.peer == "127.0.0.1"
    assert ask(listed.client(parties.victim), "victim", headers[-2:]).status_code == 200
    assert listed.last_event.unverified_forwarded_for is None


# After a reload


def test_partners_stay_apart_after_a_reload(parties: Parties, tmp_path: Path) -> None:
    """The namesake of a partner's CA comes into a domain of its own, and speaks for nobody else's client."""
    deployed = deployment(tmp_path, parties, LISTED)
    with running(deployed) as server:
        forged = parties.namesake.issue("victim", san=[dns("victim.example")])
        deployed.trust("namesake", parties.namesake)
        deployed.client("namesake", trust="namesake", tls_client_auth_san_dns="victim.example")
        deployed.write()
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        response = ask(server.proxy_client(), "namesake", rfc9440(forged.der_chain))
        assert thumbprint_in(response) == x5t_s256(forged.der)
        response = ask(server.proxy_client(), "victim", rfc9440(forged.der_chain))
        assert_refused(server, response, "invalid_client", Refusal.UNTRUSTED_ISSUER, Refusal.BAD_SIGNATURE)
        response = ask(server.proxy_client(), "namesake", rfc9440(parties.victim.der_chain))
        assert_refused(server, response, "invalid_client", Refusal.UNTRUSTED_ISSUER, Refusal.BAD_SIGNATURE)


def test_another_pin_by_a_reload(parties: Parties, tmp_path: Path) -> None:
    """A proxy whose certificate changes needs no restart, and on connections that stand the old one is over."""
    renewed = self_signed("proxy")
    lines = 'bind = "127.0.0.1:0"\nproxy_certificates = ["sha256:{}"]'
    deployed = deployment(tmp_path, parties, lines.format(hashlib.sha256(parties.proxy.der).hexdigest()))
    with running(deployed) as server, server.proxy_client(parties.proxy) as old:
        request: dict[str, Any] = {"data": token_form("victim"), "headers": rfc9440(parties.victim.der_chain)}
        assert old.post("/token", **request).status_code == 200
        deployed.proxy = lines.format(hashlib.sha256(renewed.der).hexdigest())
        deployed.write()
        assert server.reload().outcome is ReloadOutcome.SUCCEEDED
        assert_turned_away(server, old.post("/token", **request))
        with server.proxy_client(renewed) as new:
            assert new.post("/token", **request).status_code == 200
