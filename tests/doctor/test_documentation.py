"""`docs/doctor.md` is true: its commands print what it shows, and it names every check."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.doctor.findings import Actor, Place, Status
from mtls_as.doctor.report import VERSION
from tests.cli.workplace import ROOT, Process, Workplace
from tests.docs.test_pki import shows

DOCUMENT = (ROOT / "docs" / "doctor.md").read_text()
EXAMPLES = re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """The servers of `./scripts/run`."""
    workplace = Workplace.make(tmp_path_factory.mktemp("documented"))
    port = workplace.resource_port
    program = [sys.executable, str(ROOT / "scripts" / "demo_resource_server.py")]
    options = {
        "--bind": f"127.0.0.1:{port}", "--identifier": f"https://localhost:{port}", "--issuer": workplace.issuer,
        "--certificate": workplace.path("certs/server.pem"), "--private-key": workplace.path("certs/server-key.pem"),
        "--ca": workplace.path("certs/ca.pem"),
    }  # fmt: skip
    output, errors = Path(workplace.path("output")), Path(workplace.path("errors"))
    command = [*program, *(word for option in options.items() for word in option)]
    with workplace.serving(), output.open("wb") as out, errors.open("wb") as err:
        demo = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT)
        try:
            Process(demo, workplace.folder).wait_until_listening(port)
            yield workplace
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.wait(20)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_command_prints_what_is_shown(running: Workplace, number: int) -> None:
    """To the letter, but for ports, times, thumbprints and versions."""
    line, shown = EXAMPLES[number]
    program, *arguments = shlex.split(at_ports_of(running, line))
    assert program == "mtls-as"
    output = running.run(*arguments).stdout
    assert shows(at_ports_of(running, shown), output), output


def at_ports_of(workplace: Workplace, text: str) -> str:
    return text.replace("8443", str(workplace.port)).replace("8445", str(workplace.resource_port))


def test_every_check_has_its_line() -> None:
    """Those that the code of the checks names, and no other."""
    code = "".join(file.read_text() for file in sorted((ROOT / "mtls_as" / "doctor" / "checks").glob("*.py")))
    table = DOCUMENT.partition("## What it checks")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(re.findall(r"\bCheck\(\s*\"([a-z_.]+)\"", code))


def test_the_form_for_machines_is_as_documented() -> None:
    [text] = re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    shown = json.loads(text)
    assert shown["version"] == VERSION
    assert set(shown["counts"]) == set(Status)
    assert shown["checks"][0]["place"] in set(Place)
    assert shown["checks"][0]["next"][0]["who"] in set(Actor)
    flat = " ".join(DOCUMENT.split())
    for value in (*Place, *Actor, *Status):
        assert f"`{value}`" in flat
