"""What the gateway is put together from: introspection, workers, systemd, and requests with bodies."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.authority import Authority, dns
from tests.forwarded.vectors import nginx
from tests.gateway.running import (
    AUDIENCE,
    MINE,
    PROXIES,
    SERVER_CA,
    Site,
    configuration,
    issuer_server,
    running_gateway,
    site,
)
from tests.gateway.test_process import asking, question, token
from tests.remote.https_server import HTTPSServer, Request, answer


def test_opaque_tokens_are_asked_about(tmp_path: Path) -> None:
    """RFC 7662, by mutual TLS with the gateway's own certificate; without an answer nothing is let in."""
    authority = Authority.create("Resource CA")
    certificate, key = authority.issue("api").write(tmp_path, "api")
    answers: dict[str, object] = {}

    def reply(request: Request) -> bytes:
        if request.path != "/introspect":
            endpoints = {"jwks_uri": f"{server.url}/jwks", "introspection_endpoint": f"{server.url}/introspect"}
            return answer({"issuer": server.url, **endpoints})
        assert request.certificate is not None
        form = parse_qs(request.body)
        assert form["client_id"] == ["api"]
        found = answers.get(form["token"][0])
        return answer(b"", status=500) if found is None else answer(found)

    with HTTPSServer(reply, client_authority=authority) as server:
        now = int(time.time())
        active = {
            "active": True, "iss": server.url, "aud": AUDIENCE, "sub": "alice", "client_id": "reports", "iat": now,
            "exp": now + 60, "token_type": "Bearer", "scope": "reports:read", "jti": "1",
            "cnf": {"x5t#S256": _thumbprint(MINE.der)},
        }  # fmt: skip
        answers |= {"good": active, "dead": {"active": False}}
        more = f'[introspection]\nclient_id = "api"\ncertificate = "{certificate}"\nprivate_key = "{key}"\n'
        config = configuration("nginx", server, tmp_path, more=more)
        with running_gateway(config) as gateway, asking(gateway) as client:
            granted = client.get("/check", headers=question("good"))
            assert (granted.status_code, granted.headers["x-token-subject"]) == (200, "alice")
            assert client.get("/check", headers=question("dead")).status_code == 401
            assert client.get("/check", headers=question("unknown")).status_code == 503


def test_systemd_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sd_notify(3): `READY=1` once it answers, `STOPPING=1` when it stops."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening, issuer_server() as issuer:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running_gateway(configuration("nginx", issuer, tmp_path)) as gateway:
            assert listening.recv(1024).startswith(b"READY=1\nSTATUS=answers nginx at unix:")
            assert gateway.stop() == 0
            assert listening.recv(1024) == b"STOPPING=1"


@pytest.mark.slow
def test_several_workers(tmp_path: Path) -> None:
    """Each answers, each reads the configuration again, and all end."""
    with issuer_server() as issuer:
        config = configuration("nginx", issuer, tmp_path, more="[server]\nworkers = 2\n")
        with running_gateway(config) as gateway:
            gateway.wait_for_event("start", 2)
            config.write_text(config.read_text().replace("/admin", "/x"))
            gateway.process.send_signal(signal.SIGHUP)
            gateway.wait_for_event("reload", 2)
            for _ in range(8):
                with asking(gateway) as client:
                    headers = question(token(issuer, scope="reports:admin"), uri="/x")
                    assert client.get("/check", headers=headers).status_code == 200
            assert gateway.stop() == 0
            assert len(gateway.events("stop")) == 2


@pytest.fixture(scope="module", params=PROXIES)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_does_not_disturb_the_question(behind: Site, framing: str) -> None:
    """It goes to the service alone, which answers 501, since it knows no POST; and to nobody without a token."""
    body = os.urandom(5_000)  # small: the service answers before it has read it, and closes
    for scope, status in (("reports:admin", 501), ("reports:read", 403)):
        headers = {"Authorization": f"Bearer {behind.token(MINE.der, scope=scope)}"}
        context = ssl.create_default_context(cadata=SERVER_CA.pem)
        context.load_cert_chain(*MINE.write(behind.folder, "client"))
        connection = http.client.HTTPSConnection("localhost", behind.port, context=context, timeout=15)
        chunked = framing == "chunks"
        with contextlib.closing(connection):
            connection.request("POST", "/admin", iter([body]) if chunked else body, headers, encode_chunked=chunked)
            assert connection.getresponse().status == status


def test_a_large_certificate(behind: Site) -> None:
    """Of 12 KiB, which is 16 KiB and more in its header."""
    names = [dns(f"{number:03}.a-name-of-some-length-to-fill-the-certificate.example") for number in range(200)]
    large = Authority.create("Level 1", parent=Authority.create("Root")).issue("large", san=names)
    assert len(nginx((large.der,))[0][1]) > 16_000
    assert behind.get(large, behind.token(large.der)).told()["x-token-subject"] == "reports"


def _thumbprint(der: bytes) -> str:
    from mtls_as.rfc.rfc8705_mtls import x5t_s256

    return x5t_s256(der)
