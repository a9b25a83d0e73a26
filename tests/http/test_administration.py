"""The administration: who gets in, revocations, and reload, over real TLS."""

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtls_as.http.admin_api.operations import ADMIN_OPERATIONS
from mtls_as.http.operation import Operation
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.endpoints.admin.routes import AdminScope
from tests.authority import Authority, dns
from tests.dpop import DPoPKey
from tests.http.administering import ADMINISTRATION, OTHER, World, administered, administering
from tests.revocation_lists import issue_crl
from tests.running import RESOURCE, Deployment, running
from tests.tls.peers import Client, HTTP2Client

CLIENTS, READ_CLIENTS = AdminScope.CLIENTS, AdminScope.READ_CLIENTS
NEEDS: dict[str, set[AdminScope]] = {
    "listClients": {CLIENTS, READ_CLIENTS},
    "addClient": {CLIENTS},
    "showClient": {CLIENTS, READ_CLIENTS},
    "replaceClient": {CLIENTS},
    "deleteStoredClient": {CLIENTS},
    "enableClient": {CLIENTS},
    "disableClient": {CLIENTS},
    "rotateClientSecret": {CLIENTS},
    "listRegistrationTokens": {CLIENTS, READ_CLIENTS},
    "addRegistrationToken": {CLIENTS},
    "deleteRegistrationToken": {CLIENTS},
    "listKeys": {AdminScope.KEYS, AdminScope.READ_KEYS},
    "rotateKey": {AdminScope.KEYS},
    "showTrust": {AdminScope.TRUST},
    "takeInventory": {AdminScope.INVENTORY},
    "listAuditRecords": {AdminScope.AUDIT},
    "verifyAuditTrail": {AdminScope.AUDIT},
    "showAuditHead": {AdminScope.AUDIT},
    "revokeTokens": {AdminScope.REVOCATIONS},
    "reload": {AdminScope.RELOAD},
}
"""The scopes that open each operation."""
EVERY_OPERATION = pytest.mark.parametrize("operation", ADMIN_OPERATIONS.values(), ids=lambda each: each.name)


