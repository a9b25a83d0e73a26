"""DPoP proofs are let in once, and nonces are known: by two servers on one database, and by one that was killed."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.workplace import Process, Workplace, free_ports
from tests.cli.workplace import running as running_program
from tests.dpop import DPoPKey
from tests.end_to_end.conftest import fresh_database

pytestmark = pytest.mark.slow

ROUNDS = 12


class Nodes:
    """Two nodes of one issuer, on one database and with nonces, and a client that is bound by DPoP."""

    def __init__(self, folder: Path, storage: str | None) -> None:
        self.workplace = Workplace.make(folder, storage=storage)
        self.key = DPoPKey()
        self.workplace.edit("nonces = false", "nonces = true")
        registration = ("--trust", "default", "--san-dns", "reports.example", "--dpop", "--scope", "reports:read")
        self.workplace.succeed("client", "add", "--client-id", "dpop", *registration)
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

    def proof(self, nonce: str | None = None) -> str:
        """For both nodes: clients know them by one URL."""
        return self.key.proof("POST", f"{self.workplace.issuer}/token", nonce=nonce)

    def ask(self, number: int, proof: str) -> httpx.Response:
        with httpx.Client(verify=self.context(), trust_env=False) as http:
            return http.post(self.url(number), data=self.form, headers={"DPoP": proof})

    def status(self, number: int, proof: str) -> tuple[int, str]:
        response = self.ask(number, proof)
        return response.status_code, response.json().get("error", "")

    form = {"grant_type": "client_credentials", "client_id": "dpop"}  # noqa: RUF012 # never changed

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.workplace.path("certs/ca.pem"))
        context.load_cert_chain(self.workplace.path("certs/reports.pem"), self.workplace.path("certs/reports-key.pem"))
        return context


GOOD, REPLAYED = (200, ""), (400, "invalid_dpop_proof")


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, database_kind: str, request: pytest.FixtureRequest
) -> Iterator[Nodes]:
    with fresh_database(database_kind, request) as storage:
        yield Nodes(tmp_path_factory.mktemp("nodes"), storage)


def test_two_nodes_let_a_proof_in_once(nodes: Nodes) -> None:
    """One after the other, and several times at the same moment; each knows the other's nonces."""

    async def together(proof: str) -> list[int]:
        async with httpx.AsyncClient(verify=nodes.context(), trust_env=False) as http:
            posts = (http.post(nodes.url(n), data=nodes.form, headers={"DPoP": proof}) for n in (0, 1, 0, 1))
            return sorted(answer.status_code for answer in await asyncio.gather(*posts))

    with nodes.running(0), nodes.running(1):
        assert nodes.status(0, nodes.proof()) == (400, "use_dpop_nonce")
        nonce = nodes.ask(0, nodes.proof()).headers["DPoP-Nonce"]
        proof = nodes.proof(nonce)
        assert [nodes.status(number, proof) for number in (1, 0, 1)] == [GOOD, REPLAYED, REPLAYED]
        for _ in range(ROUNDS):
            nonce = nodes.ask(1, nodes.proof()).headers["DPoP-Nonce"]
            assert asyncio.run(together(nodes.proof(nonce))) == [200, 400, 400, 400]


def test_a_killed_node_forgets_nothing_that_it_answered(nodes: Nodes) -> None:
    """SIGKILL the moment the answer is there; the other node, and the same one again, refuse the proof."""
    with nodes.running(1):
        for _ in range(2):
            nonce = nodes.ask(1, nodes.proof()).headers["DPoP-Nonce"]
            proof = nodes.proof(nonce)
            with nodes.running(0) as process:
                assert nodes.status(0, proof) == GOOD
                assert process.end(signal.SIGKILL) == -signal.SIGKILL
            assert nodes.status(1, proof) == REPLAYED
            with nodes.running(0):
                assert nodes.status(0, proof) == REPLAYED
                assert nodes.status(0, nodes.proof(nonce)) == GOOD
