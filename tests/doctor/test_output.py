"""How reports are printed, and how the command is used."""

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.authority import dns
from tests.cli.workplace import free_ports
from tests.doctor.odd_servers import OddIssuer
from tests.doctor.scene import CLIENT_CA, Scene, run

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def test_in_a_pipe_there_is_neither_colour_nor_wrapping(place: Scene) -> None:
    """One line for each finding, detail and step, and each command in one line."""
    stranger = CLIENT_CA.issue("a very long name " * 3, san=[dns("a-very-long-name.example")])
    printed = run(place.issuer, *place.client(stranger)).stdout
    assert "\x1b" not in printed
    lines = printed.splitlines()
    assert any(line.startswith("                mtls-as client add --client-id reports") for line in lines)
    assert [line for line in lines if line.startswith("  FAILURE  token ")]
    assert lines[-2:] == ["1 failure, 0 warnings, 21 ok, 0 skipped", "Failed: token/token"]


def test_on_a_terminal_texts_are_wrapped_and_commands_are_not(place: Scene) -> None:
    """At its width, in colour, with the further lines under the first."""
    stranger = CLIENT_CA.issue("a very long name " * 3, san=[dns("a-very-long-name.example")])
    printed = on_terminal([place.issuer, *place.client(stranger)], columns=110)
    assert "\x1b[" in printed
    plain = _ESCAPES.sub("", printed).splitlines()
    commands = [line for line in plain if line.startswith("                mtls-as ")]
    assert [line.endswith("--scope SCOPE") for line in commands if "client add" in line] == [True, True]
    assert max(map(len, commands)) > 110
    assert [line for line in plain if line not in commands and len(line) > 110 and " " in line.strip()] == []


def on_terminal(arguments: list[str], *, columns: int) -> str:
    """What the program prints on a terminal of its own."""
    leader, follower = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "COLORTERM": ""}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "mtls_as.cli", "doctor", *arguments]
    with subprocess.Popen(
        command, stdout=follower, stderr=follower, stdin=subprocess.DEVNULL, env=environment
    ) as child:
        os.close(follower)
        output = io.BytesIO()
        while select.select([leader], [], [], 20)[0]:
            try:
                chunk = os.read(leader, 4096)
            except OSError:
                break
            output.write(chunk)
    os.close(leader)
    assert child.returncode == 1
    return output.getvalue().decode()


def test_texts_of_a_server_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Escape sequences are shown, and not obeyed."""
    with OddIssuer(tmp_path, metadata={"issuer": "https://as.example/\x1b[2J\nforged"}).running() as server:
        certificate, key = CLIENT_CA.issue("x").write(tmp_path, "x")
        server.diagnose()
        printed = run(server.server.url, "--ca", tmp_path / "ca.pem", "--cert", certificate, "--key", key).stdout
    assert "\x1b" not in printed
    assert "\\x1b[2J\\nforged" in printed


def test_the_report_for_machines(place: Scene) -> None:
    """One JSON document on standard output; the exit status says whether something failed."""
    good = run(place.issuer, *place.client(), "--resource", place.resource(), "--json")
    members = json.loads(good.stdout)
    assert (good.exit_code, members["ok"], members["url"], members["issuer"]) == (0, True, place.issuer, place.issuer)
    [port] = free_ports(1)
    bad = run(f"https://localhost:{port}", "--json")
    assert (bad.exit_code, json.loads(bad.stdout)["ok"]) == (1, False)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["as.example"],
        ["ftp://as.example"],
        ["http://as.example"],
        ["http://192.0.2.1"],
        ["https://user@as.example"],
        ["https://as.example", "--issuer", "http://as.example"],
        ["https://as.example", "--cert", "c.pem"],
        ["https://as.example", "--ca", "absent.pem"],
        ["https://as.example", "--timeout", "0"],
    ],
    ids=["nothing", "no scheme", "ftp", "http", "an address", "user", "issuer", "half a pair", "ca", "timeout"],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    """In one line, before anything is looked at."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
