"""The README is true: its commands do what it shows, its tables name what there is, its code stands in tested files."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from mtls_as.cli.application import application
from mtls_as.config.document import Document
from mtls_as.server.clients import CLIENT_MEMBERS
from tests.cli.workplace import ROOT, free_ports
from tests.programs import require_program

README = (ROOT / "README.md").read_text()
START_SECONDS = 60.0

# What other tests run, and what runs already while the commands of the README are tried.
RUN_ELSEWHERE = {
    "./scripts/run": "serves in the background of this test; tests/cli/test_scripts.py runs it with --check",
    "./scripts/test": "runs this test",
    "mtls-as serve": "serves in the background of this test",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of the README."""

    language: str
    text: str


def blocks() -> list[Block]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in fences]


@dataclass(frozen=True)
class Command:
    """A command line, and the output that the README shows for it; `…` stands for anything."""

    line: str
    shown: str

    @property
    def is_refused(self) -> bool:
        return self.shown.startswith("mtls-as: ")

    def shows(self, output: str) -> bool:
        pattern = ".*".join(re.escape(part) for part in self.shown.strip().split("…"))
        return not self.shown.strip() or re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def commands(block: Block) -> Iterator[Command]:
    """`$ ` begins a command in a console block; every line of a sh block is one."""
    if block.language == "sh":
        for line in block.text.splitlines():
            yield Command(line.partition("#")[0].strip(), "")
    elif block.language == "console":
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            yield Command(line, shown)


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    return dict(zip(("8443", "8445", "8446"), map(str, free_ports(3)), strict=True))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, str]) -> Iterator[Path]:
    """A folder like a clone in which `./scripts/run` serves, only on other ports."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "config.toml").write_text(replace_all((ROOT / "config.toml").read_text(), ports))
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "docs").symlink_to(ROOT / "docs")
    command = [sys.executable, str(ROOT / "scripts" / "exchange.py"), "--config", str(folder / "config.toml")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for_line(server, folder / "log", "keep serving")
        shutil.copy(folder / "certs" / "other-ca.pem", folder / "certs" / "partner-ca.pem")
        yield folder
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def wait_for_line(server: subprocess.Popen[bytes], log: Path, text: str) -> None:
    for _ in range(int(START_SECONDS * 5)):
        if text in log.read_text():
            return
        try:
            server.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(log.read_text())


def test_every_command_does_what_is_shown(clone: Path, ports: dict[str, str]) -> None:
    """One shell runs them all in their order, as a reader would; TOML goes into the configuration."""
    for program in ("bash", "curl", "openssl"):
        require_program(program)
    script, expected = ["cd " + str(clone)], []
    for block in blocks():
        if block.language == "toml":
            script.append(f"cat >> config.toml <<'END'\n{block.text}END")
        for command in commands(block):
            if command.line not in RUN_ELSEWHERE:
                script.append(f"{{ {command.line}\n}} 2>&1; printf '\\x1e%s\\x1e' $?")
                expected.append(command)
    done = subprocess.run(
        ["bash", "-s"],
        input=replace_all("\n".join(script), ports),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(clone)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    results = done.stdout.split("\x1e")[:-1]
    assert len(results) == 2 * len(expected), done.stderr
    restore = {port: shown for shown, port in ports.items()}
    for command, output, status in zip(expected, results[::2], results[1::2], strict=True):
        assert command.shows(replace_all(output, restore)), f"{command.line}\n{output}"
        assert (status != "0") == command.is_refused, f"{command.line}\n{output}"
    assert len(expected) > 15


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in blocks()} == {"", "console", "sh", "toml", "python"}


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "python"])
def test_code_is_taken_from_a_tested_example(block: Block) -> None:
    examples = [file.read_text() for file in (ROOT / "docs" / "examples").glob("*.py")]
    assert any(block.text in example for example in examples)


def test_the_example_client_gets_its_reports(clone: Path, ports: dict[str, str]) -> None:
    environment = {"ISSUER": f"https://localhost:{ports['8443']}", "RESOURCE": f"https://localhost:{ports['8445']}"}
    command = [sys.executable, str(ROOT / "docs" / "examples" / "client.py")]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "'reports': ['Q1', 'Q2']" in done.stdout


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading."""
    section = README.split(f"\n### {heading}\n", 1)[1]
    rows = [line.strip("|").split("|") for line in section.partition("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row] for row in rows[2:]]


def keys(struct: Any, place: str = "") -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    """Every key of the configuration, as the README writes them."""
    for field in msgspec.structs.fields(struct):
        inner = struct_in(field.type)
        if inner is None:
            if field.name != "clients":
                yield place + field.name, field
        elif "dict" in str(field.type):
            yield from keys(inner, f"{place}{field.name}.NAME.")
        elif "list" in str(field.type):
            yield from keys(inner, f"{place}{field.name}[].")
        else:
            yield from keys(inner, f"{place}{field.name}.")


def struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """The table behind an annotation, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((found for found in map(struct_in, arguments) if found is not None), None)


def test_the_configuration_table_names_every_key() -> None:
    documented = [row[0] for row in table("Configuration")]
    assert len(documented) == len(set(documented))
    assert set(documented) == {name for name, _ in keys(Document)} | {f"clients[].{name}" for name in CLIENT_MEMBERS}


def test_the_configuration_table_gives_every_default() -> None:
    documented = {row[0]: row[1] for row in table("Configuration")}
    for name, field in keys(Document):
        if field.required:
            # These listeners as a whole are optional, and then need a bind.
            optional = name in {"listeners.public.bind", "listeners.admin.bind", "listeners.proxy.bind"}
            absent = "no HSM" if name.startswith("keys.pkcs11.") else "no such listener" if optional else "required"
            assert documented[name] == absent, name
        elif field.default is not msgspec.NODEFAULT and field.default is not None:
            assert documented[name] == toml(field.default), name


def toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case _:
            return f"{value:g}"


def test_the_command_table_names_every_command_in_its_own_words() -> None:
    documented = {row[0]: row[1] for row in table("Command line")}
    actual = dict(walk(application, "mtls-as"))
    assert documented.keys() == actual.keys()
    assert {name: text for name, text in documented.items() if text != actual[name]} == {}


def walk(group: click.Group, path: str) -> Iterator[tuple[str, str]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command.get_short_help_str(limit=200)


def replace_all(text: str, replacements: dict[str, str]) -> str:
    pattern = "|".join(map(re.escape, replacements))
    return re.sub(pattern, lambda match: replacements[match[0]], text)
