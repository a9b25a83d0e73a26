"""`mtls-as cert inventory`: every certificate registered or seen, the most urgent first."""

import asyncio
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.options import config_option, duration, json_option
from mtls_as.cli.output import format_time, say_listing

if TYPE_CHECKING:
    from mtls_as.config import Settings
    from mtls_as.server.certificate_inventory import InventoryEntry

EXIT_SOME_END: Final = 3
_DAY_SECONDS: Final = 86_400
_COLUMNS: Final = ("days_left", "role", "client_id", "trust", "subject", "not_after", "last_used", "note")


@click.command(short_help="List every certificate registered or seen, the soonest to end first.")
@click.option(
    "--within",
    callback=duration,
    metavar="TIME",
    help="Only what ends within 12h, 30d or 2w, or has ended: exit status 3 if there is any, else 0 and no output.",
)
@config_option
@json_option
@click.pass_context
def inventory(ctx: click.Context, within: int | None, config: Path, *, as_json: bool) -> None:
    """List the server's certificate, trust anchors, registered certificates, and those that clients came with.

    With --within, certificates that nobody needs to care for are left out: those that their client has replaced, and
    those of clients that are disabled or not registered any more. The exit status is 3 if any is left, so that cron can
    tell it from 1, an error. An ended certificate is remembered for 90 days.

    \b
    Example:
      mtls-as cert inventory --within 30d
    """
    from mtls_as.config import load_settings

    now = time.time()
    entries = asyncio.run(_entries(load_settings(config)))
    if within is not None:
        entries = tuple(e for e in entries if e.standing is None and e.seconds_left(now) <= within)
    if entries or as_json or within is None:
        say_listing([_members(entry, now) for entry in entries], _COLUMNS, as_json=as_json)
    if within is not None and entries:
        ctx.exit(EXIT_SOME_END)


async def _entries(settings: "Settings") -> "tuple[InventoryEntry, ...]":
    from mtls_as.cli.files import read_certificates
    from mtls_as.cli.stored import opened_storage
    from mtls_as.pki.trust_domains import TrustDomains
    from mtls_as.server.certificate_inventory import take_inventory

    trust = TrustDomains.load(settings.trust_domains, base=settings.folder)
    async with opened_storage(settings) as storage:
        return take_inventory(
            server=read_certificates(settings.tls.certificate),
            anchors=trust.anchors,
            clients=[*settings.clients, *await storage.clients.list()],
            seen=await storage.seen_certificates.list(),
        )


def _members(entry: "InventoryEntry", at: float) -> dict[str, object]:
    return {
        "role": entry.role.value,
        "client_id": entry.client_id,
        "trust": entry.trust,
        "subject": entry.subject or "(empty)",
        "issuer": entry.issuer,
        "serial_number": entry.serial_number,
        "x5t#S256": entry.x5t_s256,
        "not_after": format_time(entry.not_after),
        "days_left": math.floor(entry.seconds_left(at) / _DAY_SECONDS),
        "last_used": None if entry.last_used_at is None else format_time(entry.last_used_at),
        "uses": entry.uses,
        "note": entry.standing,
    }
