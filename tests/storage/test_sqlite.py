"""What SQLite brings: files, modes, locks, and errors in words."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mtls_as.server.ports import StorageUnavailable
from mtls_as.storage import DatabaseUnavailable, Storage, current, open_storage, upgrade
from mtls_as.storage.sqlite_connection import SQLiteConnection
from tests.storage.conftest import KEY, Clock, opened
from tests.storage.test_client_repository import client


@pytest.fixture
def url(sqlite_url: str) -> str:
    """A database of the kind that is tested here."""
    return sqlite_url


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


async def test_connections_are_set_up_for_safety(url: str) -> None:
    """Nothing acknowledged is lost; a lock is waited for; references hold."""
    async with opened(url) as storage, storage._transactions.read() as connection:
        values = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert values == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": 2}


async def test_a_statement_changes_threads_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executing, fetching and closing are one thing for the thread of the connection."""
    trips = 0
    go = SQLiteConnection._execute

    async def counted(self: SQLiteConnection, work: Callable[[], object]) -> object:
        nonlocal trips
        trips += 1
        return await go(self, work)  # type: ignore[no-untyped-call] # aiosqlite leaves it untyped

    async with opened(url) as storage, storage._transactions.read() as connection:
        await connection.exec_driver_sql("VALUES (0, 'which begins the transaction')")
        monkeypatch.setattr(SQLiteConnection, "_execute", counted)
        rows = (await connection.exec_driver_sql("VALUES (1, 'a'), (2, 'b')")).all()
        monkeypatch.undo()
    assert (rows, trips) == ([(1, "a"), (2, "b")], 1)


