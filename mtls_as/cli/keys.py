"""`mtls-as keys`: the keys that sign access tokens."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mtls_as.cli.options import config_option, json_option
from mtls_as.cli.output import format_time, say, say_listing

if TYPE_CHECKING:
    from mtls_as.config import Settings
    from mtls_as.server.signing_keys import SigningKey

# A verifier may work with a key set that is as old as its own cache and an HTTP cache allow, five minutes each.
PUBLISH_AHEAD_SECONDS: Final = 600
# The longest that any client's token may live, and then the caches again.
OVERLAP_SECONDS: Final = 86_400 + PUBLISH_AHEAD_SECONDS


@click.group()
def keys() -> None:
    """List and rotate the keys that sign access tokens."""


@keys.command("list", short_help="List the keys that sign access tokens.")
@config_option
@json_option
def list_(config: Path, *, as_json: bool) -> None:
    """List the keys: next (published, signs nothing yet), active, or retired (its tokens may still be in use).

    \b
    Example:
      mtls-as keys list
    """
    from mtls_as.config import load_settings

    rows = asyncio.run(_list(load_settings(config), at=time.time()))
    columns = ("kid", "algorithm", "state", "created_at", "activates_at", "expires_at")
    say_listing(rows, columns, as_json=as_json)


@keys.command(short_help="Make the next signing key.")
@click.option(
    "--algorithm",
    type=click.Choice(["ES256", "PS256", "EdDSA"]),
    help="Of the new key; else that of the configuration.",
)
@click.option("--now", is_flag=True, help="Sign with the new key at once.")
@click.option("--leaked", is_flag=True, help="Sign with the new key at once, and withdraw the old one with its tokens.")
@config_option
def rotate(config: Path, algorithm: str | None, *, now: bool, leaked: bool) -> None:
    """Make a new key. It is published ten minutes before it signs, so that every resource server knows it by then.

    The key before it stays published until its last token has expired, also with --now; only --leaked withdraws it, and
    resource servers notice that when they next fetch the keys.

    \b
    Example:
      mtls-as keys rotate
    """
    from mtls_as.config import load_settings

    settings = load_settings(config)
    chosen = algorithm or settings.tokens.algorithm
    ahead = 0 if now or leaked else PUBLISH_AHEAD_SECONDS
    overlap = 0 if leaked else OVERLAP_SECONDS
    key = asyncio.run(_rotate(settings, chosen, at=time.time(), publish_ahead=ahead, overlap=overlap))
    say(f"The signing key {key.kid} ({key.algorithm}) signs from {format_time(key.activates_at)}.")
    if chosen != settings.tokens.algorithm:
        say(f"Tokens are signed with {settings.tokens.algorithm} until tokens.algorithm in {config} says {chosen}.")


async def _list(settings: "Settings", *, at: float) -> list[dict[str, object]]:
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.signing_keys import KeyState, SigningKeys

    async with opened_storage(settings) as storage:
        stored = SigningKeys(await storage.signing_keys.all())
    states = [(key, stored.state(key, at)) for key in stored.keys]
    return [_described(key) | {"state": state.value} for key, state in states if state is not KeyState.GONE]


async def _rotate(
    settings: "Settings", algorithm: str, *, at: float, publish_ahead: float, overlap: float
) -> "SigningKey":
    from mtls_as.cli.stored import opened_storage

    async with opened_storage(settings) as storage:
        return await storage.signing_keys.rotate(algorithm, at=at, publish_ahead=publish_ahead, overlap=overlap)


def _described(key: "SigningKey") -> dict[str, object]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "created_at": format_time(key.created_at),
        "activates_at": format_time(key.activates_at),
        "expires_at": None if key.expires_at is None else format_time(key.expires_at),
    }
