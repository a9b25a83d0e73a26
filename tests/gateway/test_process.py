"""`mtls-as gateway` as a process: its three hops, its health, its reload and its end; no proxy but the test itself."""

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.authority import Authority, Identity
from tests.dpop import DPoPKey
from tests.forwarded.vectors import nginx
from tests.gateway.running import (
    AS,
    AUDIENCE,
    MINE,
    SERVER_CA,
    START_SECONDS,
    THIEF,
    RunningGateway,
    configuration,
    issuer_server,
    running_gateway,
)
from tests.remote.https_server import HTTPSServer

PROXY = Authority.create("Proxy CA").issue("proxy")


@pytest.fixture(scope="module")
def issuer() -> Iterator[HTTPSServer]:
    with issuer_server() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(issuer: HTTPSServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(configuration("nginx", issuer, tmp_path_factory.mktemp("socket"))) as running:
        yield running


def asking(gateway: RunningGateway, identity: Identity | None = None, *, http2: bool = False) -> httpx.Client:
    """A client in the place of the proxy."""
    if gateway.address.startswith("unix:"):
        transport = httpx.HTTPTransport(uds=gateway.address.removeprefix("unix:"))
        return httpx.Client(transport=transport, base_url="http://gateway", trust_env=False)
    context = ssl.create_default_context(cadata=SERVER_CA.pem)
    if identity is not None:
        context.load_cert_chain(*identity.write(gateway.folder, f"proxy-{identity.certificate.serial_number}"))
    tls = "proxy_certificates" in gateway.config.read_text()
    port = gateway.address.rpartition(":")[2]
    place = f"http{'s' * tls}://localhost:{port}"
    return httpx.Client(verify=context, base_url=place, trust_env=False, http2=http2)


def token(issuer: HTTPSServer, certificate: bytes | None = MINE.der, **claims: object) -> str:
    now = int(time.time())
    return AS.token(certificate, **({"iss": issuer.url, "iat": now, "exp": now + 60} | claims))


def question(value: str | None, *, uri: str = "/reports", method: str = "GET", **more: str) -> dict[str, str]:
    name, certificate = nginx((MINE.der,))[0]
    headers = {"X-Original-URI": uri, "X-Original-Method": method, name.decode(): certificate.decode()}
    return headers | ({} if value is None else {"Authorization": f"Bearer {value}"}) | more


def test_a_decision_is_one_line_without_the_token(gateway: RunningGateway, issuer: HTTPSServer) -> None:
    with asking(gateway) as client:
        before = len(gateway.events())
        value = token(issuer)
        assert client.get("/check", headers=question(value, uri="/reports/1?access=secret")).status_code == 200
        assert client.get("/check", headers=question(value, uri="/admin")).status_code == 403
        gateway.wait_for_event("check", before + 2)
    granted, refused = gateway.events()[before:]
    del granted["time"], refused["time"]
    assert granted == {
        "event": "check", "outcome": "granted", "status": 200, "method": "GET", "path": "/reports/1",
        "client_id": "reports", "subject": "reports", "token_id": "token-1",
    }  # fmt: skip
    assert refused == {
        "event": "check", "outcome": "refused", "status": 403, "method": "GET", "path": "/admin",
        "reason": "needs reports:admin",
    }  # fmt: skip
    written = (gateway.folder / "events").read_text() + gateway.diagnostics
    assert value not in written
    assert "secret" not in written
    assert "refused" not in gateway.diagnostics


def test_an_answer_has_no_body_and_is_not_kept(gateway: RunningGateway, issuer: HTTPSServer) -> None:
    with asking(gateway) as client:
        for value, uri, status in ((token(issuer), "/reports", 200), (None, "/reports", 401), (None, "/x", 403)):
            answer = client.get("/check", headers=question(value, uri=uri))
            assert (answer.status_code, answer.content) == (status, b"")
            assert answer.headers["cache-control"] == "no-store"
            assert ("www-authenticate" in answer.headers) == (status != 200)


def test_a_question_without_its_headers_is_a_failure(gateway: RunningGateway, issuer: HTTPSServer) -> None:
    """500, which every proxy takes for no: the operator forgot to set them, or a client could."""
    with asking(gateway) as client:
        for name in ("X-Original-URI", "X-Original-Method"):
            headers = [(key, value) for key, value in question(token(issuer)).items() if key != name]
            assert client.get("/check", headers=headers).status_code == 500
            both = [*headers, (name, "/reports"), (name, "/reports")]
            assert client.get("/check", headers=both).status_code == 500


def test_a_client_is_asked_in_any_form_of_request(gateway: RunningGateway, issuer: HTTPSServer) -> None:
    """Past the direct lane, too: with a query, a body, or repeated headers."""
    headers = question(token(issuer))
    with asking(gateway) as client:
        assert client.get("/check?x=1", headers=headers).status_code == 200
        assert client.post("/check", headers=headers, content=b"x" * 100_000).status_code == 200
        repeated = [*headers.items(), ("Accept", "a"), ("Accept", "b")]
        assert client.get("/check", headers=repeated).status_code == 200
        assert client.request("DELETE", "/check", headers=headers).status_code == 200
        assert client.get("/other", headers=headers).status_code == 404


def test_health(gateway: RunningGateway) -> None:
    with asking(gateway) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_tokens_bound_to_dpop_keys(issuer: HTTPSServer, tmp_path: Path) -> None:
    """RFC 9449 §7.1: `htm` and `htu` are those of the client's request, and a proof is good for once."""
    config = configuration("nginx", issuer, tmp_path)
    config.write_text(config.read_text().replace("metadata = true", 'dpop_url = "https://api.example"'))
    prover = DPoPKey()
    value = token(issuer, None, cnf={"jkt": prover.thumbprint})

    def headers(method: str, uri: str, url: str) -> dict[str, str]:
        proof = prover.proof(method, url, token=value)
        return question(None, uri=uri, method=method) | {"Authorization": f"DPoP {value}", "DPoP": proof}

    with running_gateway(config) as running, asking(running) as client:
        good = headers("GET", "/reports/1?page=2", "https://api.example/reports/1")
        assert client.get("/check", headers=good).status_code == 200
        replayed = client.get("/check", headers=good)
        assert replayed.status_code == 401
        assert 'error="invalid_dpop_proof"' in replayed.headers["www-authenticate"]
        for wrong in (
            headers("POST", "/reports/1", "https://api.example/reports/1") | {"X-Original-Method": "GET"},
            headers("GET", "/reports/2", "https://api.example/reports/1"),
            headers("GET", "/reports", "http://gateway/check"),
        ):
            assert client.get("/check", headers=wrong).status_code == 401
        challenge = client.get("/check", headers=question(None)).headers.get_list("www-authenticate")
        assert len(challenge) == 1
        assert "DPoP" in challenge[0]
        running.process.send_signal(signal.SIGHUP)
        assert running.wait_for_event("reload")["outcome"] == "succeeded"
        assert client.get("/check", headers=good).status_code == 401, "a reload makes no proof good again"


def test_signals_of_the_first_moment_wait_for_the_gateway(issuer: HTTPSServer, tmp_path: Path) -> None:
    """As soon as its socket takes connections: SIGHUP does not end it, and SIGTERM ends it well."""
    config = configuration("nginx", issuer, tmp_path)
    command = [sys.executable, "-m", "mtls_as.cli", "gateway", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as proxy:
                proxy.connect(str(tmp_path / "g.sock"))
                break
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) == 0


def test_a_pinned_proxy(issuer: HTTPSServer, tmp_path: Path) -> None:
    """Over TLS only the certificate that is pinned asks; how the process is, everybody may ask."""
    certificate, key = SERVER_CA.issue_server("localhost").write(tmp_path, "gateway")
    pin = PROXY.certificate.fingerprint(_sha256()).hex()
    listener = f'bind = "127.0.0.1:0"\nproxy_certificates = ["sha256:{pin}"]'
    more = f'[tls]\ncertificate = "{certificate}"\nprivate_key = "{key}"\n'
    config = configuration("nginx", issuer, tmp_path, listener=listener, more=more)
    with running_gateway(config) as running:
        for http2 in (False, True):
            with asking(running, PROXY, http2=http2) as client:
                answer = client.get("/check", headers=question(token(issuer)))
                assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
        for stranger in (MINE, None):
            with asking(running, stranger) as client:
                assert client.get("/check", headers=question(token(issuer))).status_code == 403
                assert client.get("/.well-known/oauth-protected-resource").status_code == 403
                assert client.get("/health/live").status_code == 200
        event = running.wait_for_event("check", 3)
        assert "not the proxy" in str(event["reason"])


def test_a_listed_address(issuer: HTTPSServer, tmp_path: Path) -> None:
    listener = 'bind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.2"]'
    with running_gateway(configuration("nginx", issuer, tmp_path, listener=listener)) as running:
        for address, status in (("127.0.0.2", 200), ("127.0.0.1", 403)):
            transport = httpx.HTTPTransport(local_address=address)
            with httpx.Client(transport=transport, base_url=f"http://{running.address}", trust_env=False) as client:
                assert client.get("/check", headers=question(token(issuer))).status_code == status


def test_a_reload_takes_over_what_is_good_and_nothing_else(issuer: HTTPSServer, tmp_path: Path) -> None:
    config = configuration("nginx", issuer, tmp_path)
    text = config.read_text()
    with running_gateway(config) as running, asking(running) as client:
        outcomes = []
        for number, changed in enumerate(
            (text + "x = 1", text.replace("g.sock", "h.sock"), text.replace("/admin", "/x"))
        ):
            config.write_text(changed)
            running.process.send_signal(signal.SIGHUP)
            outcomes.append(running.wait_for_event("reload", number + 1)["outcome"])
            status = client.get("/check", headers=question(token(issuer), uri="/reports")).status_code
            assert status == 200
        assert outcomes == ["failed", "failed", "succeeded"]
        answer = client.get("/check", headers=question(token(issuer, scope="reports:admin"), uri="/x"))
        assert answer.status_code == 200


def test_without_keys_nothing_is_let_in(tmp_path: Path) -> None:
    """503, and not ready; it starts all the same, since the authorization server may come later."""
    with issuer_server() as gone:
        config = configuration("nginx", gone, tmp_path)
    with running_gateway(config) as running, asking(running) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        assert client.get("/check", headers=question(token(gone))).status_code == 503
        assert client.get("/check", headers=question(None)).status_code == 401


def test_the_thief_of_a_token_that_is_remembered(gateway: RunningGateway, issuer: HTTPSServer) -> None:
    """What is remembered is the token, not the decision."""
    value = token(issuer)
    name, certificate = nginx((THIEF.der,))[0]
    with asking(gateway) as client:
        for _ in range(3):
            assert client.get("/check", headers=question(value)).status_code == 200
            stolen = question(value) | {name.decode(): certificate.decode()}
            assert client.get("/check", headers=stolen).status_code == 401


def test_requests_under_way_are_answered_before_it_ends(issuer: HTTPSServer, tmp_path: Path) -> None:
    """SIGTERM between questions on one connection ends the process with 0, and its socket refuses."""
    with running_gateway(configuration("nginx", issuer, tmp_path)) as running:
        with asking(running) as client:
            assert client.get("/check", headers=question(token(issuer))).status_code == 200
            assert running.stop() == 0
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
            late.connect(running.address.removeprefix("unix:"))
        assert running.events("stop")


def test_check_says_what_is_wrong(issuer: HTTPSServer, tmp_path: Path) -> None:
    config = configuration("nginx", issuer, tmp_path)
    command = [sys.executable, "-m", "mtls_as.cli", "gateway", "--check", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"{config} is good.\n")
    config.write_text(config.read_text().replace("unix:g.sock", "0.0.0.0:9080"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "nothing proves that requests come from the proxy" in done.stderr


def test_several_resources(issuer: HTTPSServer, tmp_path: Path) -> None:
    """A route takes the tokens of its own resource alone."""
    config = configuration("nginx", issuer, tmp_path)
    text = config.read_text().replace("scopes =", f'audience = "{AUDIENCE}"\nscopes =')
    other = '[[resources]]\naudience = "urn:other"\n[[routes]]\npath = "/other"\nscopes = []\naudience = "urn:other"\n'
    config.write_text(text + other)
    with running_gateway(config) as running, asking(running) as client:
        for audience, uri, status in (
            (AUDIENCE, "/reports", 200), (AUDIENCE, "/other", 401), ("urn:other", "/other", 200),
            ("urn:other", "/reports", 401),
        ):  # fmt: skip
            answer = client.get("/check", headers=question(token(issuer, aud=audience), uri=uri))
            assert answer.status_code == status
        document = client.get("/.well-known/oauth-protected-resource").json()
        assert document["scopes_supported"] == ["reports:read", "reports:admin"]


def _sha256() -> object:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()
