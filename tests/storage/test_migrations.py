"""The schema's versions: up and down with data, and a program that meets another version than its own."""

import logging
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from mtls_as.storage import DatabaseUnavailable, current, downgrade, migrate, open_storage, upgrade
from mtls_as.storage.schema import metadata
from tests.storage.conftest import KEY, Clock, opened
from tests.storage.test_client_repository import client

HEAD = str(migrate._scripts().get_current_head())
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


@pytest.fixture
def new_url(tmp_path: Path) -> str:
    """Where there is no database yet."""
    return f"sqlite:///{tmp_path}/test.db"


def with_next_version(monkeypatch: pytest.MonkeyPatch, folder: Path, *, fail: str = "", oldest: str = "") -> None:
    """Let the program be a newer one, with one migration more, which lets programs from `oldest` on use its schema."""
    folder = folder / "migrations"
    shutil.copytree(migrate._MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT_VERSION.replace("NEXT", NEXT).replace("HEAD", HEAD).replace("FAIL", fail)
    text += f'\noldest_program = "{oldest}"\n' if oldest else ""
    (folder / "versions" / f"v{NEXT}_note.py").write_text(text)
    monkeypatch.setattr(migrate, "_MIGRATIONS", folder)


def columns(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return {column["name"] for column in inspect(engine).get_columns("clients")}
    finally:
        engine.dispose()


def test_migrations_lead_to_the_schema(new_url: str) -> None:
    """The tables of `schema.py` are those that a new database gets."""
    upgrade(new_url)
    engine = create_engine(new_url)
    try:
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            for table in metadata.sorted_tables:
                made = inspect(connection)
                assert made.get_pk_constraint(table.name)["name"] == table.primary_key.name
                assert {str(c["type"]) for c in made.get_columns(table.name)} == {str(c.type) for c in table.columns}
    finally:
        engine.dispose()


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


def test_another_programs_database_is_left_alone(new_url: str, tmp_path: Path) -> None:
    """A wrong path does not put our tables among somebody else's."""
    connection = sqlite3.connect(tmp_path / "test.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(DatabaseUnavailable, match="holds the tables of another program"):
        upgrade(new_url)


def test_migrations_say_nothing(
    new_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever runs `init` hears from `init` alone."""
    with caplog.at_level(logging.INFO):
        upgrade(new_url)
        downgrade(new_url)
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")
