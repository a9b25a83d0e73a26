"""The schema's versions: up and down with data, and a program that meets another version than its own."""

import logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, inspect, text

from mtls_as.server.revocation import Revocation
from mtls_as.storage import Database, DatabaseUnavailable, current, downgrade, migrate, open_storage, upgrade
from mtls_as.storage.schema import metadata
from tests.storage.conftest import KEY, Clock, opened
from tests.storage.test_client_repository import client

HEAD = migrate.newest()
NEXT = f"{int(HEAD) + 1:04}"
NEXT_VERSION = '''
"""A column more."""
import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "HEAD"


def upgrade() -> None:
    with op.batch_alter_table("clients") as batch:
        batch.add_column(sa.Column("note", sa.Text, nullable=False, server_default=""))
    FAIL


def downgrade() -> None:
    with op.batch_alter_table("clients") as batch:
        batch.drop_column("note")
'''


def with_next_version(monkeypatch: pytest.MonkeyPatch, folder: Path, *, fail: str = "", oldest: str = "") -> None:
    """Let the program be a newer one, with one migration more, which lets programs from `oldest` on use its schema."""
    folder = folder / "migrations"
    shutil.copytree(migrate._MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT_VERSION.replace("NEXT", NEXT).replace("HEAD", HEAD).replace("FAIL", fail)
    text += f'\noldest_program = "{oldest}"\n' if oldest else ""
    (folder / "versions" / f"v{NEXT}_note.py").write_text(text)
    monkeypatch.setattr(migrate, "_MIGRATIONS", folder)


def columns(url: str) -> set[str]:
    return {column["name"] for column in look(url, lambda made: made.get_columns("clients"))}


def look(url: str, at: Callable[[Inspector], Any]) -> Any:
    """What the database itself says of its tables."""
    return Database.at(url).run(lambda connection: at(inspect(connection)), writes=False)


def test_the_files_of_migrations_are_named_by_their_versions() -> None:
    """So that the program knows its versions without Alembic, and in their order."""
    scripts = ScriptDirectory(str(migrate._MIGRATIONS)).walk_revisions()
    assert [script.revision for script in scripts] == migrate._versions()[::-1]


def test_migrations_lead_to_the_schema(new_url: str) -> None:
    """The tables of `schema.py` are those that a new database gets."""
    upgrade(new_url)

    def compare(connection: Connection) -> None:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        made, dialect = inspect(connection), connection.dialect
        for table in metadata.sorted_tables:
            assert made.get_pk_constraint(table.name)["name"] == table.primary_key.name
            types = {c["name"]: c["type"].compile(dialect) for c in made.get_columns(table.name)}
            assert types == {c.name: c.type.compile(dialect) for c in table.columns}

    Database.at(new_url).run(compare, writes=False)


async def fill(url: str) -> None:
    """One row in every table, at least."""
    async with opened(url) as storage:
        await storage.clients.add(client())
        await storage.clients.add(client("basic"))
        await storage.signing_keys.rotate("EdDSA", at=1.0, publish_ahead=0, overlap=0)
        await storage.revocations.add(Revocation.of_client("c1", before=1.0))
        await storage.opaque_tokens.add("hash", {"iss": "https://as.example"}, expires_at=2.0)
        await storage.used_once.use("jti", 2.0)


async def test_every_version_down_and_up_with_data(new_url: str) -> None:
    """One by one. What a version has no place for is lost, and everything else stays."""
    upgrade(new_url)
    await fill(new_url)
    versions = migrate._versions()[::-1]
    for version in versions[1:]:
        downgrade(new_url, version)
        assert current(new_url) == version
    for version in reversed(versions[:-1]):
        upgrade(new_url, version)
        assert current(new_url) == version
    async with opened(new_url) as storage:
        assert [each.client_id for each in await storage.clients.list()] == ["basic", "reports"]
        assert len(await storage.signing_keys.all()) == 1
        assert await storage.revision() == 4
        await storage.revocations.add(Revocation.of_client("c1", before=1.0))
        assert await storage.used_once.use("jti", 2.0), "the table was dropped on the way"


def test_nodes_that_upgrade_at_the_same_time_take_turns(new_url: str) -> None:
    """One does it, the others wait and find it done."""
    Database.at(new_url).create()
    with ThreadPoolExecutor(4) as nodes:
        for done in [nodes.submit(upgrade, new_url) for _ in range(4)]:
            done.result()
    assert current(new_url) == HEAD


def test_a_new_database_is_opened_by_many_at_once(new_url: str) -> None:
    """None is turned away, whoever of them makes it ready first."""
    for _ in range(10):
        Database.at(new_url).create()
        with ThreadPoolExecutor(8) as nodes:
            work = [nodes.submit(Database.at(new_url).run, lambda _: None, writes=True) for _ in range(8)]
        assert [done.exception() for done in work] == [None] * 8
        if new_url.startswith("sqlite"):
            for file in Path(new_url.removeprefix("sqlite:///")).parent.glob("test.db*"):
                file.unlink()


def test_a_node_waits_for_the_one_that_upgrades(new_url: str) -> None:
    with ThreadPoolExecutor(1) as other:
        Database.at(new_url).create()

        def work(_connection: Connection) -> Future[None]:
            waiting = other.submit(upgrade, new_url)
            time.sleep(0.3)
            assert not waiting.done()
            return waiting

        Database.at(new_url).run(work, writes=True).result()
    assert current(new_url) == HEAD


def test_upgrading_twice_changes_nothing(new_url: str) -> None:
    """`init` can be repeated."""
    upgrade(new_url)
    upgrade(new_url)
    assert current(new_url) == HEAD


async def test_down_and_up_again(new_url: str) -> None:
    """Down drops the tables with their data; up makes them anew."""
    upgrade(new_url)
    async with opened(new_url) as storage:
        await storage.clients.add(client())
    downgrade(new_url)
    assert current(new_url) is None
    with pytest.raises(DatabaseUnavailable, match="has no tables yet; make them with: mtls-as init"):
        open_storage(new_url, encryption_key=KEY, clock=Clock())
    upgrade(new_url)
    async with opened(new_url) as storage:
        assert await storage.clients.list() == ()


async def test_data_survives_the_next_version_and_the_way_back(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration alters tables that are in use, there and back."""
    upgrade(new_url)
    async with opened(new_url) as storage:
        await storage.clients.add(client())
        key = await storage.signing_keys.rotate("EdDSA", at=1.0, publish_ahead=0, overlap=0)
    with_next_version(monkeypatch, tmp_path)
    with pytest.raises(
        DatabaseUnavailable, match=f"has schema {HEAD}, and this program needs {NEXT}; .*: mtls-as init"
    ):
        open_storage(new_url, encryption_key=KEY, clock=Clock())
    upgrade(new_url)
    assert current(new_url) == NEXT
    assert "note" in columns(new_url)
    downgrade(new_url, HEAD)
    assert "note" not in columns(new_url)
    monkeypatch.undo()
    async with opened(new_url) as storage:
        assert await storage.clients.list() == (client(),)
        assert await storage.signing_keys.all() == (key,)


def test_a_migration_that_fails_leaves_everything_as_it_was(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All or nothing: the next attempt starts from where this one did."""
    upgrade(new_url)
    with_next_version(monkeypatch, tmp_path, fail="raise RuntimeError('no')")
    with pytest.raises(RuntimeError):
        upgrade(new_url)
    assert current(new_url) == HEAD
    assert "note" not in columns(new_url)


def test_a_newer_database_is_left_alone(new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older program neither reads nor alters it."""
    with_next_version(monkeypatch, tmp_path)
    upgrade(new_url)
    monkeypatch.undo()
    attempts = (
        lambda: open_storage(new_url, encryption_key=KEY, clock=Clock()),
        lambda: upgrade(new_url),
        lambda: downgrade(new_url),
    )
    for attempt in attempts:
        with pytest.raises(
            DatabaseUnavailable, match=f"has schema {NEXT}, which this program does not know: a newer one"
        ):
            attempt()
    assert "note" in columns(new_url)


async def test_an_older_program_uses_a_newer_schema_that_lets_it(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a node that is started again between the migration and its own turn; it alters nothing."""
    with_next_version(monkeypatch, tmp_path, oldest=HEAD)
    upgrade(new_url)
    monkeypatch.undo()
    async with opened(new_url) as storage:
        await storage.clients.add(client())
        assert await storage.clients.list() == (client(),)
    for attempt in (upgrade, downgrade):
        with pytest.raises(DatabaseUnavailable, match="which this program does not know"):
            attempt(new_url)
    assert current(new_url) == NEXT


async def test_a_migration_shuts_out_programs_before_the_oldest(
    new_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way back lets them in again."""
    with_next_version(monkeypatch, tmp_path, oldest=NEXT)
    upgrade(new_url)
    newer = migrate._MIGRATIONS
    monkeypatch.undo()
    with pytest.raises(DatabaseUnavailable, match="which this program does not know"):
        open_storage(new_url, encryption_key=KEY, clock=Clock())
    monkeypatch.setattr(migrate, "_MIGRATIONS", newer)
    downgrade(new_url, HEAD)
    monkeypatch.undo()
    async with opened(new_url) as storage:
        assert await storage.clients.list() == ()


def test_another_programs_database_is_left_alone(new_url: str) -> None:
    """A wrong path or name does not put our tables among somebody else's."""
    database = Database.at(new_url)
    database.create()
    database.run(lambda connection: connection.execute(text("CREATE TABLE theirs (x INTEGER)")), writes=True)
    with pytest.raises(DatabaseUnavailable, match="holds the tables of another program"):
        upgrade(new_url)
    assert look(new_url, lambda made: made.get_table_names()) == ["theirs"]


def test_migrations_say_nothing(
    new_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever runs `init` hears from `init` alone."""
    with caplog.at_level(logging.INFO):
        upgrade(new_url)
        downgrade(new_url)
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")
