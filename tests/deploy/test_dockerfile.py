"""The Dockerfile: clean by hadolint, true to the tree, and what it describes runs without a place to write to."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from mtls_as.cli.application import application
from tests.authority import Authority
from tests.cli.workplace import ROOT
from tests.deploy.image import USER, Machine, hand_over, own_network, owned, require_tool

TEXT = (ROOT / "Dockerfile").read_text()
LINES = [line for line in TEXT.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
CONFIG = """issuer = "https://as.example:8443"
[tls]
certificate = "server.pem"
private_key = "server-key.pem"
[listeners.mtls]
bind = "0.0.0.0:8443"
[listeners.admin]
bind = "127.0.0.1:9443"
[storage]
url = "sqlite:////var/lib/mtls-as/mtls-as.db"
encryption_key_file = "/var/lib/mtls-as/storage.key"
[server]
workers = 2
[trust.default]
anchors = ["ca.pem"]
[[resources]]
identifier = "https://reports.example"
scopes = ["reports:read"]
"""


def instructions(name: str, *, stage: int | None = None) -> list[str]:
    """What follows each instruction of this name, in all stages or in one."""
    _, *stages = re.split(r"^(?=FROM )", "\n".join(LINES), flags=re.MULTILINE)
    lines = LINES if stage is None else stages[stage].splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def image_environment() -> dict[str, str]:
    """What ENV says, with the interpreter of these tests."""
    found = dict(pair.split("=", 1) for pair in shlex.split(" ".join(instructions("ENV", stage=1))))
    return found | {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"}


def commands() -> dict[str, list[str]]:
    """The command lines that an engine runs in the image."""
    entry, default = (json.loads(instructions(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    health = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    return {"start": entry + default, "health": health}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The image with a configuration, and its volumes empty, as an engine makes them."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "config.toml").write_text(CONFIG)
    authority = Authority.create("Server CA")
    authority.write(etc, "ca")
    hand_over(authority.issue_server("as.example").write(etc, "server"))
    volumes = json.loads(instructions("VOLUME")[0])
    written = {where: owned(tmp_path / f"volume{number}") for number, where in enumerate(volumes)}
    tmp_path.chmod(0o755)
    return Machine(folder=tmp_path, environment=image_environment(), files={"/etc/mtls-as": etc}, written=written)


def serves(machine: Machine) -> None:
    """It starts, is healthy by its own check, and ends by SIGTERM."""
    with own_network():
        made = machine.run("mtls-as", "init")
        assert made.returncode == 0, made.stderr
        with machine.running(*commands()["start"]) as server:
            server.wait_for(lambda: machine.run(*commands()["health"]).returncode == 0)
            ids = Path(f"/proc/{server.child.pid}/status").read_text()
            assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in ids
            assert server.end() == 0, server.log.read_text()


def test_hadolint_finds_nothing() -> None:
    found = subprocess.run([require_tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_what_is_copied_is_there_and_nothing_else_reaches_the_build() -> None:
    """`.dockerignore` leaves out everything, and lets in exactly what COPY names."""
    copied = [source for line in instructions("COPY", stage=0) for source in line.split()[:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    assert sorted(rule.removeprefix("!") for rule in rules if rule.startswith("!")) == sorted(copied)


@pytest.mark.parametrize("name", commands())
def test_the_command_line_is_one_of_ours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it means the configuration of the image, by the variable."""
    for variable, value in image_environment().items():
        monkeypatch.setenv(variable, value)
    program, *arguments = commands()[name]
    assert program == "mtls-as"
    _, command, rest = application.resolve_command(click.Context(application), arguments)
    assert command is not None
    assert command.make_context(name, rest).params["config"] == Path("/etc/mtls-as/config.toml")


def test_the_user_is_a_number_and_not_root() -> None:
    assert instructions("USER", stage=1) == [f"{USER}:{USER}"]


def test_no_tag_floats() -> None:
    """Both stages are on one base, of a fixed series."""
    assert instructions("FROM") == ["python:${PYTHON} AS build", "python:${PYTHON}"]
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-\w+", instructions("ARG")[0])


@pytest.mark.slow
def test_it_serves_and_writes_nowhere_but_into_its_volumes(machine: Machine) -> None:
    """With several workers, which meet in files. Everything else is read-only, and the user nobody."""
    serves(machine)


@pytest.mark.slow
def test_without_its_volumes_it_says_what_it_cannot_write(machine: Machine) -> None:
    """The test above would pass as well if the machine could be written to."""
    with own_network():
        said = replace(machine, written={}).run("mtls-as", "init")
    assert said.returncode == 1
    assert "/var/lib/mtls-as" in said.stderr


@pytest.mark.slow
def test_the_steps_of_the_build_make_a_program_that_runs(machine: Machine, tmp_path: Path) -> None:
    """The same commands, on the same files and no others, in another place than /opt."""
    context, venv = tmp_path / "source", tmp_path / "opt" / "mtls-as"
    context.mkdir()
    for line in instructions("COPY", stage=0):
        *sources, _ = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, context / source)
    for step in instructions("RUN", stage=0):
        script = step.replace("/opt/mtls-as", str(venv)).replace("python -m venv", f"{sys.executable} -m venv")
        subprocess.run(["sh", "-ec", script], cwd=context, check=True, timeout=300)
    shutil.rmtree(context)
    environment = image_environment() | {"PATH": f"{venv}/bin:/usr/bin:/bin"}
    serves(replace(machine, environment=environment, venv=venv))
