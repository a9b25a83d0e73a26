"""Options that several commands share."""

import re
from pathlib import Path
from typing import Final

import click

DEFAULT_CONFIG: Final = Path("config.toml")

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """The callback of an option that takes a time such as `30m`, `12h`, `30d` or `2w`; in seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,4})([smhdw])", value)
    if match is None:
        raise click.BadParameter(f"{value} is not a duration such as 30m, 12h, 30d or 2w")
    return int(match[1]) * _UNITS[match[2]]


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    metavar="FILE",
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ca_option = click.option(
    "--ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PEM file with the CAs to trust for the server's certificate; else the system's.",
)
