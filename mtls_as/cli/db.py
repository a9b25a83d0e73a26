"""`mtls-as db`: the schema of the database, and backups."""

from pathlib import Path

import click

from mtls_as.cli.options import config_option, json_option
from mtls_as.cli.output import say, say_json


@click.group()
def db() -> None:
    """Bring the database up to date, and back it up."""


@db.command(short_help="Bring the database to the schema of this program.")
@config_option
@json_option
def upgrade(config: Path, *, as_json: bool) -> None:
    """Bring the database to the schema of this program, all or nothing; an empty one gets its tables.

    Of several that come at the same time one does it, and the others wait.

    \b
    Example:
      mtls-as db upgrade
    """
    from mtls_as.cli.init import make_database
    from mtls_as.config import load_settings

    before, after, place = make_database(load_settings(config).storage)
    if as_json:
        say_json({"before": before, "schema": after})
    elif before == after:
        say(f"{place}: has schema {after} already")
    else:
        say(f"{place}: brought from {before or 'nothing'} to schema {after}")


@db.command(short_help="Show which schema the database has, and which one this program needs.")
@config_option
@json_option
def current(config: Path, *, as_json: bool) -> None:
    """Show which schema the database has, and which one this program needs. Nothing is changed.

    \b
    Example:
      mtls-as db current
    """
    from mtls_as.config import load_settings
    from mtls_as.storage import Database, migrate

    storage = load_settings(config).storage
    found, needed = migrate.current(storage.url, settings=storage.database), migrate.newest()
    if as_json:
        say_json({"schema": found, "needed": needed})
        return
    place = Database.at(storage.url).place
    says = f"has schema {found}" if found else "has no tables yet"
    say(f"{place}: {says}; this program needs {needed}" + ("" if found == needed else ": mtls-as db upgrade"))


@db.command(short_help="Write all that is in the database into a new file.")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
def backup(file: Path, config: Path) -> None:
    """Write all that is in the database now into the new FILE, while servers go on.

    Of SQLite it is a database that can be put in the place of the old one; of PostgreSQL an archive of pg_dump, for
    pg_restore. The storage key is not in it, and without that key the signing keys are lost: keep it elsewhere.

    \b
    Example:
      mtls-as db backup mtls-as.backup
    """
    from mtls_as.config import load_settings
    from mtls_as.storage import Database

    storage = load_settings(config).storage
    Database.at(storage.url, storage.database).backup(file)
    say(f"{file}: backup written. {storage.encryption_key_file}, the storage key, is not in it: back it up elsewhere")
