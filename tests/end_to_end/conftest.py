"""Servers on either kind of database."""

import contextlib
from contextlib import AbstractContextManager

import pytest


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def fresh_database(kind: str, request: pytest.FixtureRequest) -> AbstractContextManager[str | None]:
    """The URL of an empty database for `Workplace.make`, which makes that of SQLite itself."""
    if kind == "sqlite":
        return contextlib.nullcontext()
    server = request.getfixturevalue("postgresql")
    database: AbstractContextManager[str] = server.database()
    return database
