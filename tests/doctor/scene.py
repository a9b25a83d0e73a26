"""A client, a real authorization server and real resources, and the doctor's findings about them."""

import contextlib
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mtls_as.cli.application import application
from tests.authority import Authority, Identity, dns
from tests.cli.workplace import free_ports
from tests.remote.https_server import HTTPSServer
from tests.running import Deployment, RunningServer, running

CLIENT_CA = Authority.create("Client CA")
REPORTS = CLIENT_CA.issue("reports", san=[dns("reports.example")])
START_SECONDS = 20.0


@dataclass(frozen=True)
class Diagnosis:
    """What the command said, as JSON, and its exit status."""

    status: int
    members: dict[str, Any]
    output: str

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The finding of a check, as `issuer/dns`, or as `token` where its name alone is enough."""
        place, _, check = name.rpartition("/")
        [finding] = [c for c in self.members["checks"] if c["id"] == check and place in ("", c["place"])]
        return dict(finding)

    def statuses(self) -> dict[str, str]:
        return {f"{c['place']}/{c['id']}": c["status"] for c in self.members["checks"]}

    def failures(self) -> list[str]:
        return [name for name, status in self.statuses().items() if status == "failure"]

    def steps(self, name: str) -> str:
        """The next steps of a finding as one text."""
        return "\n".join("\n".join([s["who"] + ": " + s["what"], *s["lines"]]) for s in self[name]["next"])


def diagnose(*arguments: str | Path) -> Diagnosis:
    """Run `mtls-as doctor … --json` in this process."""
    result = run(*arguments, "--json")
    return Diagnosis(result.exit_code, json.loads(result.stdout), result.stdout)


def run(*arguments: str | Path) -> Result:
    """Run `mtls-as doctor` in this process; nothing but a finding may come of what servers do."""
    result = CliRunner().invoke(application, ["doctor", *map(str, arguments)], prog_name="mtls-as")
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.stderr == "" or result.exit_code == 2, result.stderr
    return result


@dataclass(frozen=True)
class Scene:
    """One authorization server, and a resource server in a process of its own."""

    folder: Path
    server: RunningServer
    resource_port: int

    @property
    def issuer(self) -> str:
        return self.server.deployment.issuer

    @property
    def ca(self) -> Path:
        return self.folder / "server-ca.pem"

    def resource(self, name: str = "guarded") -> str:
        return f"https://localhost:{self.resource_port}/{name}"

    def client(self, identity: Identity = REPORTS, client_id: str = "reports") -> list[str]:
        """The options of a client."""
        certificate, key = identity.write(self.folder / "clients", f"c{identity.certificate.serial_number}")
        return ["--client-id", client_id, "--cert", str(certificate), "--key", str(key), "--ca", str(self.ca)]

    def diagnose_resource(self, name: str, *more: str, identity: Identity = REPORTS) -> Diagnosis:
        """The findings about one of the resources, with a token for the guarded one."""
        known = ["--issuer", self.issuer, "--resource", self.resource()]
        return diagnose(self.resource(name), *known, *self.client(identity), *more)


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Runs until the block ends."""
    port, resource_port = free_ports(2)
    deployment = Deployment(folder, issuer=f"https://localhost:{port}", port=port)
    deployment.trust("default", CLIENT_CA).resource(f"https://localhost:{resource_port}/guarded", "reports:read")
    deployment.client("reports", tls_client_auth_san_dns="reports.example")
    with running(deployment) as server:
        program = Path(__file__).with_name("resource_program.py")
        files = [str(folder / name) for name in ("server-ca.pem", "server.pem", "server-key.pem")]
        command = [sys.executable, str(program), deployment.issuer, str(resource_port), *files]
        with (folder / "resource-log").open("w") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])
        try:
            _wait(child, folder / "resource-log")
            yield Scene(folder, server, resource_port)
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(START_SECONDS)


def _wait(child: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(int(START_SECONDS / 0.05)):
        if "listening" in log.read_text():
            return
        assert child.poll() is None, log.read_text()
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


@dataclass
class OddServer(HTTPSServer):
    """An HTTPS server whose TLS can be bent."""

    maximum: ssl.TLSVersion | None = None
    chain: str | None = None
    """The PEM to send instead of the identity's own."""
    asks: bool = True
    context: ssl.SSLContext = field(init=False)

    def _context(self) -> ssl.SSLContext:
        context = super()._context()
        if self.maximum is not None:
            context.maximum_version = self.maximum
        if not self.asks:
            context.verify_mode = ssl.CERT_NONE
        return context
