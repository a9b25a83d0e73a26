"""OpenID FAPI 2.0 Security Profile (final), client credentials with DPoP: what its conformance suite looks at.

Two clients of each kind, authenticated by mutual TLS or by `private_key_jwt`, each with a DPoP key of its own.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import pytest

from mtls_as.verifier import AccessTokenVerifier, ProofMemory
from mtls_as.verifier.asgi import RequireBoundToken
from tests.assertions import AssertingClient
from tests.authority import Authority, Identity, dns
from tests.dpop import DPoPKey
from tests.fapi.resource_server import serving
from tests.fapi.test_client_credentials import resource
from tests.running import RESOURCE, Deployment, RunningServer, running, token_form

API = "https://api.example/v1"
"""By which clients know the resource, behind whatever brings them there."""


@dataclass
class Party:
    """One of the two clients of a mode."""

    client_id: str
    certificate: Identity | None = None
    asserting: AssertingClient | None = None
    key: DPoPKey = field(default_factory=DPoPKey)

    def form(self, **changed: Any) -> dict[str, Any]:
        assertion = self.asserting.form() if self.asserting else {}
        return token_form(self.client_id) | assertion | changed


@dataclass
class World:
    server: RunningServer
    api: str
    first: Party
    second: Party

    def proof(self, party: Party, **claims: Any) -> str:
        return party.key.proof("POST", f"{self.server.deployment.issuer}/token", **claims)

    def ask(self, party: Party, *proofs: str, **changed: Any) -> httpx.Response:
        headers = [("DPoP", proof) for proof in proofs]
        with self.server.client(party.certificate) as client:
            return client.post("/token", data=party.form(**changed), headers=headers)

    def token(self, party: Party) -> str:
        response = self.ask(party, self.proof(party))
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    def call(
        self, party: Party, token: str, *, scheme: str = "DPoP", by: Party | None = None, proof: str | None = None
    ) -> httpx.Response:
        """A request to the resource, with a proof by the key of `by`."""
        signed = proof or (by or party).key.proof("GET", f"{API}/reports", token=token)
        with self.server.client(party.certificate) as client:
            headers = {"Authorization": f"{scheme} {token}", "DPoP": signed}
            return client.get(f"{self.api}/reports", headers=headers)


@pytest.fixture(scope="module", params=["mtls", "private_key_jwt"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("fapi")
    deployment = Deployment(folder)
    authority = Authority.create("Client CA")
    deployment.trust("default", authority)
    parties = []
    for client_id in ("client1", "client2"):
        if request.param == "mtls":
            parties.append(Party(client_id, authority.issue(san=[dns(f"{client_id}.example")])))
            by_certificate = {"tls_client_auth_san_dns": f"{client_id}.example"}
            deployment.client(client_id, dpop_bound_access_tokens=True, **by_certificate)
        else:
            asserting = AssertingClient(client_id)
            parties.append(Party(client_id, asserting=asserting))
            by_jwt = {"token_endpoint_auth_method": "private_key_jwt", "jwks": asserting.jwks}
            deployment.client(client_id, dpop_bound_access_tokens=True, **by_jwt)
    with running(deployment) as server:
        with server.client() as client:
            jwks = client.get("/jwks").json()
        verifier = AccessTokenVerifier(issuer=deployment.issuer, audience=RESOURCE, jwks=jwks, dpop=ProofMemory())
        app = RequireBoundToken(resource, verifier, scopes=["reports:read"], dpop_url=API)
        with serving(app, deployment.server_authority, folder) as api:
            yield World(server, api, *parties)


def test_metadata(world: World) -> None:
    """RFC 9449 §5.1; only what FAPI 2.0 allows signs proofs."""
    with world.server.client() as client:
        metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert set(metadata["dpop_signing_alg_values_supported"]) == {"ES256", "PS256", "EdDSA"}


@pytest.mark.parametrize("scheme", ["DPoP", "dpop"])
def test_each_at_the_resource(world: World, scheme: str) -> None:
    """The happy flow of two clients, over TLS to the end; the scheme has no case."""
    for party in (world.first, world.second):
        answer = world.ask(party, world.proof(party)).json()
        assert answer["token_type"] == "DPoP"
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert claims["cnf"] == {"jkt": party.key.thumbprint}, "sender-constrained, and once"
        response = world.call(party, answer["access_token"], scheme=scheme)
        assert (response.status_code, response.text) == (200, party.client_id)


def test_the_token_of_another_client(world: World) -> None:
    """Client 1's connection, its proof, and client 2's token."""
    response = world.call(world.first, world.token(world.second))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_dpop_proof")
    assert response.headers["WWW-Authenticate"].startswith("DPoP ")


def test_a_token_is_not_good_as_a_bearer_token(world: World) -> None:
    response = world.call(world.first, world.token(world.first), scheme="Bearer")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_token")


def test_no_proof_no_token(world: World) -> None:
    response = world.ask(world.first)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_dpop_proof")


def test_a_proof_is_not_good_twice(world: World) -> None:
    """At the token endpoint, and at the resource."""
    proof = world.proof(world.first)
    assert [world.ask(world.first, proof).status_code for _ in range(2)] == [200, 400]
    token = world.token(world.first)
    proof = world.first.key.proof("GET", f"{API}/reports", token=token)
    assert [world.call(world.first, token, proof=proof).status_code for _ in range(2)] == [200, 401]


def claims_at(claims: dict[str, int]) -> dict[str, int]:
    return {name: int(time.time()) + offset for name, offset in claims.items()}


@pytest.mark.parametrize("claims", [{"iat": -8}, {"iat": 8}, {"iat": 8, "nbf": 8, "exp": 60}, {"nbf": -8, "exp": 8}])
def test_clocks_may_differ_a_little(world: World, claims: dict[str, int]) -> None:
    """Ten seconds, at both servers."""
    assert world.ask(world.first, world.proof(world.first, **claims_at(claims))).status_code == 200
    token = world.token(world.first)
    proof = world.first.key.proof("GET", f"{API}/reports", token=token, **claims_at(claims))
    assert world.call(world.first, token, proof=proof).status_code == 200


@pytest.mark.parametrize(
    "claims", [{"iat": -86_400}, {"iat": -300}, {"iat": 86_400}, {"iat": 300}, {"nbf": 300}, {"exp": -300}]
)
def test_times_that_are_far_off(world: World, claims: dict[str, int]) -> None:
    response = world.ask(world.first, world.proof(world.first, **claims_at(claims)))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_dpop_proof")
    token = world.token(world.first)
    proof = world.first.key.proof("GET", f"{API}/reports", token=token, **claims_at(claims))
    response = world.call(world.first, token, proof=proof)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_dpop_proof")


def test_a_proof_of_the_token_endpoint_is_none_for_the_resource(world: World) -> None:
    token = world.token(world.first)
    response = world.call(world.first, token, proof=world.proof(world.first, ath="x"))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_dpop_proof")
