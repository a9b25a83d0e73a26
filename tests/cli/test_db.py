"""`db`: the schema's version, and backups that can be restored; and `init`, for each kind of database."""

import asyncio
import json
import os
import stat
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from mtls_as.config import load_settings
from mtls_as.storage import BackupImpossible, Database, Storage, downgrade, migrate, open_storage, read_encryption_key
from tests.cli.workplace import Workplace
from tests.postgresql import PASSWORD, PostgreSQL
from tests.programs import require_program
from tests.storage.conftest import KEY, Clock
from tests.storage.test_client_repository import client

HEAD = migrate.newest()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workplace]:
    """A folder that was initialised for each kind of database."""
    if request.param == "sqlite":
        yield Workplace.make(tmp_path)
        return
    require_program("pg_dump")
    server: PostgreSQL = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield Workplace.make(tmp_path, storage=url)


def url_of(workplace: Workplace) -> str:
    return load_settings(workplace.config).storage.url


def test_init_makes_everything_once(place: Workplace) -> None:
    """A second run changes nothing, and no output has the password."""
    said = place.succeed("init")
    assert "the storage key is there" in said
    assert "the database is up to date" in said
    assert PASSWORD not in unquote(said)
    assert len(json.loads(place.succeed("keys", "list", "--json"))) == 1


def test_no_second_storage_key_is_made_for_a_database(place: Workplace) -> None:
    """The signing keys in it could never be read again."""
    (place.folder / "mtls-as.key").unlink()
    assert "put it back" in place.fail("init")


def test_the_schema_is_told_and_brought_up_to_date(place: Workplace) -> None:
    assert json.loads(place.succeed("db", "current", "--json")) == {"schema": HEAD, "needed": HEAD}
    assert f"has schema {HEAD}; this program needs {HEAD}" in place.succeed("db", "current")
    assert f"has schema {HEAD} already" in place.succeed("db", "upgrade")
    downgrade(url_of(place), "0008")
    assert "has schema 0008; this program needs" in place.succeed("db", "current")
    assert "mtls-as init" in place.fail("keys", "list")
    assert json.loads(place.succeed("db", "upgrade", "--json")) == {"before": "0008", "schema": HEAD}
    downgrade(url_of(place))
    assert "has no tables yet" in place.succeed("db", "current")
    assert f"from nothing to schema {HEAD}" in place.succeed("db", "upgrade")


def test_a_restored_backup_has_the_same_clients_and_keys(place: Workplace, postgresql: PostgreSQL) -> None:
    """Made while others write; restored as docs/database.md says."""
    open_and(place, lambda storage: storage.clients.add(client("kept")))
    keys, clients = place.succeed("keys", "list", "--json"), open_and(place, lambda storage: storage.clients.list())
    said = place.succeed("db", "backup", "copy")
    assert "the storage key, is not in it" in said
    copy = place.folder / "copy"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    open_and(place, lambda storage: storage.clients.delete("kept"))
    old = url_of(place)
    if old.startswith("sqlite"):
        for file in place.folder.glob("mtls-as.db*"):
            file.unlink()
        copy.rename(place.folder / "mtls-as.db")
        assert_same(place, keys, clients)
    else:
        with postgresql.database() as new:
            restore = ["--no-owner", "--role=mtls_as", "--single-transaction", f"--dbname={new}", str(copy)]
            subprocess.run([require_program("pg_restore"), *restore], check=True)
            place.edit(old, new)
            assert_same(place, keys, clients)


def open_and(place: Workplace, work: Callable[[Storage], Awaitable[Any]]) -> Any:
    """Do something with the storage of a folder."""
    settings = load_settings(place.config).storage

    async def run() -> object:
        key = read_encryption_key(settings.encryption_key_file)
        storage: Storage = open_storage(settings.url, encryption_key=key, clock=Clock())
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(run())


def assert_same(place: Workplace, keys: str, clients: object) -> None:
    assert place.succeed("keys", "list", "--json") == keys
    assert open_and(place, lambda storage: storage.clients.list()) == clients
    assert f"has schema {HEAD};" in place.succeed("db", "current")
    open_and(place, lambda storage: storage.clients.add(client("new")))


def test_no_file_is_overwritten(place: Workplace) -> None:
    file = place.folder / "copy"
    file.write_text("precious")
    assert place.fail("db", "backup", "copy") == "copy: exists already, and is not overwritten"
    assert file.read_text() == "precious"
    assert "the backup cannot be written: No such file" in place.fail("db", "backup", "nowhere/copy")


def test_a_backup_that_fails_leaves_no_file(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which could be taken for one."""
    url = url_of(place)
    if url.startswith("sqlite"):
        (place.folder / "mtls-as.db").write_bytes(b"no database at all" * 100)
        message = "is not a database"
    else:
        folder = place.folder / "bin"
        folder.mkdir()
        (folder / "pg_dump").write_text("#!/bin/sh\necho half a backup\necho out of order >&2\nexit 3\n")
        (folder / "pg_dump").chmod(0o700)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        message = "pg_dump failed: out of order"
    assert message in place.fail("db", "backup", "copy")
    assert not (place.folder / "copy").exists()


def test_pg_dump_is_needed_and_hears_no_password_on_its_command_line(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every user of a machine can read command lines."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    database = Database.at(postgresql.url("postgres"))
    with pytest.raises(BackupImpossible, match="needs the program pg_dump"):
        database.backup(tmp_path / "copy")
    (folder / "pg_dump").write_text('#!/bin/sh\necho "$@"\necho "$PGPASSWORD" >&2\n')
    (folder / "pg_dump").chmod(0o700)
    database.backup(tmp_path / "copy")
    said = (tmp_path / "copy").read_text()
    assert "dbname='postgres'" in said
    assert PASSWORD not in unquote(said)


@pytest.mark.slow
def test_a_backup_under_load_is_one_view(place: Workplace, tmp_path: Path, postgresql: PostgreSQL) -> None:
    """Other processes go on writing, and the copy has all of a change or nothing."""
    url = url_of(place)
    before = open_and(place, lambda storage: storage.revision())
    stop = threading.Event()

    async def write() -> None:
        storage = open_storage(url, encryption_key=KEY, clock=Clock())
        number = 0
        while not stop.is_set():
            await storage.clients.add(client(f"c{number}", client_name="x" * 2000))
            number += 1
        await storage.close()

    writer = threading.Thread(target=lambda: asyncio.run(write()))
    writer.start()
    try:
        copies = []
        for number in range(3):
            threading.Event().wait(0.2)
            copies.append(tmp_path / f"copy{number}")
            Database.at(url).backup(copies[-1])
    finally:
        stop.set()
        writer.join()
    sizes = []
    for copy in copies:
        if url.startswith("sqlite"):
            sizes.append(asyncio.run(_clients(f"sqlite:///{copy}", before)))
        else:
            with postgresql.database() as new:
                command = [require_program("pg_restore"), "--no-owner", f"--dbname={new}", str(copy)]
                subprocess.run(command, check=True)
                sizes.append(asyncio.run(_clients(new, before)))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0


async def _clients(url: str, before: int) -> int:
    storage = open_storage(url, encryption_key=KEY, clock=Clock())
    try:
        count = len(await storage.clients.list())
        assert await storage.revision() == before + count
        return count
    finally:
        await storage.close()
