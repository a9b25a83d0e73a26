"""Tokens bound to DPoP keys beyond the token request: introspected, and exchanged."""

from collections.abc import Iterator

import httpx
import jwt
import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc8693_token_exchange import ACCESS_TOKEN, GRANT_TYPE
from tests.authority import Authority, Identity, dns
from tests.dpop import DPoPKey
from tests.running import RESOURCE, Deployment, RunningServer, running, token_form

URL = "https://localhost:8443/token"
OPAQUE, API = "https://opaque.example", "https://api.example"
CLIENT_KEY, API_KEY = DPoPKey(), DPoPKey()


@pytest.fixture(scope="module")
def c1(authority: Authority) -> Identity:
    return authority.issue("c1", san=[dns("c1.example")])


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A client, and a resource server that introspects and exchanges; both are bound by DPoP."""
    deployment = Deployment(tmp_path_factory.mktemp("dpop"), resource_options='introspection_clients = ["api"]')
    deployment.trust("default", authority)
    deployment.resource(API, "reports:read")
    deployment.resource(OPAQUE, "files:read", options='token_format = "opaque"\nintrospection_clients = ["api"]')
    common = {
        "tls_client_auth_san_dns": "c1.example",
        "dpop_bound_access_tokens": True,
        "scope": "reports:read files:read",
    }
    grants = ["client_credentials", GRANT_TYPE]
    deployment.client("c1", **common, grant_types=grants)
    deployment.client("api", **common, grant_types=grants, exchange={"audiences": [API], "clients": ["c1"]})
    with running(deployment) as server:
        yield server


def ask(server: RunningServer, c1: Identity, key: DPoPKey, client_id: str, **form: str) -> httpx.Response:
    with server.client(c1) as client:
        return client.post("/token", data=token_form(client_id, **form), headers={"DPoP": key.proof("POST", URL)})


def token(server: RunningServer, c1: Identity, resource: str) -> str:
    response = ask(server, c1, CLIENT_KEY, "c1", resource=resource)
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


def exchange(server: RunningServer, c1: Identity, key: DPoPKey, client_id: str, subject: str) -> httpx.Response:
    parameters = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "resource": RESOURCE}
    return ask(server, c1, key, client_id, grant_type=GRANT_TYPE, **parameters)


@pytest.mark.parametrize("resource", [RESOURCE, OPAQUE])
def test_introspection_names_the_key(server: RunningServer, c1: Identity, resource: str) -> None:
    """RFC 9449 §6.2: `cnf` with `jkt`, and the token type, for tokens of either form."""
    with server.client(c1) as client:
        form = {"client_id": "api", "token": token(server, c1, resource)}
        answer = client.post("/introspect", data=form).json()
    assert (answer["active"], answer["token_type"], answer["cnf"]) == (True, "DPoP", {"jkt": CLIENT_KEY.thumbprint})


def test_an_exchanged_token_is_bound_to_the_key_of_who_exchanged_it(server: RunningServer, c1: Identity) -> None:
    """The resource server holds no key of the client's: the new token is bound to its own."""
    response = exchange(server, c1, API_KEY, "api", token(server, c1, API))
    assert response.status_code == 200, response.text
    claims = jwt.decode(response.json()["access_token"], options={"verify_signature": False})
    assert (response.json()["token_type"], claims["cnf"]) == ("DPoP", {"jkt": API_KEY.thumbprint})


def test_an_exchange_needs_a_proof_as_well(server: RunningServer, c1: Identity) -> None:
    subject = token(server, c1, API)
    parameters = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "resource": RESOURCE}
    response = server.token(c1, "api", grant_type=GRANT_TYPE, **parameters)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_dpop_proof")


def test_a_token_of_one_s_own_must_be_proven_and_cannot(server: RunningServer, c1: Identity) -> None:
    """What a token is bound to is proven by a certificate alone here: one bound to a DPoP key is refused."""
    response = exchange(server, c1, CLIENT_KEY, "c1", token(server, c1, RESOURCE))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert server.last_event.refusal is Refusal.TOKEN_NOT_OF_THIS_CONNECTION
