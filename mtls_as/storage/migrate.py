"""The version of a database's schema: what it is, whether this program may use it, and how it gets there.

A migration says in `oldest_program` which programs may go on with the schema that it makes: those whose own schema is
that one or a later one. It is written into the database, since older programs do not know the migration. A migration
that says nothing shuts all older programs out.

Alembic is imported when a schema is changed: who only asks for the version, as each worker does, is spared 10 MiB.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, column, inspect, select, table, update

from mtls_as.storage.engine import Database
from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.schema import compatibility
from mtls_as.storage.settings import DatabaseSettings

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_VERSION_TABLE: Final = "alembic_version"
_VERSION_FILE: Final = re.compile(r"v([0-9]{4})_\w+\.py")
_DEFAULTS: Final = DatabaseSettings()


def upgrade(url: str, revision: str = "head", *, settings: DatabaseSettings = _DEFAULTS) -> None:
    """Bring a database to the schema of this program (or to `revision`), and make it if there is none.

    All or nothing, in one transaction; of several nodes that come at the same time one does it, and the others wait.
    Raises `DatabaseUnavailable`, also for a database of another program.
    """
    from alembic import command

    database = Database.at(url, settings)

    def work(connection: Connection) -> None:
        found = _version(connection)
        _refuse_newer(database, found)
        if found is None and set(inspect(connection).get_table_names()) - {_VERSION_TABLE}:
            raise DatabaseUnavailable(f"{database.place}: holds the tables of another program")
        command.upgrade(_configuration(connection), revision)
        _note_oldest_program(connection)

    database.create()
    database.run(work, writes=True)


def downgrade(url: str, revision: str = "base", *, settings: DatabaseSettings = _DEFAULTS) -> None:
    """Take a database back to an older schema; what that one has no place for is lost. Raises `DatabaseUnavailable`."""
    from alembic import command

    database = Database.at(url, settings)

    def work(connection: Connection) -> None:
        _refuse_newer(database, _version(connection))
        command.downgrade(_configuration(connection), revision)
        _note_oldest_program(connection)

    database.run(work, writes=True)


def current(url: str, *, settings: DatabaseSettings = _DEFAULTS) -> str | None:
    """The version of a database's schema, or None if it has none. Raises `DatabaseUnavailable`."""
    return Database.at(url, settings).run(_version, writes=False)


def newest() -> str:
    """The version of this program's schema."""
    return _versions()[-1]


def require_current_schema(database: Database) -> None:
    """Raises `DatabaseUnavailable`, with the command to run, unless this program may use the database's schema.

    It is the program's own, or a newer one that lets it.
    """

    def work(connection: Connection) -> tuple[str | None, bool]:
        found = _version(connection)
        return found, found is not None and not _is_known(found) and _is_known(_oldest_program(connection))

    found, lets_this_program = database.run(work, writes=False)
    if lets_this_program:
        return
    _refuse_newer(database, found)
    needed = newest()
    if found is None:
        raise DatabaseUnavailable(f"{database.place}: has no tables yet; make them with: mtls-as init")
    if found != needed:
        message = f"has schema {found}, and this program needs {needed}; bring it up to date with: mtls-as init"
        raise DatabaseUnavailable(f"{database.place}: {message}")


def _version(connection: Connection) -> str | None:
    """What Alembic has noted in the database."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.scalar(select(column("version_num")).select_from(table(_VERSION_TABLE)))


def _versions() -> list[str]:
    """Those of this program and of all before it, the oldest first, as the names of the migrations' files say."""
    files = (_VERSION_FILE.fullmatch(file.name) for file in (_MIGRATIONS / "versions").iterdir())
    return sorted(file[1] for file in files if file)


def _refuse_newer(database: Database, found: str | None) -> None:
    if found is not None and not _is_known(found):
        message = f"has schema {found}, which this program does not know: a newer one made it"
        raise DatabaseUnavailable(f"{database.place}: {message}")


def _is_known(version: str | None) -> bool:
    """Whether it is the version of this program's schema, or of an older one."""
    return version in _versions()


def _oldest_program(connection: Connection) -> str | None:
    if not inspect(connection).has_table(compatibility.name):
        return None
    return connection.scalar(select(compatibility.c.oldest_program))


def _note_oldest_program(connection: Connection) -> None:
    from alembic.script import ScriptDirectory

    version = _version(connection)
    if version is not None and inspect(connection).has_table(compatibility.name):
        module = ScriptDirectory(str(_MIGRATIONS)).get_revision(version).module
        oldest = getattr(module, "oldest_program", version)
        connection.execute(update(compatibility).values(oldest_program=oldest))


def _configuration(connection: Connection) -> "Config":
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)  # what it says of itself is not news for our operators
    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    return configuration
