"""The OpenAPI documents: valid, of every route, and true of the running server."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mtls_as.http import operations
from mtls_as.http.admin_api.operations import ADMIN_OPERATIONS
from mtls_as.http.operation import Operation
from mtls_as.rfc.rfc7591_client_metadata import GENERAL_METHODS
from mtls_as.server.endpoints.admin.routes import AdminScope
from mtls_as.server.events import Outcome
from mtls_as.server.registration_policy import RegistrationPolicy
from mtls_as.server.registrations import InitialAccessToken, make_token
from tests.authority import Authority, Identity, dns
from tests.running import RESOURCE, Deployment, RunningServer, running

EXAMPLES = 25
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
OPERATIONS = [each for each in vars(operations).values() if isinstance(each, Operation)]
OPERATIONS += ADMIN_OPERATIONS.values()


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue(san=[dns("c1.example")])


@pytest.fixture(scope="module")
def everything(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with all that can be switched on."""
    deployment = Deployment(
        tmp_path_factory.mktemp("everything"),
        public="https://localhost:9444/documents",
        admin=True,
        admin_resource="https://admin.example",
        token_options="status_list = true",
    )
    deployment.resource("https://admin.example", *AdminScope)
    deployment.trust("default", authority).client("c1", tls_client_auth_san_dns="c1.example")
    deployment.client("operator", tls_client_auth_san_dns="c1.example", scope=" ".join(AdminScope))
    deployment.sections.append(
        '[[resources]]\nidentifier = "https://files.example"\nscopes = ["files:read"]\nintrospection_clients = ["c1"]'
    )
    deployment.sections.append("[registration]")
    with running(deployment) as server:
        yield server


def documents(server: RunningServer) -> dict[str, dict[str, Any]]:
    urls = {"mtls": server.url, "public": f"{server.public_url}/documents", "admin": server.admin_url}
    with server.client() as client:
        return {name: client.get(f"{url}/openapi.json").json() for name, url in urls.items()}


def test_every_document_is_valid(everything: RunningServer) -> None:
    """By the rules of OpenAPI 3.1 and JSON Schema 2020-12."""
    for document in documents(everything).values():
        assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_operation_stands_in_a_document(everything: RunningServer) -> None:
    """Each once, under a name of its own."""
    found = documents(everything)
    names = [
        operation["operationId"] for d in found.values() for path in d["paths"].values() for operation in path.values()
    ]
    assert {operation.name for operation in OPERATIONS} == set(names)
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_what_is_switched_off_is_not_described(server: RunningServer) -> None:
    """As in the metadata."""
    with server.client() as client:
        assert "/introspect" not in client.get("/openapi.json").json()["paths"]


def test_who_calls_with_a_certificate_can_read_so(everything: RunningServer) -> None:
    """The security scheme of OpenAPI 3.1 for RFC 8705."""
    document = documents(everything)["mtls"]
    assert document["components"]["securitySchemes"]["mutualTLS"]["type"] == "mutualTLS"
    assert {"mutualTLS": []} in document["paths"]["/token"]["post"]["security"]
    assert document["paths"]["/jwks"]["get"]["security"] == []


def test_a_described_request_gets_the_described_answer(everything: RunningServer, identity: Identity) -> None:
    """The successful answers, which random requests never see."""
    schema = schemathesis.openapi.from_dict(documents(everything)["mtls"])
    with everything.client(identity) as client:
        form = {"grant_type": "client_credentials", "client_id": "c1", "resource": RESOURCE}
        answer = client.post("/token", data=form)
        assert answer.status_code == 200, everything.last_event
        assert _validated(schema, "/token", answer)
        reference = {"client_id": "c1", "token": answer.json()["access_token"]}
        for path in ("/introspect", "/revoke"):
            assert _validated(schema, path, client.post(path, data=reference)), everything.last_event


def _validated(schema: Any, path: str, answer: httpx.Response) -> bool:
    schema[path]["POST"].validate_response(answer)
    return answer.status_code == 200


