"""Real proxies with the documented configurations, before a service that knows nothing of tokens."""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import Authority
from tests.forwarded import vectors
from tests.gateway.running import AUDIENCE, MINE, PROXIES, SERVER_CA, THIEF, Site, site

PROXY_CA = Authority.create("Proxy CA")
SPELLINGS = ["X-Token-Subject", "x-token-subject", "X_Token_Subject", "X-Token_Subject", "X-Token-Client-Id"]


@pytest.fixture(scope="module", params=PROXIES)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


def test_the_service_is_told_whose_token_it_is(behind: Site) -> None:
    """RFC 8705 §3: the certificate that the token is bound to opens the service, and the token stays in front of it."""
    reply = behind.get(MINE, behind.token(MINE.der))
    told = reply.told()
    assert {name: told[f"x-token-{name}"] for name in ("client-id", "subject", "scope", "audience", "id")} == {
        "client-id": "reports",
        "subject": "reports",
        "scope": "reports:read",
        "audience": AUDIENCE,
        "id": "token-1",
    }
    assert not {"authorization", "dpop"} & {name for name, _ in reply.behind}


@pytest.mark.parametrize("path", ["/reports/2026?quarter=1", "/reports/caf%C3%A9"])
def test_paths_and_queries_come_through(behind: Site, path: str) -> None:
    assert behind.get(MINE, behind.token(MINE.der), path).status == 200


def test_no_token(behind: Site) -> None:
    """RFC 6750 §3.1: a challenge without an error; RFC 9728 §5.1: and with the place of the metadata."""
    reply = behind.get(MINE, None)
    assert (reply.status, reply.body.strip().startswith(b"{")) == (401, False)
    assert reply.challenge == (
        'Bearer scope="reports:read", resource_metadata="https://api.example/.well-known/oauth-protected-resource"'
    )


@pytest.mark.parametrize("thief", [THIEF, None], ids=["another certificate", "no certificate"])
def test_a_stolen_token(behind: Site, thief: object) -> None:
    reply = behind.get(thief, behind.token(MINE.der))  # type: ignore[arg-type] # an identity or none
    assert reply.status == 401
    assert reply.challenge is not None
    assert reply.challenge.startswith('Bearer error="invalid_token"')


def test_a_token_that_is_not_good(behind: Site) -> None:
    now = int(time.time())
    for claims in (
        {"iat": now - 600, "exp": now - 300},
        {"aud": "https://other.example"},
        {"iss": "https://x.example"},
    ):
        reply = behind.get(MINE, behind.token(MINE.der, **claims))
        assert reply.status == 401
        assert reply.challenge is not None
        assert 'error="invalid_token"' in reply.challenge


def test_a_scope_that_is_missing(behind: Site) -> None:
    reply = behind.get(MINE, behind.token(MINE.der), "/admin")
    assert reply.status == 403
    assert reply.challenge is not None
    assert 'error="insufficient_scope"' in reply.challenge
    assert 'scope="reports:admin"' in reply.challenge


@pytest.mark.parametrize("path", ["/other", "/", "/reports/%2e%2e/admin", "/reports//x", "/reports/..%2fadmin"])
def test_what_has_no_route_or_two_readings_is_refused(behind: Site, path: str) -> None:
    # Traefik removes empty segments before it asks, and for the service, too.
    cleaned = (behind.name, path) == ("traefik", "/reports//x")
    assert behind.get(MINE, behind.token(MINE.der), path).status in ({200} if cleaned else {400, 403})


def test_a_method_without_a_route_is_refused(behind: Site) -> None:
    assert behind.get(MINE, behind.token(MINE.der), method="DELETE").status == 403


@pytest.mark.parametrize("name", SPELLINGS)
def test_what_a_client_says_of_itself_never_gets_through(behind: Site, name: str) -> None:
    """Refused by the gateway, or dropped by the proxy before: the service never sees it."""
    reply = behind.get(MINE, behind.token(MINE.der), headers=[(name, "root")])
    if reply.status == 200:
        assert "root" not in reply.told().values()
        assert ("_" in name) or behind.name == "envoy"
    else:
        assert reply.status in {400, 403}


@pytest.mark.parametrize(
    "name", ["X-Original-URI", "X-Original-Method", "X-Forwarded-Uri", "X-Forwarded-Method", "X_Original_URI"]
)
def test_a_client_cannot_change_the_question(behind: Site, name: str) -> None:
    for value in ("/reports", "GET"):
        assert behind.get(MINE, behind.token(MINE.der), "/admin", headers=[(name, value)]).status in {400, 403}


