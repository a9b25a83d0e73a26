"""What PostgreSQL brings: how it is reached, its time-outs, and its errors in words."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import delete, insert, select, text

from mtls_as.server.revocation import Revocation
from mtls_as.storage import DatabaseUnavailable, Storage, current, open_storage, upgrade
from mtls_as.storage.schema import revision
from mtls_as.storage.settings import DatabaseSettings
from tests.postgresql import PASSWORD, ROLE, PostgreSQL, running_postgresql
from tests.storage.conftest import KEY, Clock, opened
from tests.storage.test_client_repository import client

QUICK = DatabaseSettings(connect_timeout=1.0, statement_timeout=0.3, lock_timeout=0.2, idle_in_transaction_timeout=0.3)


@pytest.fixture
def url(postgresql_url: str) -> str:
    """A database of the kind that is tested here."""
    return postgresql_url


def name_of(url: str) -> str:
    return urlsplit(url).path[1:]


@contextlib.asynccontextmanager
async def quick(url: str, settings: DatabaseSettings = QUICK) -> AsyncIterator[Storage]:
    """A storage that does not wait for long."""
    storage = open_storage(url, encryption_key=KEY, clock=Clock(), settings=settings)
    try:
        yield storage
    finally:
        await storage.close()


async def run(storage: Storage, statement: str, *, writes: bool = True) -> object:
    """The first value of a statement."""
    transactions = storage._transactions
    async with transactions.write_quietly() if writes else transactions.read() as connection:
        result = await connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def open_(url: str, settings: DatabaseSettings = QUICK) -> None:
    asyncio.run(open_storage(url, encryption_key=KEY, clock=Clock(), settings=settings).close())


async def test_sessions_are_set_up_for_safety(url: str, postgresql: PostgreSQL) -> None:
    """Whatever the server, the database or the role says: nothing acknowledged is lost, and nobody waits for ever."""
    postgresql.execute(f"ALTER DATABASE {name_of(url)} SET synchronous_commit = off")
    postgresql.execute(f"ALTER DATABASE {name_of(url)} SET default_transaction_isolation = 'serializable'")
    async with opened(url) as storage:
        names = ("synchronous_commit", "transaction_isolation", "statement_timeout", "lock_timeout")
        writing = [await run(storage, f"SHOW {name}") for name in names]
        reading = [
            await run(storage, f"SHOW {name}", writes=False) for name in ("transaction_isolation", "application_name")
        ]
        ends = await run(storage, "SHOW idle_in_transaction_session_timeout")
    assert writing == ["on", "read committed", "10s", "5s"]
    assert reading == ["repeatable read", "mtls-as"]
    assert ends == "10s"


async def test_a_read_is_one_view(url: str) -> None:
    """Of what another node writes in between, nothing is seen."""
    async with opened(url) as storage, opened(url) as other:
        async with storage._transactions.read() as connection:
            assert await connection.scalar(select(revision.c.value)) == 0
            await other.clients.add(client())
            assert await connection.scalar(select(revision.c.value)) == 0
        assert await storage.revision() == 1


async def test_a_read_writes_nothing(url: str) -> None:
    async with opened(url) as storage:
        with pytest.raises(DatabaseUnavailable, match="is read-only"):
            await run(storage, "DELETE FROM revision", writes=False)


def test_a_password_from_a_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or from the environment, as every client of PostgreSQL takes it."""
    bare = url.replace(urlsplit(url).netloc.partition(":")[2].partition("@")[0], "").replace(":@", "@")
    assert urlsplit(bare).password is None
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    open_(bare, DatabaseSettings(password_file=file))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_(bare)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o600, "cannot be read: No such file"),
        ("hunter2\n", 0o640, "others may read the password"),
        ("\nhunter2\n", 0o600, "the first line must be the password"),
        ("", 0o600, "the first line must be the password"),
        ("wrong\n", 0o600, "the password is wrong, or there is none"),
    ],
)
def test_a_password_file_that_will_not_do(
    postgresql: PostgreSQL, tmp_path: Path, content: str | None, mode: int, message: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(DatabaseUnavailable, match=message) as caught:
        open_(f"postgresql://{ROLE}@127.0.0.1:{postgresql.port}/postgres", DatabaseSettings(password_file=file))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "hunter2"}, "the password is wrong, or there is none$"),
        ({"role": "nobody_here", "password": "hunter2"}, "does not let this user in"),
        ({"database": "nowhere"}, r"5432?.*/nowhere: has no database of this name; make it with: createdb$"),
    ],
)
def test_who_is_not_let_in_reads_why(postgresql: PostgreSQL, changes: dict[str, str], message: str) -> None:
    """With the place, and without the password."""
    with pytest.raises(DatabaseUnavailable, match=message.replace("5432?", str(postgresql.port))) as caught:
        open_(postgresql.url(**{"database": "postgres"} | changes))
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


