"""`/revoke` over real TLS (RFC 7009), and what introspection says afterwards."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocation import Revocation
from tests.authority import dns
from tests.http.introspecting import OPAQUE, Parties, fetch, introspect, revoke
from tests.running import RESOURCE, RunningServer, running


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


@pytest.fixture(scope="module", params=[True, False], ids=["fast-lane", "framework"])
def server(
    request: pytest.FixtureRequest, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with running(parties.deployment(tmp_path_factory.mktemp("server"), fast_lane=request.param)) as server:
        yield server


def is_active(server: RunningServer, parties: Parties, token: str) -> bool:
    """What the resource server of the token is told."""
    caller = "rs2" if "." not in token else "rs1"
    response = introspect(server, parties, caller, token)
    assert response.status_code == 200
    return bool(response.json()["active"])


def assert_done(response: httpx.Response) -> None:
    """RFC 7009 §2.2: the status says all."""
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
def test_a_client_revokes_its_token(server: RunningServer, parties: Parties, resource: str) -> None:
    """RFC 7009 §2.1: from now on, and again and again; its other tokens live on."""
    token, other = (fetch(server, parties.c1, resource=resource) for _ in range(2))
    assert is_active(server, parties, token)
    for _ in range(2):
        assert_done(revoke(server, parties, "c1", token))
        assert not is_active(server, parties, token)
    assert is_active(server, parties, other)


def test_the_event_names_the_token(server: RunningServer, parties: Parties) -> None:
    token = fetch(server, parties.c1)
    token_id = server.last_event.token_id
    revoke(server, parties, "c1", token)
    event = server.last_event
    assert (event.endpoint, event.client_id, event.token_id, event.refusal) == ("revocation", "c1", token_id, None)
    is_active(server, parties, token)
    event = server.last_event
    assert (event.endpoint, event.token_id, event.refusal) == ("introspection", token_id, Refusal.TOKEN_REVOKED)
    assert event.error is None


@pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
def test_the_token_of_another_client_is_left_alone(server: RunningServer, parties: Parties, resource: str) -> None:
    """The answer is that for a token of one's own, and the log says why nothing happened."""
    token = fetch(server, parties.c1, resource=resource)
    for caller in ("c2", "rs1", "rs2"):
        assert_done(revoke(server, parties, caller, token))
        assert server.last_event.refusal is Refusal.TOKEN_OF_ANOTHER_CLIENT
    assert is_active(server, parties, token)


@pytest.mark.parametrize("token", ["garbage", "A" * 43, "e30.e30.e30", "a.b.c" * 10_000, "tökén"])
def test_an_unknown_token_is_no_error(server: RunningServer, parties: Parties, token: str) -> None:
    """RFC 7009 §2.2: it is as invalid as the client wants it to be."""
    assert_done(revoke(server, parties, "c1", token))
    assert server.last_event.refusal is Refusal.TOKEN_UNKNOWN


def test_every_hint_will_do(server: RunningServer, parties: Parties) -> None:
    """RFC 7009 §2.1 and §2.2.1: a wrong or unknown hint is ignored."""
    for hint in ("access_token", "refresh_token", "saml_assertion", "\n"):
        token = fetch(server, parties.c1)
        assert_done(revoke(server, parties, "c1", token, token_type_hint=hint))
        assert not is_active(server, parties, token)


def test_the_client_authenticates_first(server: RunningServer, parties: Parties) -> None:
    """RFC 7009 §2.1: an error of RFC 6749 §5.2, and the token lives on."""
    token = fetch(server, parties.c1)
    for identity in (None, parties.c2):
        with server.client(identity) as client:
            response = client.post("/revoke", data={"client_id": "c1", "token": token})
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert is_active(server, parties, token)


@pytest.mark.parametrize("body", ["client_id=c1", "client_id=c1&token=", "client_id=c1&token=a&token=b", "token=a"])
def test_malformed_requests(server: RunningServer, parties: Parties, body: str) -> None:
    with server.client(parties.c1) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = client.post("/revoke", content=body, headers=headers)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
        assert client.get("/revoke").status_code == 405


