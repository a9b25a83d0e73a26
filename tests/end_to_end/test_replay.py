"""Assertions are let in once: by two servers on one database, and by one that was killed in between."""

import asyncio
import contextlib
import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.assertions import AssertingClient
from tests.cli.workplace import Process, Workplace, free_ports
from tests.cli.workplace import running as running_program
from tests.end_to_end.conftest import fresh_database

pytestmark = pytest.mark.slow

ROUNDS = 12


class Nodes:
    """Two nodes of one issuer, on one database, and a client whose assertions both take."""

    def __init__(self, folder: Path, storage: str | None) -> None:
        self.workplace = Workplace.make(folder, storage=storage)
        self.client = AssertingClient("batch")
        keys = self.workplace.write("batch.json", json.dumps(self.client.jwks))
        registration = ("--client-id", "batch", "--method", "private_key_jwt", "--jwks", keys)
        self.workplace.succeed("client", "add", *registration, "--scope", "reports:read", "--bearer")
        self.ports = [self.workplace.port, *free_ports(1)]
        text = self.workplace.config.read_text()
        bind = f'bind = "127.0.0.1:{self.ports[0]}"'
        assert text.count(bind) == 1
        (folder / "second.toml").write_text(text.replace(bind, f'bind = "127.0.0.1:{self.ports[1]}"'))

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[Process]:
        file = ("config.toml", "second.toml")[number]
        with running_program("serve", "--config", file, cwd=self.workplace.folder) as process:
            process.wait_until_listening(self.ports[number])
            yield process

    def url(self, number: int) -> str:
        return f"https://localhost:{self.ports[number]}/token"

    def form(self) -> dict[str, str]:
        """A request with a new assertion."""
        return {"grant_type": "client_credentials"} | self.client.form(aud=self.workplace.issuer)

    def ask(self, number: int, form: dict[str, str]) -> int:
        with httpx.Client(verify=self.context(), trust_env=False) as http:
            return http.post(self.url(number), data=form).status_code

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.workplace.path("certs/ca.pem"))


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, database_kind: str, request: pytest.FixtureRequest
) -> Iterator[Nodes]:
    with fresh_database(database_kind, request) as storage:
        yield Nodes(tmp_path_factory.mktemp("nodes"), storage)


def test_two_nodes_let_an_assertion_in_once(nodes: Nodes) -> None:
    """One after the other, and several times at the same moment."""

    async def together(form: dict[str, str]) -> list[int]:
        async with httpx.AsyncClient(verify=nodes.context(), trust_env=False) as http:
            urls = [nodes.url(number) for number in (0, 1, 0, 1)]
            answers = await asyncio.gather(*(http.post(url, data=form) for url in urls))
            return sorted(answer.status_code for answer in answers)

    with nodes.running(0), nodes.running(1):
        form = nodes.form()
        assert [nodes.ask(number, form) for number in (0, 1, 0)] == [200, 401, 401]
        for _ in range(ROUNDS):
            assert asyncio.run(together(nodes.form())) == [200, 401, 401, 401]


def test_a_killed_node_forgets_nothing_that_it_answered(nodes: Nodes) -> None:
    """SIGKILL the moment the answer is there; the other node, and the same one again, refuse the assertion."""
    with nodes.running(1):
        for _ in range(2):
            form = nodes.form()
            with nodes.running(0) as process:
                assert nodes.ask(0, form) == 200
                assert process.end(signal.SIGKILL) == -signal.SIGKILL
            assert nodes.ask(1, form) == 401
            with nodes.running(0):
                assert nodes.ask(0, form) == 401
