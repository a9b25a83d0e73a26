"""Options that several commands share."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

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
    envvar="MTLS_AS_CONFIG",
    show_envvar=True,
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


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that can be given to a running server: they come as one argument, `server`.

    It is the connection to that server, or None without `--server`.
    """

    @functools.wraps(command)
    def connected(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - whatever the command takes and gives
        from mtls_as.cli.remote import connection

        options = {name: given.pop(f"server_{name}") for name in _SERVER_OPTIONS}
        server = given.pop("server")
        if server is None and (option := next((n for n, value in options.items() if value is not None), None)):
            raise click.UsageError(f"{_SERVER_OPTIONS[option]} goes with --server.")
        return command(*args, server=None if server is None else connection(server, **options), **given)

    file = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option(
                "--server",
                envvar="MTLS_AS_SERVER",
                show_envvar=True,
                metavar="URL",
                help="Ask a running server: its admin listener, or a profile.",
            ),
            click.option("--issuer", "server_issuer", metavar="URL", help="With --server: who issues the token."),
            click.option("--as", "server_client_id", metavar="ID", help="With --server: the client to be."),
            click.option("--cert", "server_certificate", type=file, metavar="FILE", help="Its certificate chain, PEM."),
            click.option("--key", "server_private_key", type=file, metavar="FILE", help="Its private key, PEM."),
            click.option("--ca", "server_ca", type=file, metavar="FILE", help="The CAs to trust for the server, PEM."),
        )
    ):
        connected = option(connected)
    return connected


_SERVER_OPTIONS: Final = {
    "issuer": "--issuer",
    "client_id": "--as",
    "certificate": "--cert",
    "private_key": "--key",
    "ca": "--ca",
}
