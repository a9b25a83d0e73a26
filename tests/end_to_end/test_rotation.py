"""Signing keys rotate by schedule, with two servers on one database, whichever of them lives."""

import asyncio
import contextlib
import json
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import jwt
import pytest

from mtls_as.config import load_settings
from mtls_as.server.key_upkeep import PUBLISH_AHEAD
from mtls_as.server.signing_keys import SigningKey
from mtls_as.storage import open_storage, read_encryption_key
from tests.cli.workplace import Process, Workplace, free_ports, running
from tests.end_to_end.conftest import fresh_database

pytestmark = pytest.mark.slow

DAY = 86_400.0
NOTICE_SECONDS = 20.0


@dataclass
class Nodes:
    """Two configurations on one database."""

    workplace: Workplace
    configs: tuple[Path, Path]
    ports: tuple[int, int]

    def stored(self) -> tuple[SigningKey, ...]:
        return asyncio.run(self._stored())

    async def _stored(self) -> tuple[SigningKey, ...]:
        settings = load_settings(self.configs[0])
        key = read_encryption_key(settings.storage.encryption_key_file)
        storage = open_storage(settings.storage.url, encryption_key=key, clock=time.time)
        try:
            return await storage.signing_keys.all()
        finally:
            await storage.close()

    def age(self, seconds: float) -> None:
        """Let the newest key have begun that long ago."""
        asyncio.run(self._age(seconds))

    async def _age(self, seconds: float) -> None:
        settings = load_settings(self.configs[0])
        key = read_encryption_key(settings.storage.encryption_key_file)
        storage = open_storage(settings.storage.url, encryption_key=key, clock=time.time)
        try:
            *_, newest = await storage.signing_keys.all()
            begun = time.time() - seconds
            await storage.signing_keys.update(replace(newest, created_at=begun, activates_at=begun))
        finally:
            await storage.close()

    @contextlib.contextmanager
    def serving(self, index: int) -> Iterator[Process]:
        with running("serve", "--config", str(self.configs[index]), cwd=self.workplace.folder) as server:
            server.wait_until_listening(self.ports[index])
            yield server

    def _client(self, *certificate: str) -> httpx.Client:
        context = ssl.create_default_context(cafile=self.workplace.path("certs/ca.pem"))
        if certificate:
            context.load_cert_chain(*(self.workplace.path(f"certs/{name}") for name in certificate))
        return httpx.Client(verify=context, trust_env=False)

    def published(self, index: int) -> set[str]:
        with self._client() as client:
            keys = client.get(f"https://localhost:{self.ports[index]}/jwks").json()["keys"]
        return {key["kid"] for key in keys}

    def signer(self, index: int) -> str:
        """The key that a new token of a node is signed with."""
        form = {"grant_type": "client_credentials", "client_id": "reports"}
        with self._client("reports.pem", "reports-key.pem") as client:
            answer = client.post(f"https://localhost:{self.ports[index]}/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(jwt.get_unverified_header(answer.json()["access_token"])["kid"])


@pytest.fixture
def nodes(tmp_path: Path, database_kind: str, request: pytest.FixtureRequest) -> Iterator[Nodes]:
    with fresh_database(database_kind, request) as storage:
        yield make_nodes(tmp_path, storage)


def make_nodes(tmp_path: Path, storage: str | None) -> Nodes:
    workplace = Workplace.make(tmp_path, storage=storage)
    workplace.edit("rotate_every = 0\n", 'rotate_every = "10d"\n')
    (other,) = free_ports(1)
    text = workplace.config.read_text().replace(f"127.0.0.1:{workplace.port}", f"127.0.0.1:{other}")
    second = tmp_path / "second.toml"
    second.write_text(text)
    return Nodes(workplace, (workplace.config, second), (workplace.port, other))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NOTICE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not noticed"
        time.sleep(0.1)


def test_two_servers_rotate_once(nodes: Nodes) -> None:
    """Both find at their start that a key is due; one key is made, both publish it, and both sign with the old one."""
    (old,) = nodes.stored()
    nodes.age(10 * DAY)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running("serve", "--config", str(nodes.configs[0]), cwd=nodes.workplace.folder))
        second = stack.enter_context(running("serve", "--config", str(nodes.configs[1]), cwd=nodes.workplace.folder))
        for server, port in ((first, nodes.ports[0]), (second, nodes.ports[1])):
            server.wait_until_listening(port)
        eventually(lambda: len(nodes.stored()) == 2)
        _, new = nodes.stored()
        assert abs(new.activates_at - (new.created_at + PUBLISH_AHEAD)) < 1
        for index in (0, 1):
            eventually(lambda index=index: nodes.published(index) == {old.kid, new.kid})  # type: ignore[misc] # a condition
            assert nodes.signer(index) == old.kid
        time.sleep(1.5)
        assert len(nodes.stored()) == 2
        assert [server.end(signal.SIGTERM) for server in (first, second)] == [0, 0]
        said = first.output + first.errors + second.output + second.errors
        assert said.count(f"new signing key {new.kid}") == 1


