"""`mtls-as audit`: what was done, and whether the record of it is whole."""

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.options import config_option, duration, json_option
from mtls_as.cli.output import format_time, say, say_json, say_listing

if TYPE_CHECKING:
    from mtls_as.config import Settings
    from mtls_as.server.audit import AuditRecord, Checkpoint
    from mtls_as.server.audit_verification import Verified

EXIT_DAMAGED: Final = 1
_COLUMNS: Final = ("sequence", "time", "kind", "client_id", "outcome", "what")
_SUMMARY: Final = ("command", "action", "refusal", "token_id", "refused", "lost", "detail", "version", "count", "cause")


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
@json_option
def list_(
    since: int | None, client_id: str | None, kind: str | None, limit: int, config: Path, *, as_json: bool
) -> None:
    """List the newest records, the oldest of them first. With --json each has everything that was recorded.

    \b
    Example:
      mtls-as audit list --since 1h --client reports
    """
    from mtls_as.config import load_settings

    begin = None if since is None else time.time() - since
    found = asyncio.run(_list(load_settings(config), begin, client_id, kind, limit))
    rows = [_members(record) for record in reversed(found)]
    say_listing(rows if as_json else [_row(members) for members in rows], _COLUMNS, as_json=as_json)


@audit.command(short_help="Find out whether a record was changed, removed or added.")
@click.option("--from", "checkpoint", metavar="CHECKPOINT", help="Begin at what `audit head` printed at some time.")
@config_option
@json_option
@click.pass_context
def verify(ctx: click.Context, checkpoint: str | None, config: Path, *, as_json: bool) -> None:
    """Verify the chain of records, from the oldest that is kept to the newest. Exit status 1 if it is damaged, with the
    first record that is not as it was written.

    A checkpoint that was kept elsewhere also shows a database that was put back to an older state as a whole.

    \b
    Example:
      mtls-as audit verify
    """
    from mtls_as.config import load_settings
    from mtls_as.server.audit import Checkpoint, CheckpointError

    try:
        since = None if checkpoint is None else Checkpoint.parse(checkpoint)
    except CheckpointError as error:
        raise click.UsageError(f"--from: {error}") from None
    verified = asyncio.run(_verify(load_settings(config), since))
    damage = verified.damage
    if as_json:
        told = None if damage is None else {"sequence": damage.sequence, "problem": damage.problem}
        say_json({"first": verified.first, "last": verified.last, "records": verified.count, "damage": told})
        ctx.exit(0 if damage is None else EXIT_DAMAGED)
    if damage is not None:
        raise click.ClickException(f"the audit trail is damaged at record {damage.sequence}: {damage.problem}")
    if verified.count:
        say(f"{verified.count} records, {verified.first} to {verified.last}, are as they were written.")
    else:
        say("There are no records to verify.")


@audit.command(short_help="Print a checkpoint, to be kept where nobody can change it.")
@config_option
def head(config: Path) -> None:
    """Print the end of the chain as it is now. Kept on another machine, it shows later that nothing before it was
    altered and nothing cut off, even by somebody who has the storage key: give it to `audit verify --from`.

    \b
    Example:
      mtls-as audit head
    """
    from mtls_as.config import load_settings

    say(str(asyncio.run(_head(load_settings(config)))))


async def _list(
    settings: "Settings", since: float | None, client_id: str | None, kind: str | None, limit: int
) -> "tuple[AuditRecord, ...]":
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        return await storage.audit.list(since=since, client_id=client_id, kind=kind, limit=limit)


async def _verify(settings: "Settings", since: "Checkpoint | None") -> "Verified":
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.audit_verification import verify_trail

    async with opened_storage(settings) as storage:
        return await verify_trail(storage.audit, storage.audit.sealer, since=since)


async def _head(settings: "Settings") -> "Checkpoint":
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        return await storage.audit.checkpoint()


def _members(record: "AuditRecord") -> dict[str, object]:
    entry = record.entry
    head = {
        "sequence": record.link.sequence,
        "time": format_time(entry.at),
        "kind": entry.kind,
        "client_id": entry.client_id,
    }
    return {**head, **_recorded(entry.text), **head}


def _recorded(text: str) -> dict[str, object]:
    """What was recorded. Somebody may have altered it: then what there is."""
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    return members if isinstance(members, dict) else {"detail": f"not a record: {text[:200]}"}


def _row(members: dict[str, object]) -> dict[str, object]:
    what = [f"{name} {members[name]}" for name in _SUMMARY if members.get(name) is not None]
    return {**members, "what": ", ".join(what)}
