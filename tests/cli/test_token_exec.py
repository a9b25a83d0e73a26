"""`mtls-as token --exec`: commands that get a token, and the credential plugin of kubectl."""

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mtls_as.cli.application import application
from tests.authority import Authority
from tests.client.resource_server import BoundServer

CA = Authority.create("Client CA")
OLD, NEW = CA.issue("reports"), CA.issue("reports")
INFO = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {"interactive": False}}

DAMAGED = b'{"value": 1, "scope": null, "expires_at": 1e12, "refresh_at": 1e12}'


@dataclass
class Shell:
    """Runs the command in this process; one that becomes another command, in a process of its own."""

    server: BoundServer
    folder: Path

    def __post_init__(self) -> None:
        OLD.write(self.folder, "client")
        self.server.write_ca(self.folder)

    def arguments(self, *more: str) -> list[str]:
        own = ("--cert", "client.pem", "--key", "client-key.pem", "--ca", "server-ca.pem")
        return ["token", "--issuer", self.server.url, "--client-id", "reports", *own, *more]

    def run(self, *more: str, info: str | None = None) -> Result:
        with contextlib.chdir(self.folder):
            environment = {"KUBERNETES_EXEC_INFO": info}
            return CliRunner().invoke(application, self.arguments(*more), env=environment, prog_name="mtls-as")

    def told(self, *more: str, info: str | None = None) -> str:
        done = self.run(*more, info=info)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout

    def refused(self, *more: str, status: int, info: str | None = None) -> str:
        done = self.run(*more, info=info)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.output
        return done.stderr

    def process(self, *more: str, environment: dict[str, str] | None = None, **options: Any) -> Any:
        command = [sys.executable, "-m", "mtls_as.cli", *self.arguments("--exec", *more)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ACCESS_")}
        options |= {"cwd": self.folder, "env": inherited | (environment or {})}
        return subprocess.run(command, capture_output=True, text=True, timeout=30, **options)

    def printed(self, *more: str, **options: Any) -> str:
        done = self.process(*more, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return str(done.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with BoundServer(CA) as server:
        yield Shell(server, tmp_path)


class TestCommands:
    def test_in_the_environment(self, shell: Shell) -> None:
        """One that stood there before is not handed on."""
        told = shell.printed("--", "sh", "-c", 'echo "$ACCESS_TOKEN"; echo "${ACCESS_TOKEN_FILE-none}"',
                          environment={"ACCESS_TOKEN": "other", "ACCESS_TOKEN_FILE": "other"})  # fmt: skip
        assert told.startswith("token-1.")
        assert told.endswith("\nnone\n")

    def test_on_standard_input(self, shell: Shell) -> None:
        """A line, and the end; nothing in the environment."""
        told = shell.printed(
            "--in",
            "stdin",
            "--",
            "sh",
            "-c",
            'cat; echo "${ACCESS_TOKEN-none}"',
            input="what was there before",
        )
        assert told.startswith("token-1.")
        assert told.splitlines()[1:] == ["none"]

    def test_in_a_file_without_a_name(self, shell: Shell) -> None:
        """Which can be read more than once, and is on no disk."""
        told = shell.printed(
            "--in", "file", "--", "sh", "-c",
            'cat "$ACCESS_TOKEN_FILE" "$ACCESS_TOKEN_FILE"; echo "$ACCESS_TOKEN_FILE ${ACCESS_TOKEN-none}"',
        )  # fmt: skip
        first, second, place = told.splitlines()
        assert first == second
        assert first.startswith("token-1.")
        assert place.startswith("/dev/fd/")
        assert place.endswith(" none")
        assert sorted(path.name for path in shell.folder.iterdir()) == ["client-key.pem", "client.pem", "server-ca.pem"]

    def test_nobody_sees_it_among_the_arguments(self, shell: Shell) -> None:
        told = shell.printed("--", "sh", "-c", "tr '\\0' ' ' < /proc/$$/cmdline")
        assert "token-" not in told

    def test_options_of_the_command_are_its_own(self, shell: Shell) -> None:
        assert shell.printed("--", "printf", "%s", "--json") == "--json"

    def test_its_exit_status_is_that_of_the_command(self, shell: Shell) -> None:
        assert shell.process("--", "sh", "-c", "exit 7").returncode == 7

    def test_without_a_token_nothing_runs(self, shell: Shell) -> None:
        shell.server.down = True
        done = shell.process("--", "echo", "run")
        assert (done.returncode, done.stdout, "503" in done.stderr) == (1, "", True)

    def test_a_command_that_is_not_there(self, shell: Shell) -> None:
        done = shell.process("--", "absent-command")
        assert (done.returncode, done.stderr) == (1, "mtls-as: absent-command: No such file or directory\n")

    @pytest.mark.parametrize(
        "arguments",
        [("echo",), ("--exec",), ("--in", "env"), ("--exec", "--in", "file"), ("--with-certificate",),
         ("--exec", "--with-certificate", "--", "true"), ("--exec", "--in", "argument", "--", "true")],
        ids=" ".join,
    )  # fmt: skip
    def test_wrong_usage(self, shell: Shell, arguments: tuple[str, ...]) -> None:
        shell.refused(*arguments, status=2)
        assert shell.server.tokens == 0


class TestKubectl:
    def ask(self, shell: Shell, *arguments: str, **info: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(shell.told("--exec", *arguments, info=json.dumps(INFO | info)))
        return answer

    @pytest.mark.parametrize("version", ["v1", "v1beta1"])
    def test_the_answer(self, shell: Shell, version: str) -> None:
        """In the version that was asked for; kubectl asks again before the token ends."""
        asked = f"client.authentication.k8s.io/{version}"
        answer = self.ask(shell, apiVersion=asked)
        status = answer.pop("status")
        assert answer == {"apiVersion": asked, "kind": "ExecCredential"}
        assert status.keys() == {"token", "expirationTimestamp"}
        assert status["token"].startswith("token-1.")
        ends = datetime.strptime(status["expirationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert 200 < ends.timestamp() - datetime.now(UTC).timestamp() < 271

    def test_with_the_certificate(self, shell: Shell) -> None:
        """Which kubectl then presents to the API server, as the token wants it."""
        status = self.ask(shell, "--with-certificate")["status"]
        assert (status["clientCertificateData"], status["clientKeyData"]) == (OLD.chain_pem, OLD.key_pem)

    @pytest.mark.parametrize(
        "info",
        ["", "junk", "[]", "{}", json.dumps(INFO | {"kind": "Pod"}), json.dumps(INFO | {"apiVersion": "v2"})],
        ids=["empty", "junk", "a list", "nothing", "another kind", "another version"],
    )
    def test_questions_that_are_not_understood(self, shell: Shell, info: str) -> None:
        told = shell.refused("--exec", info=info, status=1)
        assert "KUBERNETES_EXEC_INFO" in told
        assert shell.server.tokens == 0

    def test_a_command_comes_first(self, shell: Shell) -> None:
        told = shell.printed("--", "echo", "run", environment={"KUBERNETES_EXEC_INFO": json.dumps(INFO)})
        assert told == "run\n"


class TestCache:
    def test_a_token_is_used_again(self, shell: Shell) -> None:
        """By the same certificate, for the same scope; the folder and its files are the owner's alone."""
        first = shell.told("--cache", "cache/tokens")
        assert shell.told("--cache", "cache/tokens") == first
        assert shell.told("--cache", "cache/tokens", "--scope", "a") != first
        NEW.write(shell.folder, "client")
        assert shell.told("--cache", "cache/tokens") != first
        assert shell.server.tokens == 3
        folder = shell.folder / "cache" / "tokens"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}

    def test_not_without_being_asked(self, shell: Shell) -> None:
        assert shell.told() != shell.told()

    def test_tokens_that_have_ended_are_dropped(self, shell: Shell) -> None:
        shell.server.lifetime = 1
        shell.told("--cache", "cache")
        (old,) = (shell.folder / "cache").iterdir()
        os.utime(old, (1, 1))
        shell.told("--cache", "cache", "--scope", "a")
        assert old not in list((shell.folder / "cache").iterdir())

    @pytest.mark.parametrize("content", [b"", b"junk", b"{}", b"[]", b'{"value": 1}', b"\xff", DAMAGED])
    def test_a_damaged_file_is_written_anew(self, shell: Shell, content: bytes) -> None:
        first = shell.told("--cache", "cache")
        (file,) = (shell.folder / "cache").iterdir()
        file.write_bytes(content)
        assert shell.told("--cache", "cache") != first

    def test_a_folder_that_others_may_enter(self, shell: Shell) -> None:
        folder = shell.folder / "cache"
        folder.mkdir(mode=0o755)
        assert "nobody else" in shell.refused("--cache", "cache", status=1)
        folder.rmdir()
        folder.symlink_to(shell.folder / "elsewhere")
        (shell.folder / "elsewhere").mkdir(mode=0o700)
        shell.refused("--cache", "cache", status=1)

    def test_a_file_that_others_may_read(self, shell: Shell) -> None:
        shell.told("--cache", "cache")
        (file,) = (shell.folder / "cache").iterdir()
        file.chmod(0o644)
        assert "nobody else" in shell.refused("--cache", "cache", status=1)
        file.unlink()
        file.symlink_to(shell.folder / "client.pem")
        shell.refused("--cache", "cache", status=1)
