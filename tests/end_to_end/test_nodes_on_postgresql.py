"""Two nodes on one PostgreSQL are one server: what one is told, the other knows."""

import contextlib
import signal
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.workplace import Process, Workplace, free_ports, running
from tests.postgresql import PostgreSQL, running_postgresql

pytestmark = pytest.mark.slow

ROUNDS = 10
SOON_SECONDS = 1.0
"""Within which a node knows what another was told."""
BUSY_SECONDS = 10.0
"""For a machine that is busy otherwise."""


class Nodes:
    """Two nodes of one issuer, with a resource server that may introspect."""

    def __init__(self, folder: Path, storage: str) -> None:
        self.workplace = Workplace.make(folder, storage=storage)
        self.workplace.edit("introspection_clients = []", 'introspection_clients = ["billing"]')
        self.ports = [self.workplace.port, *free_ports(1)]
        text = self.workplace.config.read_text()
        (folder / "second.toml").write_text(text.replace(f"127.0.0.1:{self.ports[0]}", f"127.0.0.1:{self.ports[1]}"))

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[Process]:
        file = ("config.toml", "second.toml")[number]
        with running("serve", "--config", file, cwd=self.workplace.folder) as process:
            process.wait_until_listening(self.ports[number])
            yield process

    @contextlib.contextmanager
    def client(self, name: str) -> Iterator[httpx.Client]:
        context = ssl.create_default_context(cafile=self.workplace.path("certs/ca.pem"))
        context.load_cert_chain(self.workplace.path(f"certs/{name}.pem"), self.workplace.path(f"certs/{name}-key.pem"))
        with httpx.Client(verify=context, trust_env=False) as client:
            yield client

    def post(self, client: httpx.Client, number: int, path: str, **form: str) -> httpx.Response:
        return client.post(f"https://localhost:{self.ports[number]}/{path}", data=form)

    def token(self, client: httpx.Client, number: int) -> str:
        answer = self.post(client, number, "token", grant_type="client_credentials", client_id="reports")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def is_active(self, client: httpx.Client, number: int, token: str) -> bool:
        answer = self.post(client, number, "introspect", client_id="billing", token=token)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["active"])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Iterator[Nodes]:
    with postgresql.database() as url:
        yield Nodes(tmp_path_factory.mktemp("nodes"), url)


def seconds_until(condition: Callable[[], Any]) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < BUSY_SECONDS, "not noticed"
    return time.monotonic() - started


def test_a_token_revoked_at_one_is_inactive_at_the_other(nodes: Nodes) -> None:
    """By a notice, and so well within the second that polling would take."""
    with nodes.running(0), nodes.running(1), nodes.client("reports") as reports, nodes.client("billing") as billing:
        took = []
        for number in range(ROUNDS):
            here, there = number % 2, 1 - number % 2
            token = nodes.token(reports, here)
            assert nodes.is_active(billing, there, token)
            assert nodes.post(reports, here, "revoke", client_id="reports", token=token).status_code == 200
            assert not nodes.is_active(billing, here, token), "at once where it was revoked"
            took.append(seconds_until(lambda token=token, there=there: not nodes.is_active(billing, there, token)))
        assert statistics.median(took) < SOON_SECONDS / 2, took


def test_both_publish_the_same_keys(nodes: Nodes) -> None:
    """Also a key that was made a moment ago."""
    with nodes.running(0), nodes.running(1), nodes.client("reports") as client:

        def published(number: int) -> Any:
            return client.get(f"https://localhost:{nodes.ports[number]}/jwks").json()

        before = published(0)
        assert published(1) == before
        nodes.workplace.succeed("keys", "rotate")
        seconds_until(lambda: published(0) == published(1) != before)


def test_a_node_without_notices_looks_by_itself(nodes: Nodes, postgresql: PostgreSQL) -> None:
    """Its listening connection is ended again and again: revocations arrive all the same."""
    listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
    with nodes.running(0), nodes.running(1), nodes.client("reports") as reports, nodes.client("billing") as billing:
        for _ in range(3):
            token = nodes.token(reports, 0)
            assert nodes.is_active(billing, 1, token)
            postgresql.execute(listening)
            assert nodes.post(reports, 0, "revoke", client_id="reports", token=token).status_code == 200
            seconds_until(lambda token=token: not nodes.is_active(billing, 1, token))


def test_nodes_go_on_after_the_database_was_killed(tmp_path: Path) -> None:
    """Nothing that was acknowledged is forgotten, and no node has to be started again."""
    with running_postgresql() as server, server.database() as url:
        nodes = Nodes(tmp_path, url)
        with nodes.running(0) as first, nodes.running(1) as second, nodes.client("reports") as reports:
            with nodes.client("billing") as billing:
                revoked, alive = nodes.token(reports, 0), nodes.token(reports, 1)
                assert nodes.post(reports, 0, "revoke", client_id="reports", token=revoked).status_code == 200
                server.kill()
                server.start()
                for number in (0, 1):
                    seconds_until(lambda number=number: not nodes.is_active(billing, number, revoked))
                    assert nodes.is_active(billing, number, alive)
                assert nodes.post(reports, 1, "revoke", client_id="reports", token=alive).status_code == 200
                seconds_until(lambda: not nodes.is_active(billing, 0, alive))
            assert [process.end(signal.SIGTERM) for process in (first, second)] == [0, 0]
            assert "only%2Ffor" not in first.output + first.errors + second.output + second.errors