def test_an_address_where_nobody_listens() -> None:
    for attempt in (open_, upgrade, current):
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/db: there is no connection"):
            attempt("postgresql://as:hunter2@127.0.0.1:1/db")


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(DatabaseUnavailable, match="not answer in time"),
    ):
        open_(f"postgresql://as:hunter2@127.0.0.1:{silent.getsockname()[1]}/db")


def test_an_empty_database_names_the_command(postgresql: PostgreSQL) -> None:
    with postgresql.database() as url, pytest.raises(DatabaseUnavailable, match=r"has no tables yet; .*: mtls-as init"):
        open_(url)


def test_a_missing_driver_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    for name in ("asyncpg", "mtls_as.storage.postgresql"):
        monkeypatch.setitem(sys.modules, name, None)
        if name == "asyncpg":
            monkeypatch.delitem(sys.modules, "mtls_as.storage.postgresql", raising=False)
            monkeypatch.delitem(sys.modules, "mtls_as.storage.postgresql_errors", raising=False)
            with pytest.raises(DatabaseUnavailable, match=r"pip install 'mtls-as\[server,postgresql\]'"):
                open_("postgresql://as:hunter2@db/as")


async def test_errors_hold_no_values(url: str) -> None:
    """PostgreSQL's own messages quote what was to be written."""
    async with opened(url) as storage:
        for statement in ("SELECT 'hunter2'::integer", "INSERT INTO nowhere VALUES ('hunter2')"):
            with pytest.raises(DatabaseUnavailable) as caught:
                await run(storage, statement)
            error = caught.value
            assert "hunter2" not in f"{error} {error.__cause__!r}"
            assert error.__suppress_context__


async def test_a_lock_and_a_statement_are_waited_for_so_long(url: str) -> None:
    async with opened(url) as holder, quick(url) as storage, holder._transactions.write(client_id=None):
        with pytest.raises(DatabaseUnavailable, match="is locked by another process"):
            await storage.clients.add(client())
        with pytest.raises(DatabaseUnavailable, match=r"longer than storage\.statement_timeout"):
            await run(storage, "SELECT pg_sleep(5)")


async def test_a_node_that_was_stopped_in_a_transaction_does_not_keep_the_others_waiting(url: str) -> None:
    """The database ends the transaction, and its node is told."""
    async with quick(url) as stopped, opened(url) as storage:

        async def stop_and_go_on() -> None:
            async with stopped._transactions.write(client_id=None) as connection:
                await storage.clients.add(client())  # in time, since the other one's transaction is ended
                await connection.execute(select(revision.c.value))

        with pytest.raises(DatabaseUnavailable, match="the connection to the database was lost"):
            await stop_and_go_on()
        assert await storage.revision() == 1
        await stopped.clients.add(client("other"))


async def test_a_pool_that_is_used_up(url: str) -> None:
    settings = DatabaseSettings(pool_size=1, connect_timeout=0.1)
    async with quick(url, settings) as storage, storage._transactions.read():
        with pytest.raises(DatabaseUnavailable, match="every connection is in use"):
            await storage.revision()