@pytest.fixture
def world(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with administering(tmp_path_factory.mktemp("administration"), authority) as world:
        yield world


@pytest.fixture(scope="module")
def shared(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """For requests that change nothing."""
    with administering(tmp_path_factory.mktemp("shared"), authority) as world:
        yield world


def send(world: World, operation: Operation, **options: Any) -> httpx.Response:
    path = operation.path.replace("{", "").replace("}", "")
    return world.request(operation.method, path, **options)


@EVERY_OPERATION
def test_tokens_that_open_nothing(shared: World, operation: Operation) -> None:
    """Stolen, unbound, for other resources, none, garbage: for each operation (RFC 6750 §3.1, RFC 8705 §3)."""
    good = shared.token()
    cases = {
        "over no certificate": (good, None),
        "stolen": (good, shared.certificates["thief"]),
        "bearer": (shared.token("operator-bearer"), shared.operator),
        "of another resource": (shared.token(resource=OTHER), shared.operator),
        "of an ordinary client": (shared.token("c1", resource=RESOURCE), shared.certificates["c1"]),
        "garbage": ("x.y.z", shared.operator),
        "none": (None, shared.operator),
    }
    for name, (token, identity) in cases.items():
        answer = send(shared, operation, token=token, identity=identity)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token"), name
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.json()["error_description"] == (
            "The token, or the certificate it needs beside it, is missing, wrong or used up."
        ), "who is not let in learns nothing"
        assert (shared.server.last_event.action, shared.server.last_event.target) == (operation.name, None)


@EVERY_OPERATION
def test_scopes_count_to_the_letter(shared: World, operation: Operation) -> None:
    """Neither the beginning of a scope nor all the others make up for the one that is missing."""
    others = [scope for scope in (*AdminScope, "mtls-as:admin") if scope not in NEEDS[operation.name]]
    answer = send(shared, operation, token=shared.token(scope=" ".join(others)), identity=shared.operator)
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


@EVERY_OPERATION
def test_tokens_bound_to_dpop_keys_open_nothing(shared: World, operation: Operation) -> None:
    """With their proof or without, by either scheme: here the connection's certificate counts."""
    key = DPoPKey()
    with shared.server.client(shared.operator) as client:
        form = {"grant_type": "client_credentials", "client_id": "operator-dpop", "resource": ADMINISTRATION}
        proof = key.proof("POST", f"{shared.server.deployment.issuer}/token")
        answer = client.post("/token", data=form, headers={"DPoP": proof})
    assert answer.status_code == 200, shared.server.last_event
    token = answer.json()["access_token"]
    for scheme in ("Bearer", "DPoP"):
        url = f"{shared.server.admin_url}{operation.path}"
        proof = {"DPoP": key.proof(operation.method, url, token=token)}
        refused = send(shared, operation, token=token, identity=shared.operator, scheme=scheme, headers=proof)
        assert refused.status_code == 401


@pytest.mark.parametrize("header", ["Client-Cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert", "X-Client-Cert"])
def test_a_certificate_in_a_header_is_none(shared: World, header: str) -> None:
    """On the admin listener it proves nothing, whoever sends it."""
    value = f":{base64.b64encode(shared.operator.der).decode()}:"
    answer = shared.request(
        "POST", "/reload", token=shared.token(), identity=shared.certificates["thief"], headers={header: value}
    )
    assert answer.status_code == 401
    answer = shared.request("POST", "/reload", token=shared.token(), identity=None, headers={header: value})
    assert answer.status_code == 401


def test_a_token_in_the_query_or_twice_is_refused(shared: World) -> None:
    """RFC 6750 §2.3, §3.1."""
    token = shared.token()
    for path, headers in (
        (f"/reload?access_token={token}", {}),
        ("/reload", {"Authorization": f"Bearer {token}", "authorization": f"Bearer {token}"}),
    ):
        with httpx.Client(verify=shared.server.ssl_context(shared.operator), trust_env=False) as client:
            answer = client.post(f"{shared.server.admin_url}{path}", headers=list(headers.items()))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_what_an_operator_can_revoke(world: World) -> None:
    """One token, those of a client, those of a certificate, and all before a time."""
    operator = world.operator
    thumbprint = x5t_s256(world.certificates["c1"].der)

    def revoke(token: str, **form: object) -> int:
        return world.request("POST", "/revocations", token=token, identity=operator, data=form).status_code

    for form in ({"client_id": "c1"}, {"certificate": thumbprint}):
        world.server.move_clock(2)
        admin, token = world.token(scope=AdminScope.REVOCATIONS), world.token("c1")
        assert world.is_active(token)
        world.server.move_clock(1)
        assert revoke(admin, **form) == 200, world.server.last_event
        assert not world.is_active(token)
        assert world.server.events[-2].target
    world.server.move_clock(2)
    admin, token = world.token(scope=AdminScope.REVOCATIONS), world.token("c1")
    token_id = world.server.last_event.token_id
    assert revoke(admin, token_id=token_id) == 200
    assert not world.is_active(token)
    before = int(time.time() + world.server.clock_offset[0]) + 1
    world.server.move_clock(2)
    assert revoke(admin, before=before) == 200
    assert revoke(admin, client_id="c1") == 401, "its own token is revoked now too"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"client_id": "c1", "certificate": "x"},
        {"certificate": "x"},
        {"before": "tomorrow"},
        {"before": "99999999999"},
        {"client_id": "c1", "before": "99999999999"},
        {"token_id": "j" * 257},
        {"client_id": "c" * 60_000},
        {"client_id": "", "before": "1"},
        {"clientid": "c1", "before": "1"},
    ],
    ids=lambda form: str(form)[:60],
)
def test_revocations_that_name_nothing_or_too_much(shared: World, form: dict[str, str]) -> None:
    """A subject that is misspelt or empty does not end the tokens of everybody."""
    answer = shared.call("POST", "/revocations", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_it_is_not_there_without_a_resource(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> None:
    deployment = Deployment(tmp_path_factory.mktemp("plain-admin"), admin=True).trust("default", authority)
    with running(deployment) as server:
        with httpx.Client(verify=server.ssl_context(), trust_env=False) as client:
            for operation in ADMIN_OPERATIONS.values():
                assert client.request(operation.method, server.admin_url + operation.path).status_code == 404
        with server.client() as client:
            assert client.post("/revocations", data={"client_id": "c1"}).status_code == 404
            assert client.post("/reload").status_code == 404


def test_a_reload_takes_the_files_over(world: World, authority: Authority) -> None:
    """A client is declared and known after the call; who asked stands in the log."""
    late = authority.issue(san=[dns("late.example")])
    world.server.deployment.client("late", tls_client_auth_san_dns="late.example").configure()
    assert world.server.token(late, "late").status_code == 401
    answer = world.call("POST", "/reload", AdminScope.RELOAD)
    assert (answer.status_code, answer.json()["outcome"], answer.json()["problems"]) == (200, "succeeded", [])
    [process] = answer.json()["processes"]
    assert (process["outcome"], process["generation"], answer.json()["generation"]) == ("succeeded", 2, 2)
    assert world.server.reloads[-1].cause == "admin call by operator"
    assert world.server.last_event.client_id == "operator"
    assert world.server.token(late, "late").status_code == 200


def test_a_reload_that_fails_says_why_and_changes_nothing(world: World) -> None:
    """Every problem, and the old generation stays in force."""
    path = world.server.deployment.path
    good = path.read_text()
    path.write_text(good.replace('issuer = "', 'isuer = "', 1))
    answer = world.call("POST", "/reload", AdminScope.RELOAD)
    assert (answer.status_code, answer.json()["outcome"], answer.json()["generation"]) == (409, "failed", 1)
    assert any('did you mean "issuer"?' in problem for problem in answer.json()["problems"])
    assert world.token("c1")
    path.write_text(good)
    assert world.call("POST", "/reload", AdminScope.RELOAD).json()["outcome"] == "succeeded"


def test_a_caller_that_gives_up_stops_no_reload(world: World, authority: Authority) -> None:
    """What has begun goes on to its end."""
    world.server.deployment.client("late", tls_client_auth_san_dns="late.example").configure()
    token = world.token()
    impatient = httpx.Timeout(5, read=0.001)
    with pytest.raises(httpx.ReadTimeout):
        world.request("POST", "/reload", token=token, identity=world.operator, timeout=impatient)
    late = authority.issue(san=[dns("late.example")])
    for _ in range(50):
        if world.server.token(late, "late").status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError("it was not taken over")


@pytest.mark.parametrize("body", [b"x", b"{}", b"x" * 60_000], ids=["text", "json", "large"])
def test_a_reload_with_a_body_is_refused(shared: World, body: bytes) -> None:
    answer = shared.call("POST", "/reload", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_an_administrator_is_one_no_longer_at_once(world: World) -> None:
    """Its token opens nothing once it is revoked, or its client disabled or deleted."""
    members = {
        "client_id": "second",
        "trust": "default",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "operator.example",
        "scope": AdminScope.RELOAD,
    }
    both = f"{AdminScope.CLIENTS} {AdminScope.RELOAD}"
    assert world.call("POST", "/clients", both, json=members).status_code == 201

    def reload(token: str) -> int:
        return world.request("POST", "/reload", token=token, identity=world.operator).status_code

    def fetch() -> str:
        world.server.move_clock(2)
        return str(world.server.token(world.operator, "second", resource=ADMINISTRATION).json()["access_token"])

    token = fetch()
    assert reload(token) == 200
    world.call("POST", "/clients/second/disable", both)
    assert reload(token) == 401
    world.call("POST", "/clients/second/enable", both)
    assert reload(token) == 200
    world.call("POST", "/revocations", AdminScope.REVOCATIONS, data={"client_id": "second"})
    assert reload(token) == 401
    token = fetch()
    assert reload(token) == 200
    world.call("DELETE", "/clients/second", both)
    assert reload(token) == 401


def test_a_certificate_that_is_revoked_opens_nothing(authority: Authority, tmp_path: Path) -> None:
    """At the next request, with a token from before, also over the connection that was open."""
    (tmp_path / "ca.crl").write_bytes(issue_crl(authority))
    deployment = administered(tmp_path, authority, options='crl = ["ca.crl"]')
    with running(deployment) as server:
        world = World(server, authority)
        token = world.token(scope=AdminScope.READ_KEYS)
        with httpx.Client(verify=server.ssl_context(world.operator), trust_env=False) as client:
            url, headers = f"{server.admin_url}/keys", {"Authorization": f"Bearer {token}"}
            assert client.get(url, headers=headers).status_code == 200
            (tmp_path / "ca.crl").write_bytes(issue_crl(authority, [world.operator], number=2))
            for _ in range(100):
                if (answer := client.get(url, headers=headers)).status_code != 200:
                    break
                time.sleep(0.1)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert server.last_event.refusal is Refusal.CERTIFICATE_REVOKED


def test_over_http_2_it_is_the_same(shared: World) -> None:
    """Every name of a path, body and certificate means what it means over HTTP/1.1."""
    token = shared.token()
    name = "https://partner.example/a//b"
    members = {
        "client_id": name,
        "trust": "default",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "partner.example",
    }
    path = "/clients/https%3A%2F%2Fpartner.example%2Fa%2F%2Fb"
    with httpx.Client(verify=shared.server.ssl_context(shared.operator), http2=True, trust_env=False) as client:

        def send(method: str, path: str, token: str = token, **options: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return client.request(method, shared.server.admin_url + path, headers=headers, **options)

        answer = send("POST", "/clients", json=members)
        assert (answer.http_version, answer.status_code) == ("HTTP/2", 201)
        assert send("GET", path).json()["client_id"] == name
        assert send("DELETE", path).status_code == 204
        assert send("GET", "/keys", token=shared.token("c1", resource=RESOURCE)).status_code == 401
    with httpx.Client(verify=shared.server.ssl_context(), http2=True, trust_env=False) as client:
        assert send("GET", "/keys").status_code == 401


def test_over_http_2_a_body_that_is_too_long_is_refused(shared: World) -> None:
    """By a client that reads while it sends, as RFC 9113 §8.1 wants it: others may wait for credit that never comes."""

    async def status() -> int:
        context = shared.server.ssl_context(shared.operator)
        context.set_alpn_protocols(["h2"])
        port = int(shared.server.admin_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        async with HTTP2Client(Client(reader, writer)) as client:
            client.connection.initiate_connection()
            headers = {"authorization": f"Bearer {shared.token()}", "content-type": "application/json"}
            stream = await client.start("/clients", method="POST", end=False, **headers)
            await client.send_body(stream, b'{"client_name": "' + b"x" * 100_000 + b'"}')
            return (await client.answer(stream)).status

    assert asyncio.run(status()) == 413


def test_what_is_no_path_of_it_is_not_found(shared: World) -> None:
    """However it is spelt, and without a look at who asks."""
    for path in ("/clients/a/b", "/clients/", "/clients%2Fc1", "/clients//c1", "//keys", "/Keys", "/keys/", "/keys%00"):
        answer = shared.call("GET", path)
        assert answer.status_code == 404, (path, answer.text)
        assert answer.headers["Content-Type"] == "application/json"
