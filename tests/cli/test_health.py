"""`mtls-as health` asks the server of this machine."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from mtls_as.cli.application import application
from mtls_as.server.signing_keys import SigningKeys
from tests.authority import Authority
from tests.running import Deployment, RunningServer, running


def _deployment(folder: Path) -> Deployment:
    return Deployment(folder, admin=True).trust("default", Authority.create("CA"))


def _health(server: RunningServer, *arguments: str) -> Result:
    """The command, as on the machine of a server whose configuration names its port."""
    config = server.deployment.path
    text = config.read_text().replace(
        '[listeners.admin]\nbind = "127.0.0.1:0"', f'[listeners.admin]\nbind = "127.0.0.1:{server.ports["admin"]}"'
    )
    config.write_text(text)
    return CliRunner().invoke(application, ["health", "--config", str(config), *arguments], prog_name="mtls-as")


def test_a_server_that_can_serve(tmp_path: Path) -> None:
    """Status 0, and a line for each check; or the server's own words as JSON."""
    with running(_deployment(tmp_path)) as server:
        result = _health(server)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "passed  storage: " in result.stdout
        answer = json.loads(_health(server, "--json").stdout)
        assert answer["ready"]


def test_a_server_that_cannot(tmp_path: Path) -> None:
    """Status 1, and which check failed."""
    with running(_deployment(tmp_path)) as server:
        server.node.signing_keys.value = SigningKeys(())
        result = _health(server)
        assert result.exit_code == 1
        assert "FAILED  signing_key: " in result.stdout
        assert result.stderr == "mtls-as: the server cannot serve now\n"


def test_another_server_in_its_place_is_not_believed(tmp_path: Path) -> None:
    """Whoever took the port while the server was away has not its certificate."""
    with running(_deployment(tmp_path)) as server:
        server.deployment.server_authority.issue_server("localhost").write(tmp_path, "server")
        result = _health(server)
        assert result.exit_code == 1
        assert "does not answer: " in result.stderr
        assert "CERTIFICATE_VERIFY_FAILED" in result.stderr


def test_a_server_that_does_not_run(tmp_path: Path) -> None:
    with running(_deployment(tmp_path)) as server:
        pass
    result = _health(server)
    assert result.exit_code == 1
    assert "does not answer: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_an_admin_listener_nobody_can_tell(tmp_path: Path) -> None:
    path = Deployment(tmp_path).trust("default", Authority.create("CA")).write()
    result = CliRunner().invoke(application, ["health", "--config", str(path)], prog_name="mtls-as")
    assert (result.exit_code, result.stderr) == (
        1,
        "mtls-as: the configuration has no [listeners.admin], which is who could tell\n",
    )