def test_a_client_cannot_bring_a_certificate(behind: Site) -> None:
    """The victim's certificate in the proxy's own header, without and beside the thief's."""
    name, value = getattr(vectors, behind.name)((MINE.der,))[0]
    forged = name.decode()
    reply = behind.get(MINE, behind.token(MINE.der), headers=[("Connection", f"close, {forged}")])
    assert reply.status in {200, 400}
    for identity in (None, THIEF):
        sent = [(forged, value.decode()), ("Connection", f"close, {forged}")]
        for headers in (sent[:1], sent, sent[:1] * 2):
            assert behind.get(identity, behind.token(MINE.der), headers=headers).status in {400, 401}


def test_two_tokens(behind: Site) -> None:
    """What RFC 6750 has 400 for is 401 here, since nginx knows no other refusal."""
    token = behind.token(MINE.der)
    for reply in (
        behind.get(MINE, token, headers=[("Authorization", f"Bearer {token}")]),
        behind.get(MINE, token, "/reports?access_token=x"),
    ):
        assert reply.status in {400, 401}


def test_the_metadata_need_no_token(behind: Site) -> None:
    """RFC 9728 §3."""
    reply = behind.get(None, None, "/.well-known/oauth-protected-resource")
    assert reply.status == 200
    assert b'"resource": "https://api.example"' in reply.body


def test_headers_are_replaced_where_they_are_not_refused(tmp_path: Path, behind: Site) -> None:
    """With `from_clients = "ignore"` the proxy alone keeps them away, in each configuration that is shown."""
    with site(behind.name, tmp_path, more='[headers]\nfrom_clients = "ignore"\n') as lenient:
        token = lenient.token(MINE.der)
        for name in SPELLINGS:
            reply = lenient.get(MINE, token, headers=[(name, "root"), (name, "root")])
            assert reply.status == 200 or (behind.name == "envoy" and "_" in name)
            assert b"root" not in reply.body


def test_a_line_that_is_forgotten_in_nginx_is_no_hole(tmp_path: Path) -> None:
    """The gateway sees the client's header, too, and refuses the request."""

    def forget(text: str) -> str:
        return re.sub(r" *proxy_set_header X-Token-.*\n", "", text)

    with site("nginx", tmp_path, edit=forget) as careless:
        token = careless.token(MINE.der)
        assert careless.get(MINE, token).told() == {}
        assert careless.get(MINE, token, headers=[("X-Token-Subject", "root")]).status == 403


def test_nginx_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    """The hop by a pinned certificate, as the comment in nginx.conf has it."""
    proxy = PROXY_CA.issue("proxy")
    own, own_key = proxy.write(tmp_path, "proxy")
    certificate, key = SERVER_CA.issue_server("localhost").write(tmp_path, "gateway")
    (tmp_path / "server-ca.pem").write_text(SERVER_CA.pem)
    tls = (
        f"proxy_ssl_certificate {own}; proxy_ssl_certificate_key {own_key}; proxy_ssl_name localhost;"
        f" proxy_ssl_trusted_certificate {tmp_path / 'server-ca.pem'}; proxy_ssl_verify on;"
    )

    def use_tls(text: str) -> str:
        text = text.replace("unix:/run/mtls-as/gateway.sock", "127.0.0.1:9080")
        return text.replace(
            "proxy_pass http://mtls_as_gateway/check;", f"proxy_pass https://mtls_as_gateway/check; {tls}"
        )

    pin = hashlib.sha256(proxy.der).hexdigest()
    listener = f'bind = "127.0.0.1:0"\nproxy_certificates = ["sha256:{pin}"]'
    more = f'[tls]\ncertificate = "{certificate}"\nprivate_key = "{key}"\n'
    with site("nginx", tmp_path, edit=use_tls, listener=listener, more=more) as running:
        token = running.token(MINE.der)
        assert running.get(MINE, token).told()["x-token-subject"] == "reports"
        assert running.get(THIEF, token).status == 401


def test_without_the_gateway_nothing_is_let_in(tmp_path: Path, behind: Site) -> None:
    with site(behind.name, tmp_path) as lonely:
        token = lonely.token(MINE.der)
        assert lonely.get(MINE, token).status == 200
        assert lonely.gateway.stop() == 0
        assert lonely.get(MINE, token).status in {403, 500, 502, 503}
