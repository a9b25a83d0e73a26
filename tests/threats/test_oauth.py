"""What attackers and accidents do with OAuth: each test is one row of the threat table, over real TLS."""

import asyncio
import base64
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.rfc import rfc7519_jwt
from mtls_as.rfc.refusal import Refusal
from mtls_as.server import client_secrets
from mtls_as.server.client_secrets import make_secret
from mtls_as.server.clients import ClientSource, parse_client
from tests.assertions import ISSUER, AssertingClient
from tests.authority import Authority, Identity, dns, new_key, self_signed
from tests.running import Deployment, RunningServer, running


@dataclass
class Party:
    """What the clients hold, and a stranger's certificate."""

    authority: Authority = field(default_factory=lambda: Authority.create("Client CA"))
    batch: AssertingClient = field(default_factory=lambda: AssertingClient("batch"))
    secret: str = ""
    stranger: Identity = field(default_factory=self_signed)

    def certificate(self) -> Identity:
        return self.authority.issue("pki", san=[dns("pki.example")])


@pytest.fixture(scope="module")
def party() -> Party:
    return Party()


@pytest.fixture(scope="module")
def server(party: Party, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a client of each method."""
    deployment = Deployment(tmp_path_factory.mktemp("oauth")).trust("default", party.authority)
    deployment.client("pki", tls_client_auth_san_dns="pki.example")
    registered = {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": AssertingClient("own").jwks}
    deployment.client("own", **registered)
    deployment.client("batch", token_endpoint_auth_method="private_key_jwt", jwks=party.batch.jwks)
    with running(deployment) as server:
        members = {"client_id": "old", "token_endpoint_auth_method": "client_secret_basic", "scope": "reports:read"}
        party.secret, kept = make_secret(at=0.0)
        client = replace(parse_client(members, ClientSource.STORAGE), secrets=(kept,))
        server.call(server.node.storage.clients.add(client))
        yield server


def ask(
    server: RunningServer, certificate: Identity | None, headers: list[tuple[str, str]] | None = None, **form: Any
) -> httpx.Response:
    with server.client(certificate) as client:
        return client.post("/token", data={"grant_type": "client_credentials"} | form, headers=headers or [])


def basic(client_id: str, secret: str) -> list[tuple[str, str]]:
    return [("Authorization", "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode())]


def refused(server: RunningServer, response: httpx.Response, refusal: Refusal) -> None:
    """The one answer to whoever is not let in, and the reason in the event alone."""
    assert server.last_event.refusal is refusal, server.last_event
    assert (response.status_code, response.json()) == (
        401,
        {"error": "invalid_client", "error_description": "Client authentication failed."},
    )


class TestTwoMethods:
    """Two authentication methods in one request: `invalid_request`; policy looks at the method that succeeded."""

    @pytest.mark.parametrize(
        "combination",
        ["assertion and secret", "header and secret", "header and assertion", "two headers", "all of them"],
    )
    def test_two_credentials(self, server: RunningServer, party: Party, combination: str) -> None:
        """Each of them right by itself."""
        header, form, secret = basic("old", party.secret), party.batch.form(), {"client_secret": party.secret}
        headers, fields = {
            "assertion and secret": ([], form | secret),
            "header and secret": (header, secret),
            "header and assertion": (header, form),
            "two headers": (header * 2, {}),
            "all of them": (header, form | secret),
        }[combination]
        for client_id in ({}, {"client_id": "old"}, {"client_id": "batch"}, {"client_id": "pki"}):
            response = ask(server, party.stranger, headers, **fields, **client_id)
            assert server.last_event.refusal is Refusal.SEVERAL_AUTHENTICATION_METHODS
            assert (response.status_code, response.json()["error"]) == (400, "invalid_request")

    def test_half_an_assertion_is_one(self, server: RunningServer, party: Party) -> None:
        """Neither half of it is overlooked beside a secret."""
        for name, value in party.batch.form().items():
            response = ask(server, party.stranger, basic("old", party.secret), **{name: value})
            assert response.json()["error"] == "invalid_request"

    def test_the_method_that_succeeded_is_the_registered_one(self, server: RunningServer, party: Party) -> None:
        """CVE-2026-16093: a certificate that would do, beside a credential that does, changes nothing."""
        certificate = party.certificate()
        assert ask(server, certificate, **party.batch.form()).status_code == 200
        assert (server.last_event.client_id, server.last_event.authentication_method) == ("batch", "private_key_jwt")
        assert ask(server, certificate, basic("old", party.secret)).status_code == 200
        assert server.last_event.authentication_method == "client_secret_basic"
        refused(server, ask(server, certificate, client_id="batch"), Refusal.WRONG_AUTHENTICATION_METHOD)
        response = ask(server, certificate, client_id="pki", client_secret=party.secret)
        refused(server, response, Refusal.WRONG_AUTHENTICATION_METHOD)


class TestAssertions:
    """An assertion replayed; `aud` as array or endpoint URL; `exp` years ahead; `iat` in the future: refused.

    From another node and after SIGKILL: tests/end_to_end/test_replay.py.
    """

    def test_replayed(self, server: RunningServer, party: Party) -> None:
        """The same assertion, and another one with the same `jti`."""
        assert ask(server, party.stranger, **party.batch.form(jti="once")).status_code == 200
        for _ in range(2):
            response = ask(server, party.stranger, **party.batch.form(jti="once"))
            refused(server, response, Refusal.ASSERTION_REPLAYED)

    def test_replayed_at_once_by_many(self, server: RunningServer, party: Party) -> None:
        """Of eight connections one gets a token."""
        form = party.batch.form() | {"grant_type": "client_credentials"}

        async def together() -> list[int]:
            async with contextlib.AsyncExitStack() as stack:
                context = server.ssl_context(party.stranger)
                clients = [
                    await stack.enter_async_context(httpx.AsyncClient(verify=context, trust_env=False))
                    for _ in range(8)
                ]
                answers = await asyncio.gather(*(each.post(f"{server.url}/token", data=form) for each in clients))
                return sorted(answer.status_code for answer in answers)

        assert asyncio.run(together()) == [200] + [401] * 7

    def test_replayed_until_it_ends_and_no_longer_good_then(self, server: RunningServer, party: Party) -> None:
        """What is forgotten in the meantime has expired long since."""
        form = party.batch.form()
        assert ask(server, party.stranger, **form).status_code == 200
        try:
            for seconds, refusal in ((50, Refusal.ASSERTION_REPLAYED), (400, Refusal.ASSERTION_EXPIRED)):
                server.move_clock(seconds)
                now = server.node.foundation.clock()
                server.call(server.node.storage.used_once.prune(ended_before=now))
                refused(server, ask(server, party.stranger, **form), refusal)
        finally:
            server.move_clock(-450)

    def test_replayed_after_a_restart(self, party: Party, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Uses are in the storage before the token is in the answer."""
        deployment = Deployment(tmp_path_factory.mktemp("restart"))
        deployment.client("batch", token_endpoint_auth_method="private_key_jwt", jwks=party.batch.jwks)
        form = party.batch.form()
        with running(deployment) as server:
            assert ask(server, party.stranger, **form).status_code == 200
        with running(replace(deployment)) as server:
            refused(server, ask(server, party.stranger, **form), Refusal.ASSERTION_REPLAYED)

    @pytest.mark.parametrize(
        "audience", [[ISSUER], [ISSUER, ISSUER], [ISSUER, "https://o.example"], ISSUER + "/token", ISSUER + "/", "", 1]
    )
    def test_aud(self, server: RunningServer, party: Party, audience: object) -> None:
        response = ask(server, party.stranger, **party.batch.form(aud=audience))
        refused(server, response, Refusal.ASSERTION_WRONG_AUDIENCE)

    def test_exp_years_ahead(self, server: RunningServer, party: Party) -> None:
        for seconds in (400, 3_600, 10 * 365 * 86_400):
            response = ask(server, party.stranger, **party.batch.form(exp=int(time.time()) + seconds))
            refused(server, response, Refusal.ASSERTION_LIFETIME_TOO_LONG)

    @pytest.mark.parametrize("name", ["iat", "nbf"])
    def test_in_the_future(self, server: RunningServer, party: Party, name: str) -> None:
        """FAPI 2.0: up to ten seconds are let in, more than sixty are not."""
        soon, later = int(time.time()) + 8, int(time.time()) + 65
        assert ask(server, party.stranger, **party.batch.form(**{name: soon})).status_code == 200
        response = ask(server, party.stranger, **party.batch.form(**{name: later, "exp": later + 60}))
        refused(server, response, Refusal.ASSERTION_NOT_YET_VALID)


class Work:
    """Counts what costs time: signatures verified, secrets compared, paths built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        for place, name in (
            (rfc7519_jwt, "_is_genuine"),
            (client_secrets, "_digest"),
            (TrustDomains, "verify_online"),
        ):
            monkeypatch.setattr(place, name, self._counting(name, getattr(place, name)))
        original = client_secrets.hmac.compare_digest

        def compare(one: Any, other: Any) -> bool:
            self.done["compare_digest"] += 1
            return original(one, other)

        # Only for this module: the audit trail compares digests in the background.
        monkeypatch.setattr(client_secrets, "hmac", SimpleNamespace(compare_digest=compare))

    def _counting(self, name: str, function: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.done[name] += 1
            return function(*arguments, **options)

        return counted


class TestProbing:
    """Existence of a client probed by message or by time: the same answer, and the same work."""

    @pytest.fixture
    def work(self, monkeypatch: pytest.MonkeyPatch) -> Work:
        return Work(monkeypatch)

    def probe(self, server: RunningServer, work: Work, party: Party, client_id: str, kind: str) -> Counter[str]:
        """The work for a credential that is nobody's, for one name."""
        work.done.clear()
        match kind:
            case "secret in the header":
                response = ask(server, party.stranger, basic(client_id, "guess"))
            case "secret in the form":
                response = ask(server, party.stranger, client_id=client_id, client_secret="guess")
            case "certificate":
                response = ask(server, party.stranger, client_id=client_id)
            case "nothing":
                response = ask(server, None, client_id=client_id)
            case "assertion with a guessed kid":
                client = AssertingClient(client_id, kid="guess")
                response = ask(server, party.stranger, **client.form())
            case "assertion for another algorithm":
                client = AssertingClient(client_id, algorithm="EdDSA", key=new_key("Ed25519"))
                response = ask(server, party.stranger, **client.form())
            case _:
                response = ask(server, party.stranger, **AssertingClient(client_id).form())
        assert response.status_code == 401
        assert response.json() == {"error": "invalid_client", "error_description": "Client authentication failed."}
        return Counter(work.done)

    @pytest.mark.parametrize(
        ("kind", "cost"),
        [
            ("secret in the header", {"_digest": 1, "compare_digest": 2}),
            ("secret in the form", {"_digest": 1, "compare_digest": 2}),
            ("assertion", {"_is_genuine": 1}),
            ("assertion with a guessed kid", {"_is_genuine": 1}),
            ("assertion for another algorithm", {"_is_genuine": 1}),
            ("certificate", {"verify_online": 1}),
            ("nothing", {}),
        ],
    )
    def test_every_name_costs_the_same(
        self, server: RunningServer, work: Work, party: Party, kind: str, cost: dict[str, int]
    ) -> None:
        """Known by this method, known by another one, and not known at all."""
        for client_id in ("old", "batch", "pki", "own", "nobody"):
            assert self.probe(server, work, party, client_id, kind) == Counter(cost), client_id

    def test_headers_and_body_tell_nothing(self, server: RunningServer, party: Party) -> None:
        """Octet for octet, but for the date."""

        def seen(client_id: str) -> tuple[bytes, list[tuple[str, str]]]:
            response = ask(server, party.stranger, basic(client_id, "guess"))
            return response.content, [pair for pair in response.headers.multi_items() if pair[0] != "date"]

        assert seen("old") == seen("batch") == seen("nobody")
