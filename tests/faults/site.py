"""One deployment of any number of nodes on one database, and the parties that use it."""

import asyncio
import contextlib
import functools
import itertools
import json
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx

from mtls_as.config import load_settings
from mtls_as.server.clients import ClientSource, parse_client
from mtls_as.server.registration_policy import RegistrationPolicy
from mtls_as.server.registrations import InitialAccessToken, make_token
from mtls_as.storage import Storage, open_storage, read_encryption_key
from tests.assertions import AssertingClient
from tests.authority import Identity
from tests.cli.workplace import free_ports
from tests.faults.zygote import Child, Zygote
from tests.http.introspecting import Parties

START_SECONDS = 60.0

_numbers = itertools.count()


class Site:
    """The files of a deployment. Its nodes are alike but for their ports, as behind a balancer."""

    def __init__(
        self, folder: Path, *, storage_url: str = "sqlite:///test.db", storage_options: str = "", drain: float = 0.0
    ) -> None:
        self.folder = folder
        self.parties = Parties.create()
        self.batch = AssertingClient("batch")
        self.deployment = self.parties.deployment(
            folder, storage_url=storage_url, storage_options=storage_options, drain=drain, admin=True, lifetime=3_600
        )
        self.deployment.client("batch", token_endpoint_auth_method="private_key_jwt", jwks=self.batch.jwks)
        # Whoever shows again and again that what was used is refused would be told to wait.
        self.deployment.sections.append("[registration]\n[limits]\nfailure_rate = 0\n")
        self.deployment.write()
        self.initial_access_token = asyncio.run(self._fill())

    def node(self, number: int, **options: str) -> "Place":
        """The place of a node: ports of its own, and a configuration file that says so."""
        return Place(self, number, options)

    @contextlib.asynccontextmanager
    async def storage(self) -> AsyncIterator[Storage]:
        """The database, past the nodes: as a command of the operator opens it."""
        settings = load_settings(self.deployment.path).storage
        key = read_encryption_key(settings.encryption_key_file)
        storage = open_storage(settings.url, encryption_key=key, clock=time.time, settings=settings.database)
        try:
            yield storage
        finally:
            await storage.close()

    @functools.cache  # noqa: B019 # a site lasts as long as its test
    def context(self, identity: Identity | None) -> ssl.SSLContext:
        """A client's TLS: trusts the nodes, presents a certificate."""
        context = ssl.create_default_context(cadata=self.deployment.server_authority.pem)
        if identity is not None:
            stem = f"client-{identity.certificate.serial_number}"
            context.load_cert_chain(*identity.write(self.folder, stem))
        return context

    async def _fill(self) -> str:
        """A client in the database, and a token by which others register themselves."""
        text, digest = make_token()
        policy = RegistrationPolicy(scope=("reports:read",), trust=("default",), methods=("tls_client_auth",))
        token = InitialAccessToken(digest=digest, policy=policy, uses_left=100_000, expires_at=time.time() + 86_400)
        members = {
            "client_id": "stored",
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_san_dns": "c1.example",
            "trust": "default",
            "scope": "reports:read",
        }
        async with self.storage() as storage:
            await storage.registrations.add_initial_access_token(token)
            await storage.clients.add(parse_client(members, ClientSource.STORAGE))
        return text


class Place:
    """Where a node is."""

    def __init__(self, site: Site, number: int, replaced: dict[str, str]) -> None:
        self.site = site
        self.number = number
        self.port, self.admin_port = free_ports(2)
        self.config = site.folder / f"node{number}.toml"
        text = site.deployment.path.read_text()
        text = text.replace('bind = "127.0.0.1:0"', f'bind = "127.0.0.1:{self.port}"', 1)
        text = text.replace('bind = "127.0.0.1:0"', f'bind = "127.0.0.1:{self.admin_port}"', 1)
        for old, new in replaced.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.config.write_text(text)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def start(self, zygote: Zygote, *, migrations: Path | None = None) -> Child:
        """Start the node; it may not yet listen."""
        log = self.site.folder / f"log-{self.number}-{next(_numbers)}"
        return zygote.serve(self.config, log, migrations=migrations)

    @contextlib.contextmanager
    def running(self, zygote: Zygote) -> Iterator[Child]:
        """A node that serves; at the end it is killed, if it still runs."""
        child = self.start(zygote)
        try:
            self.wait_until_serving(child)
            yield child
        finally:
            if child.runs:
                child.send(signal.SIGKILL)
            child.wait()

    def wait_until_serving(self, child: Child) -> None:
        """Until it answers; an early end shows what it said."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if not child.runs:
                raise AssertionError(f"the node ended:\n{child.log.read_text()[-3000:]}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.01)
        raise TimeoutError("the node does not listen")

    def wait_until_ready(self, child: Child) -> None:
        """Until it says so; it listens before."""
        self.wait_until_serving(child)
        while self.ready().status_code != 200:
            time.sleep(0.05)

    def ready(self) -> httpx.Response:
        """What `/health/ready` says."""
        url = f"https://localhost:{self.admin_port}/health/ready"
        return httpx.get(url, verify=self.site.context(None), trust_env=False, timeout=START_SECONDS)

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        url = f"https://localhost:{self.admin_port}/metrics"
        text = httpx.get(url, verify=self.site.context(None), trust_env=False, timeout=10).text
        [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])


def log_lines(log: Path) -> list[str]:
    """What a node said of itself, without its events."""
    return [line for line in log.read_text().splitlines() if not line.startswith("{")]


def events(log: Path) -> list[dict[str, object]]:
    """Its events."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
