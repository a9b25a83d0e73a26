"""Measure this server beside a peer and beside what the machine can do at most, and print a table with the goals.

    ./scripts/bench                     all rows, some six minutes
    ./scripts/bench --quick             the same, less exact
    ./scripts/bench --only token-new    one row; --list says which there are

Each contender has one core and the load another. They are asked in turn, in rounds, and medians are compared. Every
answer is judged; a wrong one, an error, or a connection that breaks ends the benchmark with status 1. What is missing
is named, with the command that installs it. See docs/performance.md.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from benchmark import machine, other_rows, report
from benchmark.contenders import Place
from benchmark.failures import BenchmarkError
from benchmark.results import Row
from benchmark.rows import LoadRows, Pace

FULL: Final = Pace(rounds=5, seconds=6, warm_up=5)
QUICK: Final = Pace(rounds=1, seconds=1, warm_up=1)
LOADED: Final = ("token-new", "token-kept", "introspection", "tail", "workers")
OTHERS: Final = ("verify", "memory")
LONG: Final = "scale"
"""Left out unless asked for: a million clients are registered first."""
_NAMES: Final = (*LOADED, *OTHERS, LONG)
_FOREIGN_SHARE: Final = 0.05
"""Of the contender's core: if others have more, the figures are not worth much."""
_IDLE_LOAD: Final = 0.5


def main() -> int:
    """Run the benchmark; the exit status."""
    options = _options()
    if options.list:
        print("\n".join(_NAMES))
        return 0
    try:
        found = report.read(options.table) if options.table else _measure(options)
        print(report.table(found))
        if options.json:
            options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        if options.write_readme:
            report.write_readme(found)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round each")
    parser.add_argument("--only", action="append", choices=_NAMES, help="this row alone; may be repeated")
    parser.add_argument("--scale", action="store_true", help="also a million clients, some twenty minutes")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--table", type=Path, metavar="FILE", help="measure nothing: print the table of such a file")
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> dict[str, object]:
    wanted = (options.only or [*LOADED, *OTHERS]) + ([LONG] if options.scale else [])
    is_loaded = any(name in LOADED for name in wanted)
    machine.require({"taskset", "wrk", "nginx", "node", "npm"} if is_loaded else {"taskset"})
    machine.allow_many_files()
    before = machine.load_average()
    with tempfile.TemporaryDirectory() as folder, Place(Path(folder)) as place:
        rows, foreign = _rows(place, wanted, is_quick=options.quick)
    is_quiet = _judge_noise(before, foreign)
    at = datetime.now(UTC).isoformat(sep=" ", timespec="minutes").replace("+00:00", " UTC")
    return report.document(rows, machine.describe(), at, quiet=is_quiet)


def _rows(place: Place, wanted: Sequence[str], *, is_quick: bool) -> tuple[list[Row], list[float]]:
    """The wanted rows, and what others had of the contender's core meanwhile."""
    loaded = LoadRows(place, QUICK if is_quick else FULL) if any(name in LOADED for name in wanted) else None
    measures: dict[str, Callable[[], list[Row]]] = {
        "verify": partial(other_rows.verification, 1_000 if is_quick else 20_000),
        "memory": partial(other_rows.memory, place, 300 if is_quick else 4_000),
        LONG: partial(other_rows.scale, place, *((1_000, 200) if is_quick else (1_000_000, 6_000))),
    }
    if loaded:
        measures |= {
            "token-new": loaded.token_by_new_connection,
            "token-kept": loaded.token_by_kept_connection,
            "introspection": loaded.introspection,
            "tail": loaded.tail,
            "workers": loaded.workers,
        }
    rows = list[Row]()
    for name in _NAMES:
        if name in wanted:
            print(f"measuring {name}", file=sys.stderr)
            rows += measures[name]()
    return rows, loaded.foreign_shares if loaded else []


def _judge_noise(load_before: float, foreign: Sequence[float]) -> bool:
    """Whether nobody else used the machine, as far as can be told; says so if somebody did."""
    disturbed = sum(share > _FOREIGN_SHARE for share in foreign)
    if load_before > _IDLE_LOAD:
        print(f"bench: warning: the load of the machine was {load_before:.1f} at the beginning", file=sys.stderr)
    if disturbed:
        share = f"{disturbed} of {len(foreign)} runs"
        print(f"bench: warning: in {share} others had more than {_FOREIGN_SHARE:.0%} of the core", file=sys.stderr)
    return load_before <= _IDLE_LOAD and not disturbed


if __name__ == "__main__":
    sys.exit(main())
