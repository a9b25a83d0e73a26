"""The OpenAPI documents: valid, of every route, and true of the running server."""

import time
from collections.abc import Iterator
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
    )
    deployment.resource("https://admin.example", AdminScope.REVOCATIONS)
    deployment.trust("default", authority).client("c1", tls_client_auth_san_dns="c1.example")
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


@pytest.mark.slow
def test_random_requests_break_no_promise(everything: RunningServer, identity: Identity) -> None:
    """No 5xx, and no answer that the description does not know, whatever is sent to whichever operation."""
    folder = everything.deployment.folder
    certificate = tuple(map(str, identity.write(folder / "clients", "fuzzing")))
    authority = str(folder / "server-ca.pem")
    schema = schemathesis.openapi.from_dict(documents(everything)["mtls"])
    strategies = [found.ok().as_strategy() for found in schema.get_all_operations()]

    token, digest = make_token()
    policy = RegistrationPolicy(scope=("reports:read",), trust=("default",), methods=GENERAL_METHODS)
    initial = InitialAccessToken(digest=digest, policy=policy, uses_left=10_000, expires_at=time.time() + 600)
    everything.call(everything.node.storage.registrations.add_initial_access_token(initial))

    @given(data=st.data())
    @settings(
        max_examples=EXAMPLES * len(strategies),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def fuzz(data: st.DataObject) -> None:
        case = data.draw(st.one_of(strategies))
        headers = {"Authorization": f"Bearer {token}"} if case.path == "/register" and data.draw(st.booleans()) else {}
        case.call_and_validate(
            base_url=everything.url, cert=certificate, verify=authority, checks=CHECKS, headers=headers
        )

    fuzz()
