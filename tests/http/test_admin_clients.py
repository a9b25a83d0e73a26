"""Clients over the administration: what an operator can do to them, and what nobody can."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mtls_as.server.endpoints.admin.routes import AdminScope
from tests.authority import Authority, dns
from tests.http.administering import World, administering

CLIENTS = AdminScope.CLIENTS
NEW: dict[str, object] = {
    "client_id": "new",
    "trust": "default",
    "token_endpoint_auth_method": "tls_client_auth",
    "tls_client_auth_san_dns": "new.example",
    "scope": "reports:read",
}
ODD_NAMES = ["https://partner.example/a//b?c#d", "..", ".", "%2F", "a/../b", "new%20client", "x" * 256]


@pytest.fixture
def world(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with administering(tmp_path_factory.mktemp("clients"), authority) as world:
        yield world


@pytest.fixture(scope="module")
def shared(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """For requests that change nothing, or something of their own."""
    with administering(tmp_path_factory.mktemp("shared"), authority) as world:
        yield world


def path(client_id: str, action: str = "") -> str:
    escaped = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in client_id)
    return f"/clients/{escaped}{action}"


def add(world: World, holding: str = CLIENTS, /, **members: object) -> httpx.Response:
    """Add a client with a token that has the scopes `holding`."""
    return world.call("POST", "/clients", holding, json={**NEW, **members})


def test_the_life_of_a_client(world: World, authority: Authority) -> None:
    """Added, used at once, disabled, enabled, replaced, deleted: each at once on the node that was asked."""
    new = authority.issue(san=[dns("new.example")])
    answer = add(world)
    assert (answer.status_code, answer.json()["source"], answer.json()["enabled"]) == (201, "storage", True)
    event = world.server.last_event
    assert (event.endpoint, event.action, event.target, event.client_id) == (
        "administration",
        "addClient",
        "new",
        "operator",
    )
    assert world.server.token(new, "new").status_code == 200
    assert world.call("POST", path("new", "/disable"), CLIENTS).json()["enabled"] is False
    assert world.server.token(new, "new").status_code == 401
    assert world.call("POST", path("new", "/enable"), CLIENTS).json()["enabled"] is True
    assert world.server.token(new, "new").status_code == 200
    members = {**NEW, "scope": "reports:write", "access_token_lifetime": 60}
    answer = world.call("PUT", path("new"), CLIENTS, json=members)
    assert (answer.status_code, answer.json()["scope"]) == (200, "reports:write")
    assert world.server.token(new, "new").json()["scope"] == "reports:write"
    answer = world.call("DELETE", path("new"), CLIENTS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert world.server.token(new, "new").status_code == 401
    assert world.call("GET", path("new"), AdminScope.READ_CLIENTS).status_code == 404


def test_a_replacement_with_a_version_that_is_gone_changes_nothing(world: World) -> None:
    """Of two that began with the same one, the second learns of the first (RFC 9110 §13.1.1)."""
    tag = add(world).headers["ETag"]
    first, second = {**NEW, "scope": "reports:write"}, {**NEW, "client_name": "lost?"}
    answer = world.call("PUT", path("new"), CLIENTS, json=first, headers={"If-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] != tag
    refused = world.call("PUT", path("new"), CLIENTS, json=second, headers={"If-Match": tag})
    assert refused.status_code == 412
    shown = world.call("GET", path("new"), AdminScope.READ_CLIENTS)
    assert (shown.json()["scope"], shown.headers["ETag"]) == ("reports:write", answer.headers["ETag"])
    assert world.call("PUT", path("new"), CLIENTS, json=second, headers={"If-Match": "*"}).status_code == 200
    for value in ("W/" + tag, "x", '"a", "b"x', ""):
        answer = world.call("PUT", path("new"), CLIENTS, json=second, headers={"If-Match": value})
        assert answer.status_code in {400, 412}, value


def test_who_is_disabled_stays_so_through_a_replacement(world: World) -> None:
    """Unless the replacement says otherwise."""
    add(world)
    world.call("POST", path("new", "/disable"), CLIENTS)
    assert world.call("PUT", path("new"), CLIENTS, json=NEW).json()["enabled"] is False
    assert world.call("PUT", path("new"), CLIENTS, json={**NEW, "enabled": True}).json()["enabled"] is True


def test_secrets_are_made_here_and_shown_once(world: World) -> None:
    """And rotated with an overlap."""
    secret = {"client_id": "old", "token_endpoint_auth_method": "client_secret_basic", "scope": "reports:read"}
    secret["tls_client_certificate_bound_access_tokens"] = False  # type: ignore[assignment]
    first = world.call("POST", "/clients", CLIENTS, json=secret).json()["client_secret"]
    assert first not in world.call("GET", path("old"), CLIENTS).text
    rotated = world.call("POST", path("old", "/secret"), CLIENTS, json={"overlap": 3600}).json()
    assert len(rotated["client_secrets"]) == 2
    form = {"grant_type": "client_credentials"}
    with world.server.client() as client:
        for each in (first, rotated["client_secret"]):
            assert client.post("/token", data=form, auth=("old", each)).status_code == 200
        last = world.call("POST", path("old", "/secret"), CLIENTS, json={"overlap": 0}).json()["client_secret"]
        assert [
            client.post("/token", data=form, auth=("old", each)).status_code
            for each in (first, rotated["client_secret"], last)
        ] == [401, 401, 200]
    for body in ({"overlap": -1}, {"overlap": True}, {"overlap": 10**9}, {"secret": "mine"}, []):
        assert world.call("POST", path("old", "/secret"), CLIENTS, json=body).status_code == 400
    assert world.call("POST", path("c1", "/secret"), CLIENTS, json={}).status_code == 409
    add(world)
    assert world.call("POST", path("new", "/secret"), CLIENTS, json={}).status_code == 409


@pytest.mark.parametrize(
    ("members", "status", "text"),
    [
        ({"client_id": "c1"}, 409, "declared in the configuration file"),
        ({"client_id": "a b"}, 400, "client_id: must be 1 to 256"),
        ({"trust": "nowhere"}, 400, 'there is no trust domain "nowhere"'),
        ({"scope": "reports:raed"}, 400, 'did you mean "reports:read"?'),
        ({"is_admin": True}, 400, "is_admin: unknown member"),
        ({"source": "configuration"}, 400, "source: unknown member"),
        ({"client_secrets": []}, 400, "client_secrets: unknown member"),
        ({"secrets": []}, 400, "secrets: unknown member"),
        ({"client_secret": "chosen"}, 400, "client_secret: unknown member"),
        ({"claims": {"scope": "mtls-as:admin:keys"}}, 400, "claims"),
        ({"claims": {"cnf": {}}}, 400, "claims"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else None,
)
def test_what_cannot_be_registered_is_said(shared: World, members: dict[str, object], status: int, text: str) -> None:
    """By the parser and the checks of the command line; no member is taken that a registration does not have."""
    answer = add(shared, **members)
    assert (answer.status_code, text in answer.json()["error_description"]) == (status, True), answer.text
    assert shared.call("GET", path("new"), CLIENTS).status_code == 404


def test_a_name_is_taken_once(world: World) -> None:
    assert add(world).status_code == 201
    answer = add(world)
    assert (answer.status_code, "is stored already" in answer.json()["error_description"]) == (409, True)
    assert world.call("PUT", path("new"), CLIENTS, json={**NEW, "client_id": "other"}).status_code == 400


@pytest.mark.parametrize("action", ["", "/enable", "/disable", "/secret"])
def test_declared_clients_are_shown_and_not_changed(shared: World, action: str) -> None:
    """They change with the file; unknown ones cannot be either."""
    assert shared.call("GET", path("c1"), AdminScope.READ_CLIENTS).json()["source"] == "configuration"
    body: dict[str, Any] = {"/secret": {"json": {}}, "": {"json": NEW | {"client_id": "c1"}}}.get(action, {})
    method = "POST" if action else "PUT"
    assert shared.call(method, path("c1", action), CLIENTS, **body).status_code == 409
    body = {"json": NEW | {"client_id": "nobody"}} if action == "" else body
    assert shared.call(method, path("nobody", action), CLIENTS, **body).status_code == 404
    assert shared.call("DELETE", path("c1"), CLIENTS).status_code == 409


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_can_be_part_of_a_path(shared: World, name: str) -> None:
    """Escaped, it is one part, whatever it holds."""
    assert add(shared, client_id=name).status_code == 201
    assert shared.call("GET", path(name), CLIENTS).json()["client_id"] == name
    assert shared.call("POST", path(name, "/disable"), CLIENTS).json()["client_id"] == name
    assert shared.call("DELETE", path(name), CLIENTS).status_code == 204


def test_pages_together_are_the_listing(world: World) -> None:
    """Each client once, the declared ones first, whatever the length of a page; foreign cursors are refused."""
    for number in range(4):
        add(world, client_id=f"stored-{number}")
    whole = [each["client_id"] for each in world.call("GET", "/clients", CLIENTS).json()["clients"]]
    assert whole == ["c1", "operator", "operator-bearer", "operator-dpop", "rs", *(f"stored-{n}" for n in range(4))]
    token = world.token(scope=AdminScope.READ_CLIENTS)
    for limit in (1, 4, 5, 6, 9):
        found, query = list[str](), f"?limit={limit}"
        while query:
            page = world.request("GET", f"/clients{query}", token=token, identity=world.operator).json()
            assert 0 < len(page["clients"]) <= limit
            found += [each["client_id"] for each in page["clients"]]
            query = f"?limit={limit}&cursor={page['next_cursor']}" if "next_cursor" in page else ""
        assert found == whole, limit
    for query in (
        "cursor=x",
        "cursor=ZQ",
        "cursor=c3gAeQ",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "offset=1",
    ):
        answer = world.request("GET", f"/clients?{query}", token=token, identity=world.operator)
        assert answer.status_code == 400, query


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"client_id":"new","client_id":"c2"}',
        b'{"client_id":NaN}',
        b"\xff{}",
        b"[" * 60_000,
    ],
    ids=["empty", "array", "null", "string", "half", "repeated", "nan", "not-utf-8", "deep"],
)
def test_bodies_that_are_no_object_are_refused(shared: World, body: bytes) -> None:
    for method, where in (("POST", "/clients"), ("PUT", "/clients/nobody"), ("POST", "/keys")):
        answer = shared.call(method, where, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {400, 404}, answer.text


def test_bodies_of_other_kinds_and_sizes_are_refused(shared: World) -> None:
    """A form, none, and one that is too large for memory to hold it."""
    assert shared.call("POST", "/clients", data=NEW).status_code == 400
    assert (
        shared.call("POST", "/clients", content=json.dumps(NEW), headers={"Content-Type": "text/plain"}).status_code
        == 400
    )
    large = json.dumps({**NEW, "client_name": "x" * 100_000}).encode()
    assert (
        shared.call("POST", "/clients", content=large, headers={"Content-Type": "application/json"}).status_code == 413
    )
    assert shared.call("POST", path("c1", "/disable"), content=b"x").status_code == 400
    assert shared.call("DELETE", path("new"), headers={"If-Match": '"x"'}).status_code == 400


@pytest.mark.parametrize("scope", [AdminScope.KEYS, AdminScope.RELOAD, AdminScope.CLIENTS, AdminScope.READ_CLIENTS])
def test_nobody_gives_away_what_he_does_not_hold(shared: World, scope: AdminScope) -> None:
    """Who may register clients could else register one that may do everything."""
    name = f"admin-{scope.rpartition(':')[2]}"
    wanted = {"client_id": name, "scope": f"reports:read {scope}"}
    if scope != CLIENTS:
        refused = add(shared, **wanted)
        assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope"), refused.text
        assert scope in refused.json()["error_description"]
        assert shared.call("GET", path(name), CLIENTS).status_code == 404
    assert add(shared, f"{CLIENTS} {scope}" if scope != CLIENTS else CLIENTS, **wanted).status_code == 201


def test_nobody_takes_over_who_holds_more(world: World) -> None:
    """Not by replacing it, nor by a new secret; nor may he switch it off or delete it."""
    both = f"{CLIENTS} {AdminScope.KEYS}"
    add(world, both, client_id="keeper", scope=AdminScope.KEYS)
    mine = {**NEW, "client_id": "keeper", "tls_client_auth_san_dns": "thief.example", "scope": "reports:read"}
    assert world.call("PUT", path("keeper"), CLIENTS, json=mine).status_code == 403
    assert world.call("PUT", path("keeper"), CLIENTS, json={**mine, "scope": AdminScope.KEYS}).status_code == 403
    assert world.call("POST", path("keeper", "/disable"), CLIENTS).status_code == 403
    assert world.call("POST", path("keeper", "/secret"), CLIENTS, json={}).status_code == 403
    assert world.call("DELETE", path("keeper"), CLIENTS).status_code == 403
    assert world.call("GET", path("keeper"), CLIENTS).json()["tls_client_auth_san_dns"] == "new.example"
    assert world.call("DELETE", path("keeper"), both).status_code == 204


def test_who_may_read_changes_nothing(shared: World) -> None:
    for method, where in (("POST", "/clients"), ("PUT", path("new")), ("DELETE", path("new"))):
        assert shared.call(method, where, AdminScope.READ_CLIENTS, json=NEW).status_code == 403
