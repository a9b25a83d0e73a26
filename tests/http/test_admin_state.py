"""Keys, trust, inventory, registration tokens and the audit trail over the administration."""

import time
from collections.abc import Iterator

import pytest

from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.endpoints.admin.routes import AdminScope
from tests.authority import Authority, dns
from tests.http.administering import World, administered, administering
from tests.running import running

CLIENTS, KEYS = AdminScope.CLIENTS, AdminScope.KEYS


@pytest.fixture
def world(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with administering(tmp_path_factory.mktemp("state"), authority) as world:
        yield world


@pytest.fixture(scope="module")
def shared(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with administering(tmp_path_factory.mktemp("shared-state"), authority) as world:
        yield world


@pytest.fixture
def open_world(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One where clients can register themselves."""
    deployment = administered(tmp_path_factory.mktemp("open"), authority)
    deployment.sections.append("[registration]")
    with running(deployment) as server:
        yield World(server, authority)


def test_keys_are_shown_and_followed_without_their_private_halves(world: World) -> None:
    [before] = world.call("GET", "/keys", AdminScope.READ_KEYS).json()["keys"]
    assert (before["state"], before["held_by"], before["rotates_at"]) == ("active", "storage", None)
    answer = world.call("POST", "/keys", KEYS, json={})
    assert (answer.status_code, answer.json()["state"]) == (201, "next")
    assert world.server.last_event.target == f"ES256 {answer.json()['kid']}"
    found = world.call("GET", "/keys", AdminScope.READ_KEYS)
    assert {key["state"] for key in found.json()["keys"]} == {"active", "next"}
    assert "private" not in found.text
    assert '"d"' not in found.text


def test_a_leaked_key_goes_with_its_tokens(world: World) -> None:
    """Also with the token that said so."""
    token = world.token()
    [old] = world.call("GET", "/keys", KEYS).json()["keys"]
    answer = world.request("POST", "/keys", token=token, identity=world.operator, json={"leaked": True})
    assert (answer.status_code, answer.json()["state"]) == (201, "active")
    world.server.call(world.server.node.foundation.refresh())
    refused = world.request("GET", "/keys", token=token, identity=world.operator)
    assert refused.status_code == 401
    assert old["kid"] not in world.call("GET", "/keys", KEYS).text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"algorithm": "PS256"}, 409),
        ({"algorithm": "none"}, 409),
        ({"algorithm": 1}, 400),
        ({"now": "yes"}, 400),
        ({"private_key": "x"}, 400),
        ({"kid": "x"}, 400),
    ],
)
def test_keys_that_cannot_be_made(shared: World, body: dict[str, object], status: int) -> None:
    assert shared.call("POST", "/keys", KEYS, json=body).status_code == status
    assert len(shared.call("GET", "/keys", KEYS).json()["keys"]) == 1


def test_trust_is_shown_as_it_is_in_force(world: World, authority: Authority) -> None:
    """With its generation, its anchors, and what is wrong with its sources of revocation."""
    shown = world.call("GET", "/trust", AdminScope.TRUST).json()
    [domain] = shown["domains"]
    assert (shown["generation"], domain["name"]) == (1, "default")
    assert [anchor["x5t#S256"] for anchor in domain["anchors"]] == [x5t_s256(authority.der)]
    assert domain["revocation"] == {
        "sources": [],
        "responder": None,
        "fails": "closed",
        "grace": 0,
        "lists": [],
        "problems": [],
    }
    other = Authority.create("Other CA")
    (world.server.deployment.folder / "other.crl").write_text("garbage")
    world.server.deployment.trust("other", other, options='crl = ["other.crl"]').configure()
    world.server.reload()
    shown = world.call("GET", "/trust", AdminScope.TRUST).json()
    assert (shown["generation"], [each["name"] for each in shown["domains"]]) == (2, ["default", "other"])
    [problem] = shown["domains"][1]["revocation"]["problems"]
    assert problem["source"].endswith("other.crl")


def test_the_inventory_is_that_of_the_command_line(shared: World) -> None:
    """The server's certificate, anchors, and what clients came with; `within` leaves out what nobody need care for."""
    shared.token("c1")
    shared.server.call(shared.server.node.certificate_uses.flush())
    taken = shared.call("GET", "/inventory", AdminScope.INVENTORY).json()
    assert taken["left_out"] == 0
    assert {"server", "anchor", "seen"} <= {each["role"] for each in taken["certificates"]}
    ends = [each["not_after"] for each in taken["certificates"]]
    assert ends == sorted(ends)
    first = shared.call("GET", "/inventory?limit=1", AdminScope.INVENTORY).json()
    assert (first["certificates"], first["left_out"]) == (taken["certificates"][:1], len(ends) - 1)
    assert shared.call("GET", "/inventory?within=60", AdminScope.INVENTORY).json()["certificates"] == []
    for query in ("within=-1", "within=1d", "within=" + "9" * 30, "limit=10001"):
        assert shared.call("GET", f"/inventory?{query}", AdminScope.INVENTORY).status_code == 400


def test_initial_access_tokens(open_world: World, authority: Authority) -> None:
    """Made, listed without themselves, used by a registrant, forgotten."""
    asked = {"scope": "reports:read", "trust": ["default"], "uses": 2, "expires_in": 600}
    made = open_world.call("POST", "/registration-tokens", CLIENTS, json=asked)
    assert made.status_code == 201
    token = made.json()["initial_access_token"]
    listed = open_world.call("GET", "/registration-tokens", AdminScope.READ_CLIENTS)
    assert token not in listed.text
    [row] = listed.json()["tokens"]
    assert (row["name"], row["uses_left"], row["scope"]) == (made.json()["name"], 2, "reports:read")
    with open_world.server.client(authority.issue(san=[dns("late.example")])) as client:
        body = {"tls_client_auth_san_dns": "late.example"}
        assert client.post("/register", json=body, headers={"Authorization": f"Bearer {token}"}).status_code == 201
    assert open_world.call("DELETE", f"/registration-tokens/{row['name']}", CLIENTS).status_code == 204
    assert open_world.call("DELETE", f"/registration-tokens/{row['name']}", CLIENTS).status_code == 404


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"scope": "nothing:here"},
        {"scope": "reports:read"},
        {"scope": "reports:read", "trust": ["nowhere"]},
        {"scope": "reports:read", "methods": ["spiffe_x509"]},
        {"scope": "reports:read", "methods": ["none"]},
        {"scope": "reports:read", "trust": ["default"], "grant_types": ["password"]},
        {"scope": "reports:read", "methods": ["private_key_jwt"], "jwks_uri_prefixes": ["https://keys.example"]},
        {"scope": "reports:read", "trust": ["default"], "uses": 0},
        {"scope": "reports:read", "trust": ["default"], "expires_in": 10**12},
        {"scope": "reports:read", "trust": ["default"], "token": "mine"},
    ],
    ids=str,
)
def test_initial_access_tokens_that_cannot_be(open_world: World, members: dict[str, object]) -> None:
    assert open_world.call("POST", "/registration-tokens", CLIENTS, json=members).status_code == 400
    assert open_world.call("GET", "/registration-tokens", CLIENTS).json()["tokens"] == []


