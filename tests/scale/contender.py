"""One server of its own process and core, what it costs, and clients that ask it for tokens."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlencode

import httpx

from mtls_as.rfc.rfc7517_jwk import parse_jwks
from mtls_as.rfc.rfc7519_jwt import verify
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.cli.workplace import free_ports
from tests.running import Deployment
from tests.scale.population import Population, client_id

SERVER_CORE: Final = 0
LOAD_CORE: Final = 1
_START_SECONDS: Final = 120.0


@dataclass
class Contender:
    """A deployment with so many registered clients, and its server."""

    title: str
    population: Population
    deployment: Deployment
    contexts: Path
    """Where the certificates of clients are written, for OpenSSL to read."""
    issued: list[tuple[int, str]] = field(default_factory=list)
    """Every token that the server gave, with the number of its client."""
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls, folder: Path, population: Population, count: int, *, storage_url: str) -> Self:
        """Its files, and its clients in the database."""
        folder.mkdir()
        port, admin_port = free_ports(2)
        deployment = Deployment(
            folder, storage_url=storage_url, admin=True, admin_port=admin_port, port=port, lifetime=3_600
        )
        deployment.trust("default", population.authority)
        deployment.write()
        population.load(_url(deployment), count)
        return cls(f"{count:,} clients", population, deployment, folder.parent)

    def start(self) -> float:
        """Start the server; the seconds until it says that it is ready."""
        notices = self.deployment.folder / "notices"
        notices.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
            hearing.bind(str(notices))
            hearing.settimeout(1.0)
            began = time.perf_counter()
            with (self.deployment.folder / "log").open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "mtls_as.cli", "serve", "--config", str(self.deployment.path)],
                    env=os.environ | {"NOTIFY_SOCKET": str(notices)},
                    stdout=output,
                    stderr=output,
                    preexec_fn=_onto_server_core,  # noqa: PLW1509 # this process has one thread
                )
            while not self._is_ready(hearing):
                log = (self.deployment.folder / "log").read_text()
                assert self._process.poll() is None, log
                assert time.perf_counter() - began < _START_SECONDS, log
        return time.perf_counter() - began

    def _is_ready(self, hearing: socket.socket) -> bool:
        try:
            return b"READY=1" in hearing.recv(4096)
        except TimeoutError:
            return False

    def stop(self) -> None:
        """End the server in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_START_SECONDS)
        self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [line] = [line for line in status if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    @property
    def processor_time(self) -> float:
        """Seconds of processor time that its threads have had."""
        tasks = Path(f"/proc/{self.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def connect(self, number: int) -> "Connection":
        """A connection of the client of this number."""
        return Connection(self, number, self._context(number))

    def check_tokens(self) -> int:
        """Verify every token so far: signature, client and binding; returns how many there were."""
        context = self.trusts_server()
        with httpx.Client(verify=context, base_url=f"https://localhost:{self.deployment.port}", trust_env=False) as one:
            keys = parse_jwks(one.get("/jwks").json())
        issued, self.issued = self.issued, []
        for number, token in issued:
            claims = verify(token, keys, type="at+jwt", algorithms=["ES256"]).claims
            expected = x5t_s256(self.population.identity(number).der)
            assert (claims["client_id"], claims["cnf"]) == (client_id(number), {"x5t#S256": expected}), claims
        return len(issued)

    def trusts_server(self) -> ssl.SSLContext:
        """TLS for whoever has no certificate."""
        return ssl.create_default_context(cadata=self.deployment.server_authority.pem)

    @property
    def admin_port(self) -> int:
        return self.deployment.admin_port

    def _context(self, number: int) -> ssl.SSLContext:
        context = self.trusts_server()
        certificate, key = self.contexts / f"{number}.pem", self.contexts / f"{number}-key.pem"
        if not key.exists():
            self.population.identity(number).write(self.contexts, str(number))
        context.load_cert_chain(certificate, key)
        return context


class Connection:
    """A client's connection, to be kept or not."""

    def __init__(self, contender: Contender, number: int, context: ssl.SSLContext) -> None:
        self._contender, self._number, self._context = contender, number, context
        body = urlencode({"grant_type": "client_credentials", "client_id": client_id(number)})
        fields = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
        self._request = f"POST /token HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}".encode()
        self._socket: ssl.SSLSocket | None = None

    def fetch(self) -> float:
        """A token, over the open connection if there is one; the seconds that it took."""
        began = time.perf_counter()
        if self._socket is None:
            plain = socket.create_connection(("127.0.0.1", self._contender.deployment.port), timeout=30)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._context.wrap_socket(plain, server_hostname="localhost")
        self._socket.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            piece = self._socket.recv(65_536)
            assert piece, answer
            answer += piece
        took = time.perf_counter() - began
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        token = json.loads(answer.partition(b"\r\n\r\n")[2])["access_token"]
        self._contender.issued.append((self._number, token))
        return took

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.unwrap()
            self._socket.close()
            self._socket = None


@contextlib.contextmanager
def serving(*contenders: Contender) -> Iterator[None]:
    """Their servers, stopped at the end."""
    started = []
    try:
        for each in contenders:
            each.start()
            started.append(each)
        yield
    finally:
        for each in started:
            each.stop()


def _url(deployment: Deployment) -> str:
    name = deployment.storage_url.removeprefix("sqlite:///")
    return f"sqlite:///{deployment.folder / name}" if name != deployment.storage_url else name


def _onto_server_core() -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