async def test_who_closes_a_connection_that_is_stopped_meanwhile_does_not_wait_for_ever() -> None:
    """As SQLAlchemy does with one whose request was given up twice."""
    connection = await SQLiteConnection(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    connection.stop()
    connection.stop()
    await asyncio.wait_for(closing, 5)


def test_the_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        upgrade(f"sqlite:///{tmp_path}/test.db")
    finally:
        os.umask(before)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_files_beside_the_database_belong_to_its_owner_alone(url: str) -> None:
    """The write-ahead log holds what the database holds."""
    before = os.umask(0)
    try:
        async with opened(url) as storage:
            await storage.clients.add(client())
            files = list(file_of(url).parent.iterdir())
            assert len(files) == 3
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", ["a b.db", "100%41.db", "what?.db", "a#b.db", "ä.db", "file:x.db", "'\".db"])
async def test_odd_file_names_are_taken_literally(tmp_path: Path, name: str) -> None:
    """A name is neither an option nor an escape."""
    upgrade(f"sqlite:///{tmp_path}/{name}")
    async with opened(f"sqlite:///{tmp_path}/{name}") as storage:
        assert await storage.revision() == 0
    assert (tmp_path / name).exists()


async def test_a_locked_database_is_an_error_for_writers_only(url: str) -> None:
    """Another process holds the write lock beyond the time-out: reading goes on, writing says why not."""
    holder = sqlite3.connect(file_of(url), isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        async with opened(url, busy_timeout=0.05) as storage:
            assert await storage.clients.list() == ()
            with pytest.raises(DatabaseUnavailable, match=r"test\.db: is locked by another process$") as caught:
                await storage.clients.add(client())
            assert isinstance(caught.value, StorageUnavailable)
            holder.execute("ROLLBACK")
            await storage.clients.add(client())
    finally:
        holder.close()


def test_a_database_that_another_process_keeps_to_itself(url: str) -> None:
    """Opening it fails with a reason."""
    holder = sqlite3.connect(file_of(url), isolation_level=None)
    try:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="is locked by another process"):
            open_storage(url, encryption_key=KEY, clock=Clock(), busy_timeout=0.05)
    finally:
        holder.close()


@pytest.mark.parametrize("content", [b"not a database, and long enough to be looked at" * 50, b"\xff" * 4096])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    """It is named, and left as it is."""
    file = tmp_path / "test.db"
    file.write_bytes(content)
    for attempt in (lambda: open_(file), lambda: upgrade(f"sqlite:///{file}"), lambda: current(f"sqlite:///{file}")):
        with pytest.raises(DatabaseUnavailable, match=r"test\.db: is not a database$"):
            attempt()
    assert file.read_bytes() == content


def test_a_missing_database_names_the_command(tmp_path: Path) -> None:
    """And opening it does not make it."""
    with pytest.raises(DatabaseUnavailable, match="there is no database; make one with: mtls-as init"):
        open_(tmp_path / "test.db")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder(tmp_path: Path) -> None:
    """It is not made: a misspelt path would otherwise become a second database."""
    with pytest.raises(DatabaseUnavailable, match=r"nowhere/test\.db: the folder .*nowhere does not exist"):
        upgrade(f"sqlite:///{tmp_path}/nowhere/test.db")


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    """One line, no traceback."""
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        open_(tmp_path)


def test_an_empty_file_names_the_command(tmp_path: Path) -> None:
    """What an interrupted `init` leaves behind can be gone on with."""
    file = tmp_path / "test.db"
    file.touch()
    with pytest.raises(DatabaseUnavailable, match="has no tables yet; make them with: mtls-as init"):
        open_(file)
    upgrade(f"sqlite:///{file}")
    open_(file)


def test_a_folder_that_cannot_be_written(unprivileged_folder: Path) -> None:
    """Making a database there fails with a reason, and so does opening one."""
    upgrade(f"sqlite:///{unprivileged_folder}/old.db")
    unprivileged_folder.chmod(0o500)
    with pytest.raises(DatabaseUnavailable, match=r"new\.db: the database cannot be made: Permission denied"):
        upgrade(f"sqlite:///{unprivileged_folder}/new.db")
    with pytest.raises(DatabaseUnavailable, match=r"old\.db: cannot be (opened|written)"):
        open_(unprivileged_folder / "old.db")


def test_a_file_that_cannot_be_read(unprivileged_folder: Path) -> None:
    """Another user's database."""
    upgrade(f"sqlite:///{unprivileged_folder}/test.db")
    (unprivileged_folder / "test.db").chmod(0)
    with pytest.raises(DatabaseUnavailable, match=r"test\.db: cannot be opened"):
        open_(unprivileged_folder / "test.db")


async def test_a_read_only_file(unprivileged_folder: Path) -> None:
    """Writing to it fails with a reason."""
    upgrade(f"sqlite:///{unprivileged_folder}/test.db")
    (unprivileged_folder / "test.db").chmod(0o400)
    with pytest.raises(DatabaseUnavailable, match=r"test\.db: cannot be (opened|written)"):
        async with opened(f"sqlite:///{unprivileged_folder}/test.db") as storage:
            await storage.clients.add(client())


async def test_a_full_disk(url: str) -> None:
    """Nothing is half-written, and room made later is used."""
    async with opened(url) as storage:
        async with storage._transactions.read() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count=1")
        with pytest.raises(DatabaseUnavailable, match="the disk is full"):
            await fill(storage)
        assert len(await storage.clients.list()) == await storage.revision()


async def test_a_database_that_goes_and_comes_back(url: str) -> None:
    """The server reports it as unavailable meanwhile, and works again without a restart."""
    file, away = file_of(url), file_of(url).with_name("away.db")
    async with opened(url) as storage:
        file.rename(away)
        with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
            await storage.revision()
        assert not file.exists()
        away.rename(file)
        assert await storage.revision() == 0


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "postgresql+asyncpg"])
def test_a_url_of_another_kind_is_not_quoted(kind: str) -> None:
    """It may hold a password."""
    with pytest.raises(DatabaseUnavailable) as caught:
        open_storage(f"{kind}://as:hunter2@db/as", encryption_key=KEY, clock=Clock())
    assert "hunter2" not in str(caught.value)


async def test_errors_hold_no_values(url: str) -> None:
    """Neither in the message nor in what a log would print of its cause."""
    async with opened(url) as storage:
        with pytest.raises(DatabaseUnavailable) as caught:
            async with storage._transactions.write(client_id=None) as connection:
                await connection.exec_driver_sql("INSERT INTO nowhere VALUES (?)", ("hunter2",))
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__cause__}"


WRITER = """
import asyncio, os, signal, sys
from mtls_as.storage import open_storage
from tests.storage.conftest import KEY, Clock
from tests.storage.test_client_repository import client

async def main():
    storage = open_storage(sys.argv[1], encryption_key=KEY, clock=Clock())
    for n in range(5):
        await storage.clients.add(client(f"c{n}"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(url: str) -> None:
    """The process ends in the middle of its life, with its log not yet copied into the database."""
    root = Path(__file__).parents[2]
    run = partial(subprocess.run, [sys.executable, "-c", WRITER, url], cwd=root, timeout=60)
    writer = await asyncio.to_thread(run)
    assert writer.returncode == -signal.SIGKILL
    async with opened(url) as storage:
        assert len(await storage.clients.list()) == 5


async def fill(storage: Storage) -> None:
    """Add 400 KB of clients."""
    for n in range(200):
        await storage.clients.add(client(f"c{n}", client_name="x" * 2000))


def open_(file: Path) -> None:
    open_storage(f"sqlite:///{file}", encryption_key=KEY, clock=Clock(), busy_timeout=0.05)
