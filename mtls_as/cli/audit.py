"""`mtls-as audit`: what was done, and whether the record of it is whole."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.administration import administration, every
from mtls_as.cli.options import config_option, duration, json_option, server_options
from mtls_as.cli.output import say, say_json, say_listing

if TYPE_CHECKING:
    from mtls_as.cli.remote import Connection

EXIT_DAMAGED: Final = 1
_COLUMNS: Final = ("sequence", "time", "kind", "client_id", "outcome", "what")
_SUMMARY: Final = (
    *("command", "action", "target", "refusal", "token_id", "refused", "lost"),
    *("detail", "version", "count", "cause"),
)


@click.group()
def audit() -> None:
    """List and verify the audit trail: what was done, by all nodes, in one chain."""


@audit.command("list", short_help="List what was recorded.")
@click.option("--since", callback=duration, metavar="TIME", help="Only of the last 45s, 30m, 12h, 30d or 2w.")
@click.option("--client", "client_id", metavar="ID", help="Only what this client did, or what was done to it.")
@click.option("--kind", metavar="KIND", help="Only records such as token, revocation, command, reload, gap or start.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Only the newest so many."
)
@config_option
@server_options
@json_option
def list_(
    since: int | None,
    client_id: str | None,
    kind: str | None,
    limit: int,
    config: Path,
    server: "Connection | None",
    *,
    as_json: bool,
) -> None:
    """List the newest records, the oldest of them first. With --json each has everything that was recorded.

    \b
    Example:
      mtls-as audit list --since 1h --client reports
    """
    from mtls_as.server.endpoints.admin.routes import LIST_AUDIT

    begin = None if since is None else str(max(0, int(time.time() - since)))
    asked = {"since": begin, "client_id": client_id, "kind": kind}
    query = {name: value for name, value in asked.items() if value is not None}
    rows = every(administration(config, server), LIST_AUDIT, "records", query, most=limit)[::-1]
    say_listing(rows if as_json else [_row(members) for members in rows], _COLUMNS, as_json=as_json)


@audit.command(short_help="Find out whether a record was changed, removed or added.")
@click.option("--from", "checkpoint", metavar="CHECKPOINT", help="Begin at what `audit head` printed at some time.")
@config_option
@server_options
@json_option
@click.pass_context
def verify(
    ctx: click.Context, checkpoint: str | None, config: Path, server: "Connection | None", *, as_json: bool
) -> None:
    """Verify the chain of records, from the oldest that is kept to the newest. Exit status 1 if it is damaged, with the
    first record that is not as it was written.

    A checkpoint that was kept elsewhere also shows a database that was put back to an older state as a whole.

    \b
    Example:
      mtls-as audit verify
    """
    from mtls_as.server.audit import Checkpoint, CheckpointError
    from mtls_as.server.endpoints.admin.routes import VERIFY_AUDIT

    try:
        query = {} if checkpoint is None else {"from": str(Checkpoint.parse(checkpoint))}
    except CheckpointError as error:
        raise click.UsageError(f"--from: {error}") from None
    verified = administration(config, server).call(VERIFY_AUDIT, query=query)
    damage = verified["damage"]
    if as_json:
        say_json(verified)
        ctx.exit(0 if damage is None else EXIT_DAMAGED)
    if damage is not None:
        raise click.ClickException(f"the audit trail is damaged at record {damage['sequence']}: {damage['problem']}")
    if verified["records"]:
        say(f"{verified['records']} records, {verified['first']} to {verified['last']}, are as they were written.")
    else:
        say("There are no records to verify.")


@audit.command(short_help="Print a checkpoint, to be kept where nobody can change it.")
@config_option
@server_options
def head(config: Path, server: "Connection | None") -> None:
    """Print the end of the chain as it is now. Kept on another machine, it shows later that nothing before it was
    altered and nothing cut off, even by somebody who has the storage key: give it to `audit verify --from`.

    \b
    Example:
      mtls-as audit head
    """
    from mtls_as.server.endpoints.admin.routes import HEAD_OF_AUDIT

    say(administration(config, server).call(HEAD_OF_AUDIT)["checkpoint"])


def _row(members: dict[str, object]) -> dict[str, object]:
    what = [f"{name} {members[name]}" for name in _SUMMARY if members.get(name) is not None]
    return {**members, "what": ", ".join(what)}
