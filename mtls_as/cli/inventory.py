"""`mtls-as cert inventory`: every certificate registered or seen, the most urgent first."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.administration import administration
from mtls_as.cli.options import config_option, duration, json_option, server_options
from mtls_as.cli.output import say_listing

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection

EXIT_SOME_END: Final = 3
_MOST: Final = 10_000
_COLUMNS: Final = ("days_left", "role", "client_id", "trust", "subject", "not_after", "last_used", "note")


@click.command(short_help="List every certificate registered or seen, the soonest to end first.")
@click.option(
    "--within",
    callback=duration,
    metavar="TIME",
    help="Only what ends within 12h, 30d or 2w, or has ended: exit status 3 if there is any, else 0 and no output.",
)
@config_option
@server_options
@json_option
@click.pass_context
def inventory(
    ctx: click.Context, within: int | None, config: Path, server: "Connection | None", *, as_json: bool
) -> None:
    """List the server's certificate, trust anchors, registered certificates, and those that clients came with.

    With --within, certificates that nobody needs to care for are left out: those that their client has replaced, and
    those of clients that are disabled or not registered any more. The exit status is 3 if any is left, so that cron can
    tell it from 1, an error. An ended certificate is remembered for 90 days, and one that was replaced for a day.

    \b
    Example:
      mtls-as cert inventory --within 30d
    """
    from mtls_as.server.endpoints.admin.routes import TAKE_INVENTORY

    query = {"limit": str(_MOST)} | ({} if within is None else {"within": str(within)})
    taken = administration(config, server).call(TAKE_INVENTORY, query=query)
    if taken["certificates"] or as_json or within is None:
        say_listing(taken["certificates"], _COLUMNS, as_json=as_json)
    if taken["left_out"]:
        click.echo(f"mtls-as: warning: {taken['left_out']} more, which end later, are left out", err=True)
    if within is not None and taken["certificates"]:
        ctx.exit(EXIT_SOME_END)
