"""A server that most HTTP tests can use together."""

from collections.abc import Iterator

import pytest

from tests.authority import Authority
from tests.running import Deployment, RunningServer, running


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA behind the trust domain `default` of the shared server."""
    return Authority.create("Client CA")


@pytest.fixture(scope="session", params=[True, False], ids=["fast-lane", "framework"])
def server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server with one trust domain and clients of each kind, shared by the tests that change nothing in it.

    Every test runs twice: the fast lane and the framework give the same answers.
    """
    deployment = Deployment(tmp_path_factory.mktemp("server"), fast_lane=request.param)
    deployment.trust("default", authority)
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    deployment.client("c2", tls_client_auth_san_dns="c2.example", scope="reports:read reports:write")
    deployment.client("bearer", tls_client_auth_san_dns="c1.example", tls_client_certificate_bound_access_tokens=False)
    deployment.client("brief", tls_client_auth_san_dns="c1.example", access_token_lifetime=60)
    deployment.client("disabled", tls_client_auth_san_dns="c1.example", enabled=False)
    deployment.resource("https://files.example", "files:read")
    deployment.client("both", tls_client_auth_san_dns="c1.example", scope="files:read reports:read")
    with running(deployment) as server:
        yield server