def test_an_operator_gets_the_described_answers(everything: RunningServer, identity: Identity) -> None:
    """Of every operation of the administration the one that random requests hardly ever reach."""
    schema = schemathesis.openapi.from_dict(documents(everything)["admin"])
    subject = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "new.example"}
    new = {"client_id": "new", "trust": "default", **subject}
    secret = {"client_id": "old", "token_endpoint_auth_method": "client_secret_basic"}
    requests: list[tuple[str, str, str, dict[str, Any]]] = [
        ("POST", "/clients", "/clients", {"json": new}),
        ("POST", "/clients", "/clients", {"json": secret}),
        ("GET", "/clients", "/clients?limit=1", {}),
        ("GET", "/clients/{client_id}", "/clients/new", {}),
        ("PUT", "/clients/{client_id}", "/clients/new", {"json": new}),
        ("POST", "/clients/{client_id}/disable", "/clients/new/disable", {}),
        ("POST", "/clients/{client_id}/enable", "/clients/new/enable", {}),
        ("POST", "/clients/{client_id}/secret", "/clients/old/secret", {"json": {"overlap": 60}}),
        ("DELETE", "/clients/{client_id}", "/clients/new", {}),
        (
            "POST",
            "/registration-tokens",
            "/registration-tokens",
            {"json": {"scope": "reports:read", "trust": ["default"]}},
        ),
        ("GET", "/registration-tokens", "/registration-tokens", {}),
        ("DELETE", "/registration-tokens/{name}", "/registration-tokens/NAME", {}),
        ("GET", "/keys", "/keys", {}),
        ("POST", "/keys", "/keys", {"json": {}}),
        ("GET", "/trust", "/trust", {}),
        ("GET", "/inventory", "/inventory?within=99999999", {}),
        ("GET", "/audit", "/audit?limit=5", {}),
        ("GET", "/audit/head", "/audit/head", {}),
        ("GET", "/audit/verification", "/audit/verification", {}),
        ("POST", "/reload", "/reload", {}),
        ("POST", "/revocations", "/revocations", {"data": {"client_id": "c1"}}),
    ]
    assert {(method, path) for method, path, _, _ in requests} == {
        (o.method, o.path) for o in ADMIN_OPERATIONS.values()
    }
    token = everything.token(identity, "operator").json()["access_token"]
    name = ""
    with httpx.Client(
        verify=everything.ssl_context(identity), base_url=everything.admin_url, trust_env=False, timeout=20
    ) as client:
        for method, path, url, options in requests:
            headers = {"Authorization": f"Bearer {token}"}
            answer = client.request(method, url.replace("NAME", name), headers=headers, **options)
            assert answer.is_success, (url, answer.text)
            schema[path][method].validate_response(answer)
            if path == "/registration-tokens" and method == "POST":
                name = answer.json()["name"]


@pytest.mark.slow
def test_random_requests_break_no_promise(everything: RunningServer, identity: Identity) -> None:
    """No 5xx, and no answer that the description does not know, whatever is sent to whichever operation."""
    token, digest = make_token()
    policy = RegistrationPolicy(scope=("reports:read",), trust=("default",), methods=GENERAL_METHODS)
    initial = InitialAccessToken(digest=digest, policy=policy, uses_left=10_000, expires_at=time.time() + 600)
    everything.call(everything.node.storage.registrations.add_initial_access_token(initial))

    def headers(path: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if path == "/register" else {}

    fuzz(everything, identity, "mtls", everything.url, headers)


@pytest.mark.slow
def test_random_requests_of_an_operator_break_no_promise(everything: RunningServer, identity: Identity) -> None:
    """Neither on the admin listener, with a token that opens everything there: revoked ones are fetched anew."""

    def headers(_path: str) -> dict[str, str]:
        answer = everything.token(identity, "operator")
        assert answer.status_code == 200, everything.last_event
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    fuzz(everything, identity, "admin", everything.admin_url, headers)
    actions = {(event.action, event.outcome) for event in everything.events if event.endpoint == "administration"}
    answered = {action for action, outcome in actions if outcome is Outcome.ANSWERED}
    assert answered >= {"reload", "rotateKey", "listClients", "takeInventory", "showTrust"}


def fuzz(
    server: RunningServer, identity: Identity, listener: str, url: str, headers: Callable[[str], dict[str, str]]
) -> None:
    """Send random requests to every operation of a listener; one of two with what `headers` says for its path."""
    folder = server.deployment.folder
    certificate = tuple(map(str, identity.write(folder / "clients", "fuzzing")))
    authority = str(folder / "server-ca.pem")
    schema = schemathesis.openapi.from_dict(documents(server)[listener])
    strategies = [found.ok().as_strategy() for found in schema.get_all_operations()]

    @given(data=st.data())
    @settings(
        max_examples=EXAMPLES * len(strategies),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def send(data: st.DataObject) -> None:
        case = data.draw(st.one_of(strategies))
        shown = headers(case.path) if data.draw(st.booleans()) else {}
        case.call_and_validate(base_url=url, cert=certificate, verify=authority, checks=CHECKS, headers=shown)

    send()
