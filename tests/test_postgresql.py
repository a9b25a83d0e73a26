"""The database server of the tests is a real one, and can fail as one."""

from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.postgresql import PostgreSQL, running_postgresql


async def _one(url: str, statement: str = "SELECT 1") -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_each_database_is_fresh_and_ends(postgresql: PostgreSQL) -> None:
    with postgresql.database() as url:
        await _one(url, "CREATE TABLE t AS SELECT 7 AS n")
        assert await _one(url, "SELECT n FROM t") == 7
        with postgresql.database() as other:
            assert await _one(other, "SELECT to_regclass('t')") is None
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await _one(other)


async def test_its_password_is_asked_for(postgresql: PostgreSQL) -> None:
    with postgresql.database() as url, pytest.raises(asyncpg.InvalidPasswordError):
        await _one(postgresql.url(urlsplit(url).path[1:], password="another"))


async def test_it_comes_back_with_its_data_after_a_stop_and_a_kill() -> None:
    with running_postgresql() as server, server.database() as url:
        await _one(url, "CREATE TABLE t AS SELECT 7 AS n")
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(ConnectionRefusedError):
                await _one(url)
            server.start()
            assert await _one(url, "SELECT n FROM t") == 7
