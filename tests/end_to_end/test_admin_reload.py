"""A reload that one worker is asked for over the admin listener: every worker takes it over, and the answer is true."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtls_as.server.endpoints.admin.routes import AdminScope
from tests.authority import Authority, dns
from tests.cli.workplace import Process, Workplace, free_ports
from tests.cli.workplace import running as running_process
from tests.end_to_end.test_reload import Site as TokenSite
from tests.end_to_end.test_reload import children, eventually
from tests.http.administering import ADMINISTRATION
from tests.running import Deployment

AUTHORITY = Authority.create("Partner CA")


class Site:
    def __init__(self, deployment: Deployment, process: Process, admin_port: int) -> None:
        self.deployment = deployment
        self.process = process
        self.workplace = Workplace(deployment.folder, deployment.port, 0)
        operator = AUTHORITY.issue("operator", san=[dns("operator.example")])
        operator.write(deployment.folder, "operator")
        (deployment.folder / "admin.toml").write_text(
            f"""[admin]
server = "https://localhost:{admin_port}"
issuer = "{deployment.issuer}"
client_id = "operator"
certificate = "operator.pem"
private_key = "operator-key.pem"
ca = "server-ca.pem"
"""
        )

    def reload(self) -> tuple[int, dict[str, Any]]:
        """`mtls-as reload --json`: its exit status, and what it printed."""
        result = self.workplace.run("reload", "--server", "admin.toml", "--json")
        assert result.stdout, result.output
        return result.exit_code, json.loads(result.stdout)

    def causes_of_success(self) -> list[str]:
        """Of the reloads in the log."""
        lines = [line for line in self.process.output.splitlines() if line.endswith("}")]
        events = [json.loads(line) for line in lines]
        return [event["cause"] for event in events if (event.get("event"), event["outcome"]) == ("reload", "succeeded")]


@contextmanager
def serving(folder: Path, *, workers: int) -> Iterator[Site]:
    port, admin_port = free_ports(2)
    deployment = Deployment(
        folder, port=port, issuer=f"https://localhost:{port}", workers=workers, admin=True, admin_port=admin_port
    )
    deployment.admin_resource = ADMINISTRATION
    deployment.trust("default", AUTHORITY).resource(ADMINISTRATION, *AdminScope)
    deployment.client("operator", tls_client_auth_san_dns="operator.example", scope=AdminScope.RELOAD)
    deployment.write()
    with running_process("serve", cwd=folder) as process:
        process.wait_until_listening(port)
        eventually(lambda: process.errors.count("start: generation 1 is in force") == workers)
        yield Site(deployment, process, admin_port)
        assert process.end(signal.SIGTERM) == 0, process.errors


@pytest.mark.parametrize("workers", [1, 2])
def test_every_worker_takes_over_what_one_was_asked_for(tmp_path: Path, workers: int) -> None:
    """When the answer is there, all have; a broken file stops at the first, and the answer says why."""
    with serving(tmp_path, workers=workers) as site:
        good = site.deployment.path.read_text()
        site.deployment.path.write_text(good.replace("idle = 20", "idel = 20"))
        status, report = site.reload()
        assert (status, report["outcome"], len(report["processes"])) == (1, "failed", 1)
        assert any('did you mean "idle"?' in problem for problem in report["problems"])
        site.deployment.path.write_text(good)
        site.deployment.client("c1", tls_client_auth_san_dns="late.example").configure()
        status, report = site.reload()
        assert (status, report["outcome"], report["problems"]) == (0, "succeeded", [])
        assert {each["process"] for each in report["processes"]} == pids(site)
        late = AUTHORITY.issue("late", san=[dns("late.example")])
        assert TokenSite(site.deployment, site.process).statuses(late) == {200}, "whichever worker is asked"
        eventually(lambda: site.causes_of_success().count("admin call by operator") == workers)


def test_a_worker_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    """Nor does it stop a reload; the one in its place reads the files when it starts."""
    with serving(tmp_path, workers=2) as site:
        site.deployment.client("c1", tls_client_auth_san_dns="late.example").configure()
        (gone, *_) = children(site.process.child.pid)
        os.kill(gone, signal.SIGKILL)
        eventually(lambda: site.process.errors.count("start: generation 1 is in force") == 3)
        status, report = site.reload()
        assert (status, report["outcome"]) == (0, "succeeded")
        found = {each["process"] for each in report["processes"]}
        assert gone not in found
        assert found == pids(site)


def pids(site: Site) -> set[int]:
    """The processes that serve: the server itself, or those that it started."""
    return set(children(site.process.child.pid)) or {site.process.child.pid}
