"""OpenID FAPI 2.0 Security Profile (final), client credentials: what its conformance suite looks at, against a server.

Two clients of each kind: mutual TLS for authentication and binding, and `private_key_jwt` bound to a certificate.
"""

import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest

from mtls_as.verifier import AccessTokenVerifier
from mtls_as.verifier.asgi import RequireBoundToken
from tests.assertions import AssertingClient
from tests.authority import Authority, Identity, dns, new_key, self_signed
from tests.fapi.resource_server import serving
from tests.running import RESOURCE, Deployment, RunningServer, running, token_form

LEGAL_DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6749 §5.2


@dataclass
class Party:
    """One of the two clients of a mode: its certificate, and how it authenticates."""

    client_id: str
    certificate: Identity
    asserting: AssertingClient | None = None

    def form(self, **changed: Any) -> dict[str, Any]:
        assertion = self.asserting.form() if self.asserting else {}
        return token_form(self.client_id) | assertion | changed


@dataclass
class World:
    server: RunningServer
    api: str
    first: Party
    second: Party

    def client(self, identity: Identity | None) -> httpx.Client:
        return self.server.client(identity)

    def token(self, party: Party, **changed: Any) -> httpx.Response:
        with self.client(party.certificate) as client:
            return client.post("/token", data=party.form(**changed))

    def call(self, party: Party, token: str, scheme: str = "Bearer", **headers: str) -> httpx.Response:
        with self.client(party.certificate) as client:
            return client.get(f"{self.api}/reports", headers={"Authorization": f"{scheme} {token}"} | headers)


async def resource(scope: Any, receive: Any, send: Any) -> None:
    """A protected resource that says whom it served."""
    if scope["type"] == "http":
        body = scope["access_token"].client_id.encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})


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
            deployment.client(client_id, tls_client_auth_san_dns=f"{client_id}.example")
        else:
            asserting = AssertingClient(client_id)
            parties.append(Party(client_id, self_signed(client_id), asserting))
            deployment.client(client_id, token_endpoint_auth_method="private_key_jwt", jwks=asserting.jwks)
    with running(deployment) as server:
        with server.client() as client:
            jwks = client.get("/jwks").json()
        verifier = AccessTokenVerifier(issuer=deployment.issuer, audience=RESOURCE, jwks=jwks)
        app = RequireBoundToken(resource, verifier, scopes=["reports:read"])
        with serving(app, deployment.server_authority, folder) as api:
            yield World(server, api, *parties)