def test_registrants_get_nothing_of_the_administration(open_world: World, authority: Authority) -> None:
    """Neither by asking for it, nor from a token of somebody who does not hold it himself."""
    asked = {"scope": f"reports:read {AdminScope.KEYS}", "trust": ["default"]}
    assert open_world.call("POST", "/registration-tokens", CLIENTS, json=asked).status_code == 403
    plain = {"scope": "reports:read", "trust": ["default"], "uses": 9}
    token = open_world.call("POST", "/registration-tokens", CLIENTS, json=plain).json()["initial_access_token"]
    with open_world.server.client(authority.issue(san=[dns("late.example")])) as client:
        for scope in (AdminScope.CLIENTS, "mtls-as:admin", f"reports:read {AdminScope.RELOAD}"):
            body = {"tls_client_auth_san_dns": "late.example", "scope": scope}
            answer = client.post("/register", json=body, headers={"Authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata"), scope
        body = {"tls_client_auth_san_dns": "late.example", "resources": ["https://admin.example"]}
        answer = client.post("/register", json=body, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, "resources" in answer.json()) == (201, False), "such members are ignored"
        form = {"grant_type": "client_credentials", "client_id": answer.json()["client_id"]}
        assert client.post("/token", data=form).status_code == 200
        refused = client.post("/token", data={**form, "resource": "https://admin.example"})
        assert refused.json()["error"] == "invalid_target"


def test_without_registration_there_are_no_tokens_for_it(shared: World) -> None:
    asked = {"scope": "reports:read", "trust": ["default"]}
    assert shared.call("POST", "/registration-tokens", CLIENTS, json=asked).status_code == 409


def test_the_audit_trail_has_who_did_what(world: World) -> None:
    """Each change with the administrator and the target; it verifies, and its head can be kept elsewhere."""
    world.call("POST", "/revocations", AdminScope.REVOCATIONS, data={"client_id": "c1"})
    world.call("POST", "/keys", AdminScope.REVOCATIONS, json={})
    deadline = time.monotonic() + 10
    found: list[dict[str, object]] = []
    while time.monotonic() < deadline and len(found) < 2:
        found = world.call("GET", "/audit?kind=administration", AdminScope.AUDIT).json()["records"]
        found = [each for each in found if each["action"] in {"revokeTokens", "rotateKey"}]
        time.sleep(0.1)
    refused, done = found
    assert (done["client_id"], done["action"], done["target"]) == ("operator", "revokeTokens", "client c1")
    assert (refused["action"], refused["outcome"], refused["refusal"]) == ("rotateKey", "refused", "scope_not_allowed")
    head = world.call("GET", "/audit/head", AdminScope.AUDIT).json()["checkpoint"]
    verified = world.call("GET", f"/audit/verification?from={head}", AdminScope.AUDIT).json()
    assert verified["damage"] is None
    assert world.call("GET", "/audit/verification?from=x", AdminScope.AUDIT).status_code == 400
    page = world.call("GET", "/audit?limit=1", AdminScope.AUDIT).json()
    older = world.call("GET", f"/audit?limit=1&cursor={page['next_cursor']}", AdminScope.AUDIT).json()
    assert older["records"][0]["sequence"] < page["records"][0]["sequence"]
