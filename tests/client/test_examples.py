"""The clients of the documentation run as they stand, against a whole authorization server and a resource server."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.authority import Authority, dns
from tests.cli.workplace import free_ports
from tests.running import Deployment, RunningServer, running
from tests.verifier.issuer import AUDIENCE
from tests.verifier.running import CLIENT_CA, EXAMPLES, by_itself

REPORTS = CLIENT_CA.issue("reports", san=[dns("reports.example")])
SHOWN = {
    "client": "{'client': 'reports', 'scope': ['reports:read']}\n",
    "requests_client": "{'client': 'reports', 'scope': ['reports:read']}\n",
    "aiohttp_client": "{'client': 'reports', 'scope': ['reports:read']}\n",
    "grpc_client": "reports\n",
}


@dataclass
class Issuer:
    """What a resource server of the examples is told."""

    url: str
    authority: Authority


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    (port,) = free_ports(1)
    deployment = Deployment(tmp_path_factory.mktemp("as"), issuer=f"https://localhost:{port}", port=port)
    deployment.trust("default", CLIENT_CA).resource(AUDIENCE, "reports:read")
    deployment.client("reports", tls_client_auth_san_dns="reports.example", resources=[AUDIENCE])
    with running(deployment) as server:
        yield server


def test_every_client_is_run() -> None:
    assert set(SHOWN) == {path.stem for path in EXAMPLES.glob("*client.py")}


@pytest.fixture(scope="module", params=["quart", "grpc"])
def resource(
    request: pytest.FixtureRequest, server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A resource server in one framework; the name of that, and where it is."""
    example = EXAMPLES / f"{request.param}_resource_server.py"
    issuer = Issuer(server.deployment.issuer, server.deployment.server_authority)
    with by_itself(example, issuer, tmp_path_factory.mktemp(request.param)) as place:  # type: ignore[arg-type] # all that it reads
        yield request.param, place.url


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Callable[[str, str], str]:
    REPORTS.write(tmp_path / "certs", "reports")
    (tmp_path / "certs" / "ca.pem").write_text(server.deployment.server_authority.pem)

    def run(name: str, resource: str) -> str:
        environment = os.environ | {"ISSUER": server.deployment.issuer, "RESOURCE": resource}
        command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_the_examples(resource: tuple[str, str], run: Callable[[str, str], str]) -> None:
    """Each prints what the resource server answers to a bound token."""
    framework, place = resource
    names = [name for name in SHOWN if (name == "grpc_client") == (framework == "grpc")]
    assert {name: run(name, place) for name in names} == {name: SHOWN[name] for name in names}