class TestDiscovery:
    """What the metadata and the keys say."""

    def test_metadata(self, world: World) -> None:
        with world.client(None) as client:
            metadata = client.get("/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == world.server.deployment.issuer
        assert metadata["tls_client_certificate_bound_access_tokens"] is True
        assert "client_credentials" in metadata["grant_types_supported"]
        assert "password" not in metadata["grant_types_supported"]
        methods = metadata["token_endpoint_auth_methods_supported"]
        assert {"tls_client_auth", "self_signed_tls_client_auth", "private_key_jwt"} <= set(methods)
        for name in metadata.get("mtls_endpoint_aliases", {}):
            assert name in metadata
            assert name.endswith("_endpoint")

    def test_keys(self, world: World) -> None:
        """No private member, no `kid` twice, nothing short."""
        with world.client(None) as client:
            keys = client.get("/jwks").json()["keys"]
        assert keys
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & {member for key in keys for member in key}
        assert len({key["kid"] for key in keys}) == len(keys)
        assert all(key["crv"] in {"P-256", "Ed25519"} for key in keys)


class TestTransport:
    """TLS 1.2 at least, 1.3 preferred."""

    def test_versions(self, world: World) -> None:
        context = world.server.ssl_context()
        assert negotiated(world, context) == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert negotiated(world, context) == "TLSv1.2"


def negotiated(world: World, context: ssl.SSLContext) -> str | None:
    import socket

    with (
        socket.create_connection(("127.0.0.1", world.server.ports["mtls"])) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.version()


class TestHappyFlow:
    """Two clients, each with its own token at the resource."""

    def test_answer(self, world: World) -> None:
        answer = world.token(world.first).json()
        assert answer["token_type"] == "Bearer"
        assert isinstance(answer["expires_in"], int)
        assert "refresh_token" not in answer
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert set(claims["cnf"]) == {"x5t#S256"}, "only sender-constrained tokens"

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_each_at_the_resource(self, world: World, scheme: str) -> None:
        for party in (world.first, world.second):
            response = world.call(party, world.token(party).json()["access_token"], scheme)
            assert (response.status_code, response.text) == (200, party.client_id)

    @pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json;q=0.1", "nonsense"])
    def test_accept_headers(self, world: World, accept: str) -> None:
        with world.client(world.first.certificate) as client:
            response = client.post("/token", data=world.first.form(), headers={"Accept": accept})
        assert response.status_code == 200
        assert world.call(world.first, response.json()["access_token"], Accept=accept).status_code == 200

    def test_the_token_of_another_client(self, world: World) -> None:
        token = world.token(world.second).json()["access_token"]
        response = world.call(world.first, token)
        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")

    def test_a_token_in_the_query(self, world: World) -> None:
        token = world.token(world.first).json()["access_token"]
        with world.client(world.first.certificate) as client:
            assert client.get(f"{world.api}/reports", params={"access_token": token}).status_code in {400, 401}

    def test_no_token(self, world: World) -> None:
        with world.client(world.first.certificate) as client:
            response = client.get(f"{world.api}/reports")
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


class TestRefusals:
    """JSON errors in the legal alphabet, and never a token."""

    def assert_refused(self, response: httpx.Response, *errors: str) -> None:
        assert response.status_code in {400, 401}
        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        assert body["error"] in errors
        assert LEGAL_DESCRIPTION.fullmatch(body.get("error_description", ""))
        assert "access_token" not in body

    def test_the_client_id_of_another_client(self, world: World) -> None:
        """Client 2's name with client 1's proof."""
        self.assert_refused(
            world.token(world.first, client_id=world.second.client_id), "invalid_client", "invalid_request"
        )

    def test_no_certificate(self, world: World) -> None:
        """The name alone, or the assertion alone, gets nothing: its tokens are bound."""
        with world.client(None) as client:
            response = client.post("/token", data=world.first.form())
        self.assert_refused(response, "invalid_client", "invalid_request")

    def test_no_proof_at_all(self, world: World) -> None:
        with world.client(None) as client:
            response = client.post("/token", data=token_form(world.first.client_id))
        self.assert_refused(response, "invalid_client", "invalid_request")

    @pytest.mark.parametrize("grant_type", ["password", "implicit", "refresh_token", ""])
    def test_other_grants(self, world: World, grant_type: str) -> None:
        response = world.token(world.first, grant_type=grant_type)
        self.assert_refused(response, "unsupported_grant_type", "unauthorized_client", "invalid_request")

    def test_unknown_scope(self, world: World) -> None:
        self.assert_refused(world.token(world.first, scope="admin"), "invalid_scope")


class TestAssertions:
    """`private_key_jwt` as FAPI narrows it."""

    @pytest.fixture
    def asserting(self, world: World) -> AssertingClient:
        if world.first.asserting is None:
            return AssertingClient("client1")  # a client that is not registered for assertions refuses them all
        return world.first.asserting

    def post(self, world: World, form: dict[str, str]) -> httpx.Response:
        with world.client(world.first.certificate) as client:
            return client.post("/token", data=token_form("client1") | form)

    @pytest.mark.parametrize(
        "changed",
        [
            {"aud": ["https://localhost:8443"]},
            {"aud": "https://localhost:8443/token"},
            {"aud": "https://localhost:8443/"},
            {"aud": None},
            {"sub": None},
            {"iss": None},
            {"sub": "client2"},
            {"exp": None},
            {"jti": None},
        ],
        ids=str,
    )
    def test_refused(self, world: World, asserting: AssertingClient, changed: dict[str, Any]) -> None:
        response = self.post(world, asserting.form(**changed))
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    @pytest.mark.parametrize("ahead", [{"exp": -300}, {"iat": 600, "exp": 660}, {"nbf": 600}, {"exp": 10_000}], ids=str)
    def test_refused_times(self, world: World, asserting: AssertingClient, ahead: dict[str, int]) -> None:
        """Expired five minutes ago, from the future, not valid yet, and valid for too long."""
        now = int(time.time())
        response = self.post(world, asserting.form(**{claim: now + seconds for claim, seconds in ahead.items()}))
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    def test_rs256(self, world: World, asserting: AssertingClient) -> None:
        key = new_key("RSA-2048")
        response = self.post(world, asserting.form(header={"alg": "RS256"}, key=key))
        assert response.json()["error"] == "invalid_client"

    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    def test_clocks_may_differ_a_little(self, world: World, asserting: AssertingClient, claim: str) -> None:
        """Up to ten seconds ahead is accepted."""
        response = self.post(world, asserting.form(**{claim: int(time.time()) + 8}))
        assert response.status_code == (200 if world.first.asserting else 401)

    def test_only_once(self, world: World, asserting: AssertingClient) -> None:
        form = asserting.form()
        statuses = [self.post(world, form).status_code for _ in range(2)]
        assert statuses == ([200, 401] if world.first.asserting else [401, 401])