@pytest.mark.parametrize("killed", [0, 1])
def test_whoever_is_left_goes_on(nodes: Nodes, killed: int) -> None:
    """SIGKILL of either: the other signs, publishes, and takes over what was stored; nothing is lost or made twice."""
    left = 1 - killed
    nodes.age(10 * DAY)
    with nodes.serving(0) as first, nodes.serving(1) as second:
        eventually(lambda: len(nodes.stored()) == 2)
        old, new = nodes.stored()
        (first, second)[killed].end(signal.SIGKILL)
        eventually(lambda: nodes.published(left) == {old.kid, new.kid})
        assert nodes.signer(left) == old.kid
        nodes.age(1.0)  # the new key's time has come
        eventually(lambda: nodes.signer(left) == new.kid)
        assert nodes.published(left) == {old.kid, new.kid}
    with nodes.serving(killed):
        assert nodes.signer(killed) == new.kid
        assert nodes.published(killed) == {old.kid, new.kid}
    assert len(nodes.stored()) == 2


def test_killed_while_it_rotates(nodes: Nodes) -> None:
    """At any moment of its start: one key more or none, never a database without a key that signs."""
    (old,) = nodes.stored()
    for delay in (0.2, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1):
        if len(nodes.stored()) == 1:
            nodes.age(10 * DAY)
        with running("serve", "--config", str(nodes.configs[0]), cwd=nodes.workplace.folder) as server:
            time.sleep(delay)
            server.end(signal.SIGKILL)
        stored = nodes.stored()
        assert len(stored) <= 2
        assert stored[0].kid == old.kid
        assert sum(key.expires_at is None for key in stored) == 1
        rows = json.loads(nodes.workplace.succeed("keys", "list", "--json"))
        assert [row["state"] for row in rows] == ["active", "next"][: len(stored)]
    with nodes.serving(0):
        eventually(lambda: len(nodes.published(0)) == 2)
        assert nodes.signer(0) == old.kid


def test_an_algorithm_that_is_dropped_ends_and_its_tokens_do_not(nodes: Nodes) -> None:
    """Its key stays in the key set until the last token that it may have signed has ended, and no longer."""
    nodes.workplace.edit("\nalgorithms = []\n", '\nalgorithms = ["EdDSA"]\n')
    nodes.workplace.succeed("init")
    nodes.workplace.edit('\nalgorithms = ["EdDSA"]\n', "\nalgorithms = []\n")
    with nodes.serving(0):
        eventually(lambda: any(key.expires_at is not None for key in nodes.stored()))
        by_algorithm = {key.algorithm: key for key in nodes.stored()}
        assert by_algorithm["ES256"].expires_at is None
        ends = by_algorithm["EdDSA"].expires_at
        assert ends is not None
        assert ends - time.time() > DAY
        assert nodes.published(0) == {key.kid for key in by_algorithm.values()}