def test_too_many_connections() -> None:
    with (
        running_postgresql(
            fsync=False, settings={"max_connections": "5", "superuser_reserved_connections": "3"}
        ) as server,
        server.database() as url,
    ):
        upgrade(url)

        async def crowd() -> None:
            async with opened(url) as storage:
                crowd = (run(storage, "SELECT pg_sleep(0.3)") for _ in range(5))
                errors = [e for e in await asyncio.gather(*crowd, return_exceptions=True) if e]
                assert errors
                assert all(isinstance(error, DatabaseUnavailable) for error in errors)
                assert "has no connection left" in str(errors[0])
                assert await storage.revision() == 0

        asyncio.run(crowd())


def test_a_standby_can_not_be_written_to_and_says_so(postgresql: PostgreSQL) -> None:
    with postgresql.database() as url:
        upgrade(url)
        postgresql.execute(f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")

        async def write() -> None:
            async with opened(url) as storage:
                assert await storage.revision() == 0
                with pytest.raises(DatabaseUnavailable, match="is read-only, as a standby is"):
                    await storage.clients.add(client())

        asyncio.run(write())
        with pytest.raises(DatabaseUnavailable, match="none of the servers can be written"):
            open_(url + "?target_session_attrs=read-write")


def test_the_first_of_several_servers_that_answers(postgresql: PostgreSQL) -> None:
    with postgresql.database() as url:
        upgrade(url)
        open_(url.replace("@", "@127.0.0.1:1,"))


def test_a_unix_socket(postgresql: PostgreSQL) -> None:
    with postgresql.database() as url:
        upgrade(url)
        parts = urlsplit(url)
        authority = parts.netloc.rpartition("@")[0]
        open_(f"postgresql://{authority}@{parts.path}?host={postgresql.folder}&port={postgresql.port}")


async def test_a_restart_of_the_server_costs_no_request(url: str) -> None:
    """Connections that it has closed are replaced before they are used; while it is down, errors say so."""
    with running_postgresql() as server, server.database() as own:
        await asyncio.to_thread(upgrade, own)
        async with opened(own) as storage:
            await asyncio.gather(*(storage.revision() for _ in range(5)))
            for end in (server.stop, server.kill):
                await asyncio.to_thread(end)
                await asyncio.sleep(0.05)
                with pytest.raises(DatabaseUnavailable, match="there is no connection"):
                    await storage.revision()
                await asyncio.to_thread(server.start)
                before = await storage.revision()
                await asyncio.gather(*(storage.clients.add(client(f"c{before}-{n}")) for n in range(5)))
                assert await storage.revision() == before + 5


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


async def test_what_was_acknowledged_survives_a_kill_of_the_node_and_of_the_database() -> None:
    with running_postgresql() as server, server.database() as url:
        await asyncio.to_thread(upgrade, url)
        writer = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", WRITER, url], cwd=Path(__file__).parents[2], timeout=60
        )
        assert writer.returncode == -signal.SIGKILL
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        async with opened(url) as storage:
            assert len(await storage.clients.list()) == 5


async def test_closing_leaves_no_connection_behind(url: str, postgresql: PostgreSQL) -> None:
    count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name_of(url)}'"
    async with opened(url) as storage:
        await storage.wait_for_change(5.0)
        await asyncio.gather(*(storage.revision() for _ in range(5)))
        assert int(await asyncio.to_thread(postgresql.execute, count)) > 1
    for _ in range(50):
        if await asyncio.to_thread(postgresql.execute, count) == "0":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(await asyncio.to_thread(postgresql.execute, count))


async def test_any_stored_type_comes_back_as_it_was(url: str) -> None:
    """Times to the last bit, and counts beyond 32 bits."""
    at = 1_758_000_000.123456789
    async with opened(url) as storage:
        await storage.revocations.add(Revocation.of_client("c1", before=at))
        _, (found,) = await storage.revocations.since(-1)
        assert found.issued_before == at
        async with storage._transactions.write_quietly() as connection:
            await connection.execute(delete(revision))
            await connection.execute(insert(revision).values(id=1, value=2**40))
        await storage.clients.add(client())
        assert await storage.revision() == 2**40 + 1
        await storage.revocations.add(Revocation.of_client("c2", before=at))
        assert (await storage.revocations.since(2**40))[0] == 2**40 + 2
