"""What 1,000,000 registered clients cost a server, compared with 10: to start, in memory, and for each token.

    .venv/bin/python scripts/bench_scale.py                          both databases, a million clients
    .venv/bin/python scripts/bench_scale.py --clients 50000 --databases sqlite --json scale.json

Two real servers (`mtls-as serve`, one worker) run on one core; this program, and PostgreSQL, on another. Both are asked
in turn, so that whatever else the machine does meets both. Clients authenticate by the subject, DNS name or URI of
their certificate, or with a certificate or a key that they registered; the same ten are in use at both servers. Every
token is verified after the run: signature, client, and binding to the certificate that asked for it.

A token is measured twice: how long its client waits, and how much of the processor the server takes for it. Memory is
measured after the start and after equal work. At the end `--spread` clients of the many have a token, and their server
has all the clients and certificates in memory that it will ever keep: that tells of use, and has no limit.

Exit status 1 if a ratio is above its limit.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from tests.postgresql import running_postgresql
from tests.scale.contender import LOAD_CORE, Contender, serving
from tests.scale.population import Population

FEW: Final = 10
MiB: Final = 2**20


@dataclass(frozen=True)
class Row:
    """A figure of both servers; with a limit for their ratio, unless it only tells."""

    database: str
    what: str
    unit: str
    few: float
    many: float
    limit: float | None = None

    @property
    def ratio(self) -> float:
        return self.many / self.few

    @property
    def holds(self) -> bool:
        return self.limit is None or self.ratio <= self.limit


def main() -> int:
    """Measure, print, and judge; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=6_000, help="for each server; a third over new connections")
    parser.add_argument("--spread", type=int, default=12_000, help="clients that use the larger server at the end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    rows: list[Row] = []
    say(f"\n| database | what | {FEW} clients | {options.clients:,} clients | ratio | limit |")
    say("|---|---|---|---|---|---|")
    for database in options.databases.split(","):
        for row in measure(database, options):
            rows.append(row)
            say(_line(row))
    if options.json:
        options.json.write_text(json.dumps(_document(rows, options.clients), indent=2) + "\n")
    return 0 if all(row.holds for row in rows) else 1


def measure(database: str, options: argparse.Namespace) -> Iterator[Row]:
    """All figures of one kind of database."""
    spread = min(options.spread, options.clients)
    with tempfile.TemporaryDirectory(prefix="scale-") as name, contextlib.ExitStack() as stack:
        population = Population(active=spread)
        urls = _databases(database, stack)
        few, many = (
            Contender.make(Path(name) / str(count), population, count, storage_url=url)
            for count, url in zip((FEW, options.clients), urls, strict=True)
        )
        yield from _starts(database, few, many, options.starts)
        with serving(few, many):
            yield from _tokens(database, few, many, options.tokens, keep=True)
            yield from _tokens(database, few, many, options.tokens // 3, keep=False)
            yield Row(database, "memory after equal work", "MiB", few.resident / MiB, many.resident / MiB, 1.2)
            yield from _spread(database, few, many, spread)


def _databases(kind: str, stack: contextlib.ExitStack) -> tuple[str, str]:
    if kind == "sqlite":
        return "sqlite:///test.db", "sqlite:///test.db"
    server = stack.enter_context(running_postgresql())
    few, many = (stack.enter_context(server.database()) for _ in range(2))
    return few, many


def _starts(database: str, few: Contender, many: Contender, times: int) -> Iterator[Row]:
    """Starting, the memory then, and the first token of each client, which nobody there knows yet."""
    both = (few, many)
    seconds: dict[str, list[float]] = {each.title: [] for each in both}
    memory: dict[str, list[float]] = {each.title: [] for each in both}
    first: dict[str, list[float]] = {each.title: [] for each in both}
    for turn in range(times):
        for each in _in_turn(both, turn):
            seconds[each.title].append(each.start())
            try:
                memory[each.title].append(each.resident)
                _fetch(each, 0, times=1)  # nothing else is to be done for the first time
                first[each.title] += [_fetch(each, number, times=1) for number in range(1, FEW)]
            finally:
                each.stop()
    a, b = few.title, many.title
    yield Row(database, "start", "s", median(seconds[a]), median(seconds[b]), 1.2)
    yield Row(database, "memory after the start", "MiB", median(memory[a]) / MiB, median(memory[b]) / MiB, 1.2)
    yield Row(database, "a client's first token", "ms", median(first[a]) * 1e3, median(first[b]) * 1e3, 1.2)


def _fetch(contender: Contender, number: int, *, times: int) -> float:
    connection = contender.connect(number)
    try:
        return median([connection.fetch() for _ in range(times)])
    finally:
        connection.close()


def _tokens(database: str, few: Contender, many: Contender, count: int, *, keep: bool) -> Iterator[Row]:
    """Tokens of the clients that both have, in short turns: each client twice at one server, then at the other."""
    both = (few, many)
    latency: dict[str, list[float]] = {each.title: [] for each in both}
    work: dict[str, list[float]] = {each.title: [] for each in both}
    connections = {each.title: [each.connect(number) for number in range(FEW)] for each in both}
    turns = max(1, count // (FEW * 2))
    for turn in range(-10, turns):  # the first ones fill caches
        for each in _in_turn(both, turn):
            began, times = each.processor_time, []
            for _ in range(2):
                for connection in connections[each.title]:
                    times.append(connection.fetch())
                    if not keep:
                        connection.close()
            if turn >= 0:
                latency[each.title] += times
                work[each.title].append((each.processor_time - began) / len(times))
    for each in both:
        for connection in connections[each.title]:
            connection.close()
        each.check_tokens()
    a, b = few.title, many.title
    kind = "kept-alive" if keep else "new connection"
    yield Row(database, f"token, {kind}: wait", "µs", median(latency[a]) * 1e6, median(latency[b]) * 1e6, 1.2)
    yield Row(database, f"token, {kind}: processor", "µs", median(work[a]) * 1e6, median(work[b]) * 1e6, 1.1)


def _spread(database: str, few: Contender, many: Contender, spread: int) -> Iterator[Row]:
    """Many clients, each over a connection of its own: the first token of each, then those that are known by then."""
    first: dict[str, float] = {}
    for contender, numbers in ((few, [n % FEW for n in range(spread)]), (many, range(spread))):
        began = contender.processor_time
        times = [_fetch(contender, number, times=1) for number in numbers]
        first[contender.title] = median(times) * 1e6
        first[f"{contender.title} work"] = (contender.processor_time - began) / spread * 1e6
        contender.check_tokens()
    a, b = few.title, many.title
    yield Row(database, "first token of each of many: wait", "µs", first[a], first[b])
    yield Row(database, "first token of each of many: processor", "µs", first[f"{a} work"], first[f"{b} work"])
    again: dict[str, list[float]] = {a: [], b: []}
    for number in range(spread - min(2_000, spread), spread):
        for each in _in_turn((few, many), number):
            again[each.title].append(_fetch(each, number % FEW if each is few else number, times=1))
    yield Row(
        database, "known of many, new connection: wait", "µs", median(again[a]) * 1e6, median(again[b]) * 1e6, 1.2
    )
    yield Row(database, "memory after all of these", "MiB", few.resident / MiB, many.resident / MiB)
    for each in (few, many):
        each.check_tokens()


def _in_turn(both: Sequence[Contender], turn: int) -> Sequence[Contender]:
    return both if turn % 2 else both[::-1]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _line(row: Row) -> str:
    limit = "" if row.limit is None else f"{row.limit}{'' if row.holds else ' **missed**'}"
    values = (f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in (row.few, row.many))
    few, many = (f"{value} {row.unit}" for value in values)
    return f"| {row.database} | {row.what} | {few} | {many} | {row.ratio:.2f} | {limit} |"


def _document(rows: Sequence[Row], clients: int) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()},
        "clients": [FEW, clients],
        "figures": [asdict(row) | {"ratio": round(row.ratio, 3), "holds": row.holds} for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
