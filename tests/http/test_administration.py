"""Revocations over the admin listener: guarded by the server's own bound tokens, over real TLS."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.endpoints.administration import REVOCATIONS_SCOPE
from tests.authority import Authority, Identity, dns
from tests.running import RESOURCE, Deployment, RunningServer, running

ADMINISTRATION = "https://admin.example"


class World:
    def __init__(self, server: RunningServer, authority: Authority) -> None:
        self.server = server
        self.certificates = {
            name: authority.issue(san=[dns(f"{name}.example")]) for name in ("operator", "c1", "rs", "thief")
        }

    def token(self, client_id: str, **form: Any) -> str:
        response = self.server.token(self.certificates[client_id.partition("-")[0]], client_id, **form)
        assert response.status_code == 200, self.server.last_event
        return str(response.json()["access_token"])

    def revoke(
        self, token: str | None, identity: Identity | None, scheme: str = "Bearer", **form: object
    ) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
        with httpx.Client(verify=self.server.ssl_context(identity), trust_env=False) as client:
            return client.post(f"{self.server.admin_url}/revocations", data=form, headers=headers)

    def is_active(self, token: str) -> bool:
        with self.server.client(self.certificates["rs"]) as client:
            answer = client.post("/introspect", data={"client_id": "rs", "token": token})
        assert answer.status_code == 200
        return bool(answer.json()["active"])


@pytest.fixture
def world(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    deployment = Deployment(
        tmp_path_factory.mktemp("administration"),
        admin=True,
        admin_resource=ADMINISTRATION,
        resource_options='introspection_clients = ["rs"]',
    )
    deployment.trust("default", authority)
    deployment.resource(ADMINISTRATION, REVOCATIONS_SCOPE, "mtls-as:admin:other")
    scope = f"{REVOCATIONS_SCOPE} mtls-as:admin:other reports:read"
    deployment.client("operator", tls_client_auth_san_dns="operator.example", scope=scope)
    deployment.client(
        "operator-bearer",
        tls_client_auth_san_dns="operator.example",
        scope=scope,
        tls_client_certificate_bound_access_tokens=False,
    )
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    deployment.client("rs", tls_client_auth_san_dns="rs.example")
    with running(deployment) as server:
        yield World(server, authority)


def test_what_an_operator_can_revoke(world: World) -> None:
    """One token, those of a client, those of a certificate, and all before a time."""
    operator = world.certificates["operator"]
    thumbprint = x5t_s256(world.certificates["c1"].der)
    for form in ({"client_id": "c1"}, {"certificate": thumbprint}):
        world.server.move_clock(2)
        admin, token = world.token("operator", scope=REVOCATIONS_SCOPE), world.token("c1")
        assert world.is_active(token)
        world.server.move_clock(1)
        assert world.revoke(admin, operator, **form).status_code == 204, world.server.last_event
        assert not world.is_active(token)
        assert world.server.events[-2].detail
    world.server.move_clock(2)
    admin, token = world.token("operator", scope=REVOCATIONS_SCOPE), world.token("c1")
    token_id = world.server.last_event.token_id
    assert world.revoke(admin, operator, token_id=token_id).status_code == 204
    assert not world.is_active(token)
    before = int(time.time() + world.server.clock_offset[0]) + 1
    world.server.move_clock(2)
    assert world.revoke(admin, operator, before=before).status_code == 204
    assert world.revoke(admin, operator, client_id="c1").status_code == 401, "its own token is revoked now too"


def test_tokens_that_open_nothing(world: World) -> None:
    """Stolen, unbound, for another resource, without the scope, none, and garbage (RFC 6750 §3.1, RFC 8705 §3)."""
    operator, form = world.certificates["operator"], {"client_id": "c1"}
    good, token = world.token("operator", scope=REVOCATIONS_SCOPE), world.token("c1")
    bearer = world.token("operator-bearer", scope=REVOCATIONS_SCOPE)
    elsewhere = world.token("operator", resource=RESOURCE)
    for presented, identity in (
        (good, None),
        (good, world.certificates["thief"]),
        (bearer, operator),
        (elsewhere, operator),
        ("x.y.z", operator),
        (None, operator),
    ):
        answer = world.revoke(presented, identity, **form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token"), world.server.last_event
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    other = world.token("operator", scope="mtls-as:admin:other")
    answer = world.revoke(other, operator, **form)
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    assert world.is_active(token)


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
    ],
    ids=lambda form: str(form)[:60],
)
def test_requests_that_name_nothing_or_too_much(world: World, form: dict[str, str]) -> None:
    answer = world.revoke(world.token("operator", scope=REVOCATIONS_SCOPE), world.certificates["operator"], **form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_it_is_not_there_without_a_resource(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> None:
    deployment = Deployment(tmp_path_factory.mktemp("plain-admin"), admin=True).trust("default", authority)
    with running(deployment) as server:
        with httpx.Client(verify=server.ssl_context(), trust_env=False) as client:
            assert client.post(f"{server.admin_url}/revocations", data={"client_id": "c1"}).status_code == 404
        with server.client() as client:
            assert client.post("/revocations", data={"client_id": "c1"}).status_code == 404
