"""Revocation by status lists with a running server and a verifier: what is revoked is refused once the list is old."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from mtls_as.rfc.rfc4648_base64url import decode_base64url
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.rfc.status_list import MEDIA_TYPE
from mtls_as.server.revocation import Revocation
from mtls_as.verifier import AccessTokenVerifier, InvalidToken, TokenRefusal, VerificationUnavailable
from tests.cli.workplace import free_ports
from tests.http.introspecting import OPAQUE, Parties, fetch, introspect, revoke
from tests.running import RESOURCE, RunningServer, running

TTL = 60


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties.create()


@pytest.fixture(scope="module", params=["ES256", "ML-DSA-44"])
def server(
    request: pytest.FixtureRequest, parties: Parties, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    (port,) = free_ports(1)
    deployment = parties.deployment(
        tmp_path_factory.mktemp("server"),
        issuer=f"https://localhost:{port}",
        port=port,
        algorithm=request.param,
        token_options=f"status_list = true\nstatus_list_ttl = {TTL}",
    )
    with running(deployment) as server:
        yield server


class Checker:
    """A resource server whose clock goes with the server's, and may go ahead."""

    def __init__(self, server: RunningServer, parties: Parties, **options: Any) -> None:
        self.server = server
        self.parties = parties
        self.ahead = 0.0
        self.verifier = AccessTokenVerifier(
            issuer=server.deployment.issuer,
            audience=RESOURCE,
            algorithms=["ES256", "ML-DSA-44"],
            ssl_context=server.ssl_context(),
            leeway=0,
            clock=lambda: server.node.foundation.clock() + self.ahead,
            **options,
        )

    async def accepts(self, token: str, name: str = "c1") -> bool:
        """False for a token that was revoked, also where memory knows it; other refusals are raised."""
        certificate = getattr(self.parties, name).der
        try:
            await self.verifier.verify(token, certificate=certificate)
        except InvalidToken as error:
            if error.reason is not TokenRefusal.REVOKED:
                raise
            assert self.verifier.verify_cached(token, certificate=certificate) is None
            return False
        return True


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(decode_base64url(token.split(".")[1]))
    return found


def by_the_client(server: RunningServer, parties: Parties, token: str) -> None:
    assert revoke(server, parties, "c1", token).status_code == 200


def by_its_id(server: RunningServer, parties: Parties, token: str) -> None:
    found = claims(token)
    server.call(server.node.foundation.revocations.revoke(Revocation.of_token(found["jti"], expires_at=found["exp"])))


def by_its_client(server: RunningServer, parties: Parties, token: str) -> None:
    revocation = Revocation.of_client("c1", before=claims(token)["iat"] + 1)
    server.call(server.node.foundation.revocations.revoke(revocation))


def by_its_certificate(server: RunningServer, parties: Parties, token: str) -> None:
    revocation = Revocation.of_certificate(x5t_s256(parties.c1.der), before=claims(token)["iat"] + 1)
    server.call(server.node.foundation.revocations.revoke(revocation))


@pytest.mark.parametrize("end", [by_the_client, by_its_id, by_its_client, by_its_certificate])
async def test_a_revoked_token_is_refused_once_the_list_is_old(
    server: RunningServer, parties: Parties, end: Callable[[RunningServer, Parties, str], None]
) -> None:
    """By whichever way it was revoked; it is not asked about, and no other token is hit."""
    checker = Checker(server, parties)
    token = await asyncio.to_thread(fetch, server, parties.c1)
    other = await asyncio.to_thread(fetch, server, parties.c2, "c2")
    assert await checker.accepts(token)
    assert await checker.accepts(other, "c2")
    await asyncio.to_thread(end, server, parties, token)
    await asyncio.to_thread(server.call, server.node.foundation.status_indices.flush())
    await asyncio.sleep(1.1)  # the list that was made before is not handed out any longer
    server.move_clock(TTL)
    assert not await checker.accepts(token)
    assert await checker.accepts(other, "c2")
    assert await checker.accepts(await asyncio.to_thread(fetch, server, parties.c2, "c2"), "c2")


def test_what_a_token_and_the_metadata_say(server: RunningServer, parties: Parties) -> None:
    """The place in a list below the issuer's own URL; opaque tokens have none, and introspection tells all the same."""
    token = fetch(server, parties.c1)
    status = claims(token)["status"]["status_list"]
    assert status["uri"].startswith(f"{server.deployment.issuer}/status/")
    with server.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
        lists = client.get(metadata["status_list_aggregation_endpoint"]).json()["status_lists"]
    assert metadata["status_list_aggregation_endpoint"] == f"{server.deployment.issuer}/status"
    assert status["uri"] in lists
    assert introspect(server, parties, "rs1", token).json()["status"]["status_list"] == status
    opaque = fetch(server, parties.c1, resource=OPAQUE)
    assert "status" not in introspect(server, parties, "rs2", opaque).json()


def test_a_list_over_http(server: RunningServer, parties: Parties) -> None:
    """§8.2: the media type, caching for a moment, a tag; and 404 for whatever is no list."""
    uri = claims(fetch(server, parties.c1))["status"]["status_list"]["uri"]
    with server.client() as client:
        answer = client.get(uri, headers={"Accept": MEDIA_TYPE})
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        assert answer.headers["cache-control"] == "public, max-age=1"
        assert answer.headers["access-control-allow-origin"] == "*"
        tag = answer.headers["etag"]
        again = client.get(uri, headers={"If-None-Match": f'"x", W/{tag}'})
        assert again.status_code in {200, 304}  # a second may have passed in between
        assert (again.status_code == 304) == (again.headers["etag"] == tag)
        for path in ("/status/999999", "/status/x", "/status/-1", "/status/00", "/status/%31x", f"/status/{'9' * 40}"):
            missing: httpx.Response = client.get(path)
            assert (missing.status_code, missing.json()["error"]) == (404, "invalid_request")


async def test_the_server_is_gone(server: RunningServer, parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known lists count as long as they may; then nothing is said, unless the resource server tolerates old ones."""
    strict, tolerant = Checker(server, parties), Checker(server, parties, status_list_tolerance=100)
    token = await asyncio.to_thread(fetch, server, parties.c1)
    for checker in (strict, tolerant):
        assert await checker.accepts(token)
    monkeypatch.setattr("mtls_as.verifier.status_lists.MAX_LIST_TOKEN_LENGTH", 0)  # every answer is too long now
    for checker in (strict, tolerant):
        checker.ahead = TTL - 3
        assert await checker.accepts(token)
        checker.ahead = TTL + 1
    assert await tolerant.accepts(token)
    with pytest.raises(VerificationUnavailable):
        await strict.accepts(token)
    tolerant.ahead = TTL + 101
    with pytest.raises(VerificationUnavailable):
        await tolerant.accepts(token)
