"""`mtls-as init`: everything that must exist before the first start, made once and never overwritten."""

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mtls_as.cli.options import config_option
from mtls_as.cli.output import say

if TYPE_CHECKING:
    from mtls_as.config import Settings, StorageSettings


@click.command(short_help="Make keys and database before the first start.")
@click.option("--development", is_flag=True, help="Also make a CA, and certificates for localhost and some clients.")
@config_option
def init(config: Path, *, development: bool) -> None:
    """Make what the configuration needs and does not exist: the storage key, the database, the first signing key.

    Nothing is overwritten, so it may be run again; after an update it brings the database up to date.

    \b
    Example:
      mtls-as init --development
    """
    from mtls_as.config import load_settings

    settings = load_settings(config)
    if development:
        _make_pki(settings.folder / "certs")
    _make_storage_key(settings.storage)
    before, after, place = make_database(settings.storage)
    if before is None:
        say(f"{place}: database made")
    else:
        say(f"{place}: " + ("the database is up to date" if before == after else "database brought up to date"))
    asyncio.run(_make_signing_keys(settings))


def _make_pki(folder: Path) -> None:
    from mtls_as.cli.development_pki import make_development_pki

    made = make_development_pki(folder, at=datetime.now(UTC))
    say(f"{folder}: development certificates " + ("made" if made else "are there"))


def _make_storage_key(storage: "StorageSettings") -> None:
    from mtls_as.storage import ENVIRONMENT_VARIABLE, Database, create_key_file, read_encryption_key

    file, database = storage.encryption_key_file, Database.at(storage.url, storage.database)
    if ENVIRONMENT_VARIABLE in os.environ:
        read_encryption_key(file)
        say(f"The storage key is in the environment variable {ENVIRONMENT_VARIABLE}; no file is made")
    elif file.exists():
        read_encryption_key(file)
        say(f"{file}: the storage key is there")
    elif database.is_made():
        # With another key, the signing keys in the database could never be read again.
        message = f"the storage key is missing, and {database.place} was made with one"
        raise click.ClickException(f"{file}: {message}: put it back, or delete the database")
    else:
        create_key_file(file)
        say(f"{file}: storage key made; without it the signing keys in the database cannot be read, so back it up")


def make_database(storage: "StorageSettings") -> tuple[str | None, str, str]:
    """Bring a database to the schema of this program: the schema before, if any, and now, and where it is."""
    from mtls_as.storage import Database, current, migrate, upgrade

    database = Database.at(storage.url, storage.database)
    before = current(storage.url, settings=storage.database) if database.is_made() else None
    upgrade(storage.url, settings=storage.database)
    return before, migrate.newest(), database.place


async def _make_signing_keys(settings: "Settings") -> None:
    from mtls_as.cli.stored import opened_storage
    from mtls_as.server.key_upkeep import OVERLAP
    from mtls_as.server.signing_keys import NoSigningKey, SigningKeys
    from mtls_as.wiring.external_signers import open_external_signers
    from mtls_as.wiring.signing_keys import key_maker

    make, now = key_maker(open_external_signers(settings)), time.time()
    async with opened_storage(settings) as storage:
        stored = SigningKeys(await storage.signing_keys.all())
        for algorithm in settings.keys.algorithms:
            try:
                key = stored.active(algorithm, now)
                say(f"The signing key {key.kid} ({algorithm}) is there")
            except NoSigningKey:
                private_key = await asyncio.to_thread(make, algorithm)
                times = {"at": now, "publish_ahead": 0.0, "overlap": OVERLAP}
                key = await storage.signing_keys.rotate(algorithm, **times, private_key=private_key)
                say(f"The signing key {key.kid} ({algorithm}) is made")
