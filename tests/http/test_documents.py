"""The documents that anybody may read: metadata (RFC 8414) and keys (RFC 7517)."""

from collections.abc import Iterator

import pytest

from tests.authority import Authority
from tests.running import Deployment, RunningServer, running


def test_metadata_names_what_is_there(server: RunningServer) -> None:
    """RFC 8414 §2 and RFC 8705 §3.3."""
    with server.client() as client:
        response = client.get("/.well-known/oauth-authorization-server")
    document = response.json()
    del document["signed_metadata"]
    # Clients authenticate everywhere in the same ways.
    for name in ("auth_methods", "auth_signing_alg_values"):
        supported = document.pop(f"revocation_endpoint_{name}_supported")
        assert supported == document[f"token_endpoint_{name}_supported"]
    assert document == {
        "issuer": "https://localhost:8443",
        "token_endpoint": "https://localhost:8443/token",
        "revocation_endpoint": "https://localhost:8443/revoke",
        "jwks_uri": "https://localhost:8443/jwks",
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "token_endpoint_auth_methods_supported": [
            "tls_client_auth",
            "self_signed_tls_client_auth",
            "private_key_jwt",
            "client_secret_basic",
            "client_secret_post",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["PS256", "ES256", "EdDSA"],
        "scopes_supported": ["reports:read", "reports:write", "files:read"],
        "response_types_supported": [],
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA"],
    }
    assert response.headers["Content-Type"] == "application/json"


def test_keys_have_no_private_member(server: RunningServer) -> None:
    """FAPI 2.0: public members only, no `kid` twice."""
    with server.client() as client:
        response = client.get("/jwks")
    assert response.headers["Content-Type"] == "application/jwk-set+json"
    assert response.headers["Cache-Control"] == "public, max-age=300"
    keys = response.json()["keys"]
    assert [set(key) for key in keys] == [{"kty", "crv", "x", "y", "kid", "alg", "use"}]


@pytest.fixture(scope="module")
def both(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a public listener, below a path."""
    deployment = Deployment(
        tmp_path_factory.mktemp("both"), public="https://localhost:9444", issuer="https://localhost:9443/tenant"
    )
    deployment.trust("default", authority).client("c1", tls_client_auth_san_dns="c1.example")
    with running(deployment) as server:
        yield server


class TestPublicListener:
    """A listener that never asks for a certificate."""

    def test_aliases(self, both: RunningServer) -> None:
        """RFC 8705 §5: only endpoints that exist at the top level, only names that end in `_endpoint`."""
        path = "/.well-known/oauth-authorization-server/tenant"  # RFC 8414 §3.1: between host and path of the issuer
        with both.client() as client:
            metadata = client.get(path).json()
            assert client.get(f"{both.public_url}{path}").json() == metadata
        assert metadata["mtls_endpoint_aliases"] == {
            "token_endpoint": "https://localhost:9443/tenant/token",
            "revocation_endpoint": "https://localhost:9443/tenant/revoke",
        }
        assert metadata["jwks_uri"] == "https://localhost:9444/jwks"

    def test_documents_and_nothing_else(self, both: RunningServer) -> None:
        with both.client() as client:
            assert client.get(f"{both.public_url}/tenant/jwks").status_code == 404
            assert client.get(f"{both.public_url}/jwks").status_code == 200
            assert client.post(f"{both.public_url}/tenant/token").status_code == 404
            assert client.post("/tenant/token").status_code == 400

    def test_it_does_not_ask_for_a_certificate(self, both: RunningServer, authority: Authority) -> None:
        """A client that has one keeps it to itself: the handshake carries no request."""
        with both.client(authority.issue()) as client:
            assert client.get(f"{both.public_url}/jwks").status_code == 200
