"""How a report of the doctor is printed: in colour and wrapped on a terminal, plain and unwrapped elsewhere.

Lines to copy are never wrapped. All texts may come from a hostile server, so what could steer a terminal is escaped.
"""

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Final

from mtls_as.cli.output import printable
from mtls_as.doctor.checks.words import count
from mtls_as.doctor.findings import Finding, Place, Status, Step
from mtls_as.doctor.report import Report

if TYPE_CHECKING:
    from rich.console import Console

_WORDS: Final = {
    Status.OK: ("ok", "green"),
    Status.WARNING: ("warning", "yellow"),
    Status.FAILURE: ("FAILURE", "bold red"),
    Status.SKIPPED: ("skipped", "dim"),
}
_TITLES: Final = {
    Place.OWN: "Your certificate",
    Place.ISSUER: "The authorization server",
    Place.TOKEN_ENDPOINT: "Its token endpoint",
    Place.TOKEN: "The token",
    Place.RESOURCE: "The resource",
}
_STATUS_WIDTH: Final = 9
_ID_WIDTH: Final = 29
_DETAIL: Final = " " * (2 + _STATUS_WIDTH)
_STEP: Final = f"{_DETAIL}-> "
_LINE: Final = f"{_DETAIL}     "
_MIN_WIDTH: Final = 60


def say_report(report: Report) -> None:
    """Print it on standard output."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for place, findings in groupby(report.findings, key=lambda finding: finding.place):
        _print(console, _title(report, place), "", "bold")
        for finding in findings:
            _say_finding(console, finding)
        _print(console, "", "", "")
    _say_summary(console, report)


def _title(report: Report, place: Place) -> str:
    server = report.seen.server(place)
    return f"{_TITLES[place]}: {server.url}" if server is not None else _TITLES[place]


def _say_finding(console: "Console", finding: Finding) -> None:
    word, style = _WORDS[finding.status]
    start = f"  {word:{_STATUS_WIDTH}}{finding.id:{_ID_WIDTH}}"
    _print(console, finding.seen, start, style if finding.status is not Status.OK else "", styled=(word, style))
    for detail in finding.details:
        _print(console, detail, _DETAIL, "dim")
    for step in finding.steps:
        _say_step(console, step)


def _say_step(console: "Console", step: Step) -> None:
    _print(console, f"{step.who}: {step.what}", _STEP, "")
    for line in step.lines:
        _print(console, line, _LINE, "bold", wraps=False)


def _say_summary(console: "Console", report: Report) -> None:
    counts = report.counts()
    told = f"{count(counts[Status.FAILURE], 'failure')}, {count(counts[Status.WARNING], 'warning')}, "
    told += f"{counts[Status.OK]} ok, {counts[Status.SKIPPED]} skipped"
    _print(console, told, "", "bold red" if not report.is_good else "bold green")
    failed = [f"{finding.place}/{finding.id}" for finding in report.findings if finding.status is Status.FAILURE]
    if failed:
        _print(console, ", ".join(failed), "Failed: ", "")


def _print(
    console: "Console", text: str, start: str, style: str, *, styled: tuple[str, str] | None = None, wraps: bool = True
) -> None:
    """One paragraph after its start, under which its further lines stand."""
    from rich.text import Text

    lines = [printable(text)]
    if wraps and console.is_terminal:
        width = max(console.width, _MIN_WIDTH) - len(start)
        lines = textwrap.wrap(lines[0], width, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        shown = Text(start if number == 0 else " " * len(start))
        if styled is not None and number == 0:
            shown.highlight_words([styled[0]], styled[1])
        shown.append(line, style=style or None)
        console.print(shown, soft_wrap=True)
