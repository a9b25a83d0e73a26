"""`mtls-as reload`: a running server takes over what its configuration and files say now."""

from typing import TYPE_CHECKING

import click

from mtls_as.cli.options import json_option, server_options
from mtls_as.cli.output import printable, say, say_json

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection


@click.command(short_help="Have a running server reload its configuration and files.")
@server_options
@json_option
@click.pass_context
def reload(ctx: click.Context, server: "Connection | None", *, as_json: bool) -> None:
    """Have every process of a running server take over what its configuration and the files it names say now.

    The exit status is 1 unless all of them have; what cannot be taken over leaves them as they were. On the server's
    own machine SIGHUP does the same, and tells in the log what became of it.

    \b
    Example:
      mtls-as reload --server admin.toml
    """
    from mtls_as.server.endpoints.admin.routes import RELOAD

    if server is None:
        raise click.UsageError("Missing option '--server'.")
    report = server.call(RELOAD)
    if as_json:
        say_json(report)
    elif report["outcome"] == "succeeded":
        count = len(report["processes"])
        say(f"Generation {report['generation']} is in force, in {count} process{'es' if count > 1 else ''}.")
    else:
        for problem in report["problems"]:
            click.echo(f"mtls-as: {printable(problem)}", err=True)
        for each in report["processes"]:
            if each["outcome"] == "incomplete":
                click.echo(f"mtls-as: the process {each['process']} has not told yet what became of it", err=True)
    if report["outcome"] != "succeeded":
        ctx.exit(1)