def test_an_expired_token_is_not_remembered(parties: Parties, tmp_path: Path) -> None:
    """There is nothing to end, and nothing to keep for it."""
    with running(parties.deployment(tmp_path)) as server:
        token = fetch(server, parties.c1)
        server.move_clock(301)
        assert_done(revoke(server, parties, "c1", token))
        assert server.last_event.refusal is Refusal.TOKEN_EXPIRED
        assert server.call(server.node.storage.revocations.since(-1))[1] == ()


class TestRevocationsOfMany:
    """By client, by certificate and by time; each ends what was issued before, and nothing else."""

    @pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
    def test_by_client(self, server: RunningServer, parties: Parties, resource: str) -> None:
        mine, others = fetch(server, parties.c1, resource=resource), fetch(server, parties.c2, "c2", resource)
        self.revoke(server, Revocation.of_client("c1", before=server.node.foundation.clock()))
        assert not is_active(server, parties, mine)
        assert is_active(server, parties, others)
        server.move_clock(1)
        assert is_active(server, parties, fetch(server, parties.c1, resource=resource))

    @pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
    def test_by_certificate(self, server: RunningServer, parties: Parties, resource: str) -> None:
        """The same client goes on with another certificate."""
        stolen, renewed = (parties.authority.issue("c1", san=[dns("c1.example")]) for _ in range(2))
        bad, good = fetch(server, stolen, resource=resource), fetch(server, renewed, resource=resource)
        before = server.node.foundation.clock()
        self.revoke(server, Revocation.of_certificate(x5t_s256(stolen.der), before=before))
        assert not is_active(server, parties, bad)
        assert is_active(server, parties, good)

    def test_by_time(self, server: RunningServer, parties: Parties) -> None:
        tokens = [fetch(server, parties.c1), fetch(server, parties.c2, "c2", OPAQUE)]
        self.revoke(server, Revocation.of_everything(before=server.node.foundation.clock()))
        assert [is_active(server, parties, token) for token in tokens] == [False, False]
        server.move_clock(1)
        assert is_active(server, parties, fetch(server, parties.c1))

    def revoke(self, server: RunningServer, revocation: Revocation) -> None:
        server.call(server.node.foundation.revocations.revoke(revocation))


@pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
def test_without_the_storage_nothing_is_promised(
    parties: Parties, resource: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, never a wrong yes: a token is revoked when the client hears so, and never active by old memory alone."""

    async def gone(*_arguments: object, **_named: object) -> None:
        raise StorageUnavailable("the disk is full")

    with running(parties.deployment(tmp_path)) as server:
        token = fetch(server, parties.c1, resource=resource)
        caller = "rs1" if resource == RESOURCE else "rs2"
        storage, revocations = server.node.storage, server.node.foundation.revocations
        monkeypatch.setattr(storage.revocations, "add", gone)
        response = revoke(server, parties, "c1", token)
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        assert "Retry-After" in response.headers
        assert is_active(server, parties, token)
        monkeypatch.setattr(storage.revocations, "since", gone)
        revocations._current_until = 0.0
        response = introspect(server, parties, caller, token)
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        monkeypatch.undo()
        assert is_active(server, parties, token)
        assert_done(revoke(server, parties, "c1", token))


def test_an_opaque_token_that_cannot_be_stored_is_not_issued(
    parties: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that cannot be looked up is neither active nor not."""

    async def gone(*_arguments: object, **_named: object) -> None:
        raise StorageUnavailable("the disk is full")

    with running(parties.deployment(tmp_path)) as server:
        token = fetch(server, parties.c1, resource=OPAQUE)
        for name in ("add", "find"):
            monkeypatch.setattr(server.node.storage.opaque_tokens, name, gone)
        response = server.token(parties.c1, resource=OPAQUE)
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        assert introspect(server, parties, "rs2", token).status_code == 503
        assert server.token(parties.c1, resource=RESOURCE).status_code == 200
