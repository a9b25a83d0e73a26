"""How commands print: tables for people on a terminal, tab-separated lines elsewhere, JSON on request.

Everything printed may come from a hostile certificate or server, so what could steer a terminal is escaped.
"""

import json
import sys
from collections.abc import Mapping, Sequence

import click

from mtls_as.rfc.rfc3339_time import format_time

__all__ = ["format_time", "printable", "say", "say_json", "say_listing", "say_table"]


def printable(text: str) -> str:
    """The text with every control or invisible character escaped, so that it can neither colour nor forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str = "") -> None:
    """Print one line."""
    click.echo(printable(text))


def say_json(value: object) -> None:
    """Print a value as JSON, indented; escapes are JSON's own."""
    click.echo(json.dumps(value, indent=2))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns: a table on a terminal, else a header and lines of tab-separated values."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    for line in (columns, *cells):
        click.echo("\t".join(line))


def say_listing(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a listing: all members of each row as JSON, or the named columns as a table."""
    if as_json:
        say_json(list(rows))
    else:
        say_table(columns, [[_cell(row.get(column)) for column in columns] for row in rows])


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
