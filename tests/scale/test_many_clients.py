"""Registered clients cost nothing until they come: with many, a server holds the memory that it holds with few."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.postgresql import PostgreSQL
from tests.scale.contender import Contender, serving
from tests.scale.population import Population

pytestmark = pytest.mark.slow

FEW, MANY = 10, 50_000
IN_USE = 10
TOKENS = 20
LIMIT = 1.2


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    if request.param == "sqlite":
        yield "sqlite:///test.db", "sqlite:///test.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    with server.database() as few, server.database() as many:
        yield few, many


def test_memory_does_not_grow_with_registered_clients(urls: tuple[str, str], tmp_path: Path) -> None:
    """Neither when it starts, nor when tokens are fetched, metrics are read and certificates end."""
    population = Population(active=IN_USE)
    few, many = (
        Contender.make(tmp_path / str(count), population, count, storage_url=url)
        for count, url in zip((FEW, MANY), urls, strict=True)
    )
    with serving(few, many):
        assert many.resident <= few.resident * LIMIT
        for contender in (few, many):
            for number in range(IN_USE):
                connection = contender.connect(number)
                for _ in range(TOKENS):
                    connection.fetch()
                connection.close()
            assert contender.check_tokens() == IN_USE * TOKENS
            assert "mtls_as_certificate_seconds_left" in metrics(contender)
        assert many.resident <= few.resident * LIMIT


def metrics(contender: Contender) -> str:
    """What the server says of itself."""
    url = f"https://localhost:{contender.admin_port}/metrics"
    return httpx.get(url, verify=contender.trusts_server(), trust_env=False, timeout=60).text
