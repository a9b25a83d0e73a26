"""The admin listener: health and metrics, there and on no other listener."""

import asyncio
import base64
import re
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.server.signing_keys import SigningKeys
from mtls_as.wiring.file_watch import read_settings
from mtls_as.wiring.reload import Reloader
from tests.authority import DAY, Authority, dns, self_signed
from tests.cli.test_cert_trust import revocation_list
from tests.running import Deployment, RunningServer, running

AUTHORITY = Authority.create("Partner CA")
ADMIN_PATHS = ("/health/live", "/health/ready", "/metrics")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def deployment(folder: Path, *, admin: bool = True, storage_options: str = "") -> Deployment:
    made = Deployment(folder, admin=admin, public="https://public.example", storage_options=storage_options)
    return made.trust("default", AUTHORITY).client("c1", tls_client_auth_san_dns="c1.example")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(deployment(tmp_path_factory.mktemp("admin"))) as server:
        yield server


def get(server: RunningServer, path: str, url: str | None = None) -> httpx.Response:
    return httpx.get((url or server.admin_url) + path, verify=server.ssl_context(), trust_env=False)


def samples(server: RunningServer) -> Samples:
    """What Prometheus's own parser reads."""
    response = get(server, "/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(response.text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def total(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


def test_a_process_that_answers_is_live(server: RunningServer) -> None:
    assert get(server, "/health/live").json() == {"live": True}


def test_a_server_that_can_serve_is_ready(server: RunningServer) -> None:
    """With what it stands on."""
    response = get(server, "/health/ready")
    assert response.status_code == 200
    body = response.json()
    assert body["ready"] is True
    assert {name: check["passed"] for name, check in body["checks"].items()} == {
        "serving": True,
        "storage": True,
        "signing_key": True,
        "trust": True,
    }
    assert response.headers["Cache-Control"] == "no-store"


def test_health_and_metrics_are_on_no_other_listener(server: RunningServer) -> None:
    """Nor are tokens and keys on this one."""
    for path in ADMIN_PATHS:
        assert get(server, path, server.url).status_code == 404
        assert get(server, path, server.public_url).status_code == 404
    for path in ("/token", "/jwks", "/.well-known/oauth-authorization-server"):
        assert get(server, path).status_code == 404


def test_without_an_admin_listener_there_is_none(tmp_path: Path) -> None:
    with running(deployment(tmp_path, admin=False)) as server:
        assert set(server.ports) == {"mtls", "public"}
        for path in ADMIN_PATHS:
            assert get(server, path, server.url).status_code == 404


def test_it_asks_for_no_certificate(server: RunningServer) -> None:
    """The listener says so to the TLS layer."""
    [admin] = [listener for listener in server.node.listeners() if listener.name == "admin"]
    assert not admin.request_certificate


def test_tokens_and_refusals_are_counted(server: RunningServer) -> None:
    """Refusals by the reason code of the log; every code is there from the start."""
    identity = AUTHORITY.issue("c1", san=[dns("c1.example")])
    before = samples(server)
    assert server.token(identity).status_code == 200
    assert server.token(self_signed("c1")).status_code == 401
    after = samples(server)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert (
        grown("mtls_as_tokens_issued_total", grant_type="client_credentials", authentication_method="tls_client_auth")
        == 1
    )
    assert grown("mtls_as_refusals_total", reason="untrusted_issuer") == 1
    assert ("mtls_as_refusals_total", (("reason", "weak_key"),)) in before
    assert grown("mtls_as_request_duration_seconds_count", endpoint="token", outcome="answered") == 1
    assert grown("mtls_as_request_duration_seconds_count", endpoint="token", outcome="refused") == 1


def test_failed_handshakes_are_counted(server: RunningServer) -> None:
    """By reason."""
    context = ssl.create_default_context()
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection(("127.0.0.1", server.ports["mtls"])) as plain,
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass
    for _ in range(50):
        found = samples(server)
        if total(found, "mtls_as_handshake_failures_total", reason="alert_unknown_ca"):
            return
        time.sleep(0.05)
    raise AssertionError(found)


def test_the_ends_of_certificates_are_told(tmp_path: Path) -> None:
    """Server, anchors by domain, registered and seen certificates of clients; the soonest of each."""
    own = self_signed("own", days=3)
    key = public_jwk(own.private_key.public_key(), kid="1", algorithm="ES256")  # type: ignore[arg-type] # P-256
    jwks = {"keys": [key | {"x5c": [base64.b64encode(own.der).decode()]}]}
    made = deployment(tmp_path).client("own", token_endpoint_auth_method="self_signed_tls_client_auth", jwks=jwks)
    identity = AUTHORITY.issue("c1", san=[dns("c1.example")])
    with running(made) as server:
        assert server.token(identity).status_code == 200
        server.call(server.node.certificate_uses.flush())
        found = samples(server)
        server.move_clock(2 * 86_400)
        later = samples(server)
    name = "mtls_as_certificate_seconds_left"
    expected = {
        ("server", "", ""): 1,
        ("anchor", "default", ""): 365,
        ("client", "", "c1"): 1,
        ("client", "", "own"): 3,
    }
    assert len([metric for metric, _ in found if metric == name]) == len(expected)
    for (role, trust, client_id), left in expected.items():
        assert total(found, name, role=role, trust=trust, client_id=client_id) / 86_400 == pytest.approx(left, abs=0.01)
    assert total(later, name, role="server", trust="", client_id="") / 86_400 == pytest.approx(-1, abs=0.01)
    assert total(found, "mtls_as_clients_left_out") == 0
    assert total(found, "mtls_as_trust_generation") == 1
    ages = [value for (metric, _), value in found.items() if metric == "mtls_as_signing_key_age_seconds"]
    assert len(ages) == 1
    assert 0 <= ages[0] < 60


def test_revocation_lists_and_their_sources_are_told(tmp_path: Path) -> None:
    """A list in use with its end, and a file that is none."""
    (tmp_path / "good.crl").write_bytes(revocation_list(AUTHORITY, hours=1))
    (tmp_path / "bad.crl").write_text("no list")
    made = Deployment(tmp_path, admin=True)
    made.trust("default", AUTHORITY, options='crl = ["good.crl", "bad.crl"]')
    with running(made.client("c1", tls_client_auth_san_dns="c1.example")) as server:
        found = samples(server)
    good, bad = str(tmp_path / "good.crl"), str(tmp_path / "bad.crl")
    name = "mtls_as_revocation_list_seconds_left"
    assert total(found, name, trust="default", source=good) / 3600 == pytest.approx(47, abs=0.1)
    assert total(found, "mtls_as_revocation_source_failing", trust="default", source=bad) == 1


def test_a_reload_is_counted_and_what_it_brings_is_told(tmp_path: Path) -> None:
    """The generation grows, and the new anchor's end is the one that is told; a reload that fails changes nothing."""
    with running(deployment(tmp_path)) as server:
        settings, looked = read_settings(server.deployment.path)
        assert settings == server.node.settings
        reloader = Reloader(server.node, looked=looked, asked=asyncio.Event(), note=lambda _event: None)
        anchor = tmp_path / "anchor-default-0.pem"
        anchor.write_text(Authority.create("Partner CA", not_after=datetime.now(UTC) + 20 * DAY).pem)
        server.call(reloader.reload("test"))
        anchor.write_text("half a certif")
        server.call(reloader.reload("test"))
        found = samples(server)
    assert total(found, "mtls_as_reloads_total", what="configuration", outcome="succeeded") == 1
    assert total(found, "mtls_as_reloads_total", what="configuration", outcome="failed") == 1
    assert total(found, "mtls_as_trust_generation") == 2
    left = total(found, "mtls_as_certificate_seconds_left", role="anchor", trust="default", client_id="")
    assert left / 86_400 == pytest.approx(20, abs=0.01)


def test_without_a_signing_key_the_server_is_not_ready(tmp_path: Path) -> None:
    """503, with the reason."""
    with running(deployment(tmp_path)) as server:
        server.node.signing_keys.value = SigningKeys(())
        response = get(server, "/health/ready")
        assert response.status_code == 503
        assert response.json()["ready"] is False
        assert "mtls-as keys rotate" in response.json()["checks"]["signing_key"]["detail"]
        assert get(server, "/health/live").status_code == 200


async def drop_connections(server: RunningServer) -> None:
    """Let the storage begin anew, once nothing in the background is using it."""
    engine = server.node.storage._transactions._engine
    while engine.pool.checkedout():  # type: ignore[attr-defined] # noqa: ASYNC110 # a file's pool, which tells nobody
        await asyncio.sleep(0.01)
    await engine.dispose()


def test_without_its_database_the_server_goes_on_for_a_while_and_says_so(tmp_path: Path) -> None:
    """Ready, since every other node would have to do the same; with what is wrong, and for how long."""
    with running(deployment(tmp_path)) as server:
        server.call(drop_connections(server))
        (tmp_path / "test.db").rename(tmp_path / "away.db")
        response = get(server, "/health/ready")
        assert response.status_code == 200
        detail = response.json()["checks"]["storage"]["detail"]
        assert re.fullmatch(r"clients that are known here get tokens for another \d+ s: .*cannot be opened.*", detail)


def test_a_server_that_is_about_to_stop_is_not_ready(tmp_path: Path) -> None:
    """So that nobody sends it more, while it still answers."""
    with running(deployment(tmp_path)) as server:
        server.loop.call_soon_threadsafe(server.node.foundation.stopping.set)
        response = get(server, "/health/ready")
        assert response.status_code == 503
        assert response.json()["checks"]["serving"] == {"passed": False, "detail": "is about to stop"}


def test_without_its_database_the_server_is_not_ready_if_nothing_is_tolerated(tmp_path: Path) -> None:
    """503 with the reason; metrics go on."""
    with running(deployment(tmp_path, storage_options="tolerated_outage = 0")) as server:
        server.call(drop_connections(server))
        (tmp_path / "test.db").rename(tmp_path / "away.db")
        response = get(server, "/health/ready")
        assert response.status_code == 503
        assert "cannot be opened" in response.json()["checks"]["storage"]["detail"]
        assert total(samples(server), "mtls_as_certificate_seconds_left", role="server", trust="", client_id="") > 0
        (tmp_path / "away.db").rename(tmp_path / "test.db")
        assert get(server, "/health/ready").status_code == 200
