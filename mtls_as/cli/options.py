"""Options that several commands share."""

from pathlib import Path
from typing import Final

import click

DEFAULT_CONFIG: Final = Path("config.toml")

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
