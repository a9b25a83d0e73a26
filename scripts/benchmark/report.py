"""The table, as Markdown and as JSON; and its place in README.md."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmark.contenders import HERE_NAME, LIMIT_NAME, PEER_NAME, ROOT
from benchmark.failures import BenchmarkError
from benchmark.results import Goal, Row

README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- benchmark: written by ./scripts/bench --write-readme -->"
END: Final = "<!-- end of benchmark -->"
_HEAD: Final = "| | here | peer: node-oidc-provider | limit | compared | goal | |\n|---|---|---|---|---|---|---|"


def document(rows: Sequence[Row], machine: dict[str, str | int], measured_at: str, *, quiet: bool) -> dict[str, Any]:
    """All that was measured, for JSON."""
    described = [dataclasses.asdict(row) for row in rows]
    return {"measured_at": measured_at, "machine": machine, "quiet": quiet, "rows": described}


def table(found: dict[str, Any]) -> str:
    """The table of a document, with the machine and the time below it."""
    lines = [_line(row) for row in found["rows"]]
    machine = found["machine"]
    where = f"{machine['cores']} cores of {machine['processor']}, {machine['system']}, Python {machine['python']}"
    noise = "" if found["quiet"] else " Others were using the machine."
    return "\n".join(
        [
            _HEAD,
            *lines,
            "",
            f"Measured {found['measured_at']} on {where}. Microseconds are processor time of the server.{noise}",
        ]
    )


def write_readme(found: dict[str, Any], readme: Path = README) -> None:
    """Put the table between its marks."""
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{readme} has no place for the table: {BEGIN} … {END}")
    readme.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}")


def read(file: Path) -> dict[str, Any]:
    """A document that was written before."""
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _line(row: dict[str, Any]) -> str:
    goals = [Goal(**goal) for goal in row["goals"]]
    cells = [
        row["title"],
        *(row["figures"].get(name, "") for name in (HERE_NAME, PEER_NAME, LIMIT_NAME)),
        ", ".join(map(str, goals)),
        ", ".join(goal.wanted for goal in goals),
        "reached" if all(goal.is_reached for goal in goals) else "**missed**",
    ]
    return f"| {' | '.join(cells)} |"
