"""The administration on PostgreSQL, whose texts hold no NUL: that is the caller's fault, and no outage."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mtls_as.http.admin_api.operations import ADMIN_OPERATIONS
from tests.authority import Authority
from tests.http.administering import World, administered
from tests.postgresql import PostgreSQL
from tests.running import running

NUL_CURSORS = tuple(base64.urlsafe_b64encode(text).decode() for text in (b"sa\0", b"da\0"))
ROUTES_WITH_PARAMETERS = sorted({(each.method, each.path) for each in ADMIN_OPERATIONS.values() if "{" in each.path})


@pytest.fixture(scope="module")
def world(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority.create("Admin CA")
    with postgresql.database() as url:
        deployment = replace(administered(tmp_path_factory.mktemp("admin"), authority), storage_url=url)
        with running(deployment) as server:
            yield World(server, authority)


@pytest.mark.parametrize("name", ["token_id", "client_id", "certificate", "token"])
def test_revocations_of_what_holds_a_nul(world: World, name: str) -> None:
    answer = world.call("POST", "/revocations", data={name: "a\0b"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(("method", "path"), ROUTES_WITH_PARAMETERS)
def test_paths_that_hold_a_nul(world: World, method: str, path: str) -> None:
    """Nothing of the kind exists, and the database is not asked for it."""
    parts = ["a%00b" if part.startswith("{") else part for part in path.split("/")]
    body: dict[str, Any] = {"json": {"token_endpoint_auth_method": "none"}} if method == "PUT" else {}
    answer = world.call(method, "/".join(parts), **body)
    assert answer.status_code in {400, 404}, world.server.last_event


@pytest.mark.parametrize(
    "path",
    sorted(
        {f"{each.path}?{name}" for each in ADMIN_OPERATIONS.values() for name in each.query if "{" not in each.path}
    ),
)
def test_queries_that_hold_a_nul(world: World, path: str) -> None:
    answer = world.call("GET", f"{path}=a%00b")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("cursor", NUL_CURSORS)
@pytest.mark.parametrize("path", ["/clients", "/audit"])
def test_cursors_that_hold_a_nul(world: World, path: str, cursor: str) -> None:
    assert world.call("GET", f"{path}?cursor={cursor}").status_code == 400
