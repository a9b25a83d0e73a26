"""`docs/standards.md` points at code and tests that exist, and covers every item of the lists it says it covers."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "standards.md"
REFERENCE = re.compile(r"`([\w/.]+\.py):([\w.]+)`")

LINES = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ") and "---" not in line]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]
RULES = [row for row in ROWS if row[0] != "§"]


@cache
def names_in(file: Path) -> frozenset[str]:
    """Everything that a module defines: functions, classes, constants, and `Class.member`."""
    names = set[str]()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    names.add(prefix + node.name)
                case ast.ClassDef():
                    names.add(prefix + node.name)
                    collect(node.body, f"{prefix}{node.name}.")
                case ast.Assign():
                    names.update(prefix + target.id for target in node.targets if isinstance(target, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(prefix + name)

    collect(ast.parse(file.read_text()).body, "")
    return frozenset(names)


def test_the_document_has_rules() -> None:
    assert len(RULES) > 80


@pytest.mark.parametrize("row", RULES, ids=lambda row: f"{row[0]} {row[1][:60]}")
def test_every_rule_names_code_and_a_test_that_exist(row: list[str]) -> None:
    """Four cells: section, rule, code, test; each reference resolves."""
    section, rule, code, test = row
    assert section.startswith("§")
    assert rule
    for base, cell in ((ROOT / "mtls_as", code), (ROOT / "tests", test)):
        references = REFERENCE.findall(cell)
        assert references, f"no reference in {cell!r}"
        assert REFERENCE.sub("", cell).strip(" ,") == "", f"more than references in {cell!r}"
        for path, name in references:
            assert name in names_in(base / path), f"{path} has no {name}"
