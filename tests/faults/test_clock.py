"""The clock of a node jumps, ahead and back: what was acknowledged stays so, and there is no wrong yes.

The clock is the node's own, injected; what keeps time-outs and the age of memory is another clock, which nobody sets.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.server.revocation import Revocation
from tests.assertions import AssertingClient
from tests.http.introspecting import OPAQUE, Parties, introspect, revoke
from tests.running import RESOURCE, RunningServer, running

MINUTE = 60.0
PARTIES = Parties.create()
BATCH = AssertingClient("batch")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    deployment = PARTIES.deployment(tmp_path, lifetime=7_200)
    deployment.client("batch", token_endpoint_auth_method="private_key_jwt", jwks=BATCH.jwks)
    with running(deployment) as server:
        yield server


def jump(server: RunningServer, seconds: float) -> None:
    """Let the clock jump, and have all that has ended forgotten at once."""
    server.move_clock(seconds)
    at, storage = server.node.foundation.clock(), server.node.storage
    for store in (storage.used_once, storage.opaque_tokens, server.node.foundation.revocations):
        server.call(store.prune(ended_before=at))


def fetch(server: RunningServer, resource: str = RESOURCE) -> str:
    return str(server.token(PARTIES.c1, "c1", resource=resource).json()["access_token"])


def is_active(server: RunningServer, token: str) -> bool:
    caller = "rs1" if "." in token else "rs2"
    return bool(introspect(server, PARTIES, caller, token).json()["active"])


def use_assertion(server: RunningServer, form: dict[str, str]) -> int:
    return server.token(PARTIES.c1, None, resource=RESOURCE, **form).status_code


@pytest.mark.parametrize("ahead", [4 * MINUTE, -4 * MINUTE])
def test_a_used_assertion_stays_used(server: RunningServer, ahead: float) -> None:
    """Within the five minutes that clocks may differ: there, back, and there again."""
    form = BATCH.form()
    assert use_assertion(server, form) == 200
    for seconds in (ahead, -ahead, -ahead, ahead):
        jump(server, seconds)
        assert use_assertion(server, form) == 401


@pytest.mark.parametrize("ahead", [50 * MINUTE, -50 * MINUTE])
def test_a_revoked_token_stays_revoked(server: RunningServer, ahead: float) -> None:
    """Of either form, there and back: revocations are kept for an hour longer than their tokens live."""
    tokens = [fetch(server), fetch(server, OPAQUE)]
    for token in tokens:
        assert revoke(server, PARTIES, "c1", token).status_code == 200
    for seconds in (ahead, -ahead):
        jump(server, seconds)
        assert [is_active(server, token) for token in tokens] == [False, False]


def test_a_token_that_has_not_ended_is_there_after_the_clock_is_right_again(server: RunningServer) -> None:
    tokens = [fetch(server), fetch(server, OPAQUE)]
    for seconds in (100 * MINUTE, -100 * MINUTE):
        jump(server, seconds)
        assert [is_active(server, token) for token in tokens] == [True, True]


def test_a_token_of_a_clock_that_was_ahead_is_not_active(server: RunningServer) -> None:
    """A revocation of all that was issued until now would miss it; so nobody is told that it is active."""
    server.move_clock(60 * MINUTE)
    tokens = [fetch(server), fetch(server, OPAQUE)]
    server.move_clock(-60 * MINUTE)
    at = server.node.foundation.clock()
    server.call(server.node.foundation.revocations.revoke(Revocation.of_client("c1", before=at)))
    assert [is_active(server, token) for token in tokens] == [False, False]


@pytest.mark.parametrize("seconds", [-10 * 365 * 24 * 3600.0, 10 * 365 * 24 * 3600.0])
def test_a_clock_that_is_years_off_answers_cleanly(server: RunningServer, seconds: float) -> None:
    """No certificate is valid then: a refusal, and no token; and all is well when the clock is right again."""
    token = fetch(server)
    server.move_clock(seconds)
    answer = server.token(PARTIES.c1, "c1", resource=RESOURCE)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    server.move_clock(-seconds)
    assert is_active(server, token)
    assert server.token(PARTIES.c1, "c1", resource=RESOURCE).status_code == 200
