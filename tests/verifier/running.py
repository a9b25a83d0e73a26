"""Resource servers of the documentation as processes of their own, each under the server that it is made for."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.authority import Authority, Identity
from tests.forwarded.proxies import Upstream, running_proxy
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.verifier.issuer import AUDIENCE, Issuer

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
START_SECONDS = 20.0

AS = Issuer()
CLIENT_CA = Authority.create("Client CA")
MINE, THIEF = CLIENT_CA.issue("mine"), CLIENT_CA.issue("thief")


@dataclass(frozen=True)
class Place:
    """Where a resource server is, and what is needed to call it."""

    url: str
    issuer: str
    ca: str
    folder: Path

    def token(self, certificate: bytes | None, **claims: Any) -> str:
        now = int(time.time())
        return AS.token(certificate, **({"iss": self.issuer, "iat": now, "exp": now + 60} | claims))

    def client_context(self, identity: Identity | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca)
        if identity is not None:
            context.load_cert_chain(*identity.write(self.folder, f"client-{identity.certificate.serial_number}"))
        return context

    def get(self, identity: Identity | None, token: str | None, path: str = "/reports") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(self.url + path, headers=headers, verify=self.client_context(identity), trust_env=False)


def issuer_server() -> HTTPSServer:
    """The metadata and the keys of the issuer, at the issuer's own URL."""

    def reply(request: Request) -> bytes:
        return answer(AS.jwks if request.path == "/jwks" else {"issuer": server.url, "jwks_uri": server.url + "/jwks"})

    server = HTTPSServer(reply)
    return server


Server = Callable[[Path, HTTPSServer, Path], contextlib.AbstractContextManager[Place]]


@contextlib.contextmanager
def by_itself(example: Path, server: HTTPSServer, folder: Path) -> Iterator[Place]:
    """It serves when it is run, and prints where."""
    with _process([sys.executable, str(example)], _environment(server, folder), folder) as log:
        port = _wait_for(log, r"listening on .*:(\d+)")
        yield Place(f"https://localhost:{port}", server.url, server.authority.pem, folder)


@contextlib.contextmanager
def under_gunicorn(example: Path, server: HTTPSServer, folder: Path, *options: str) -> Iterator[Place]:
    """As its documentation says: two workers with threads, the application loaded before they fork."""
    environment = _environment(server, folder)
    command = [
        *(sys.executable, "-m", "gunicorn", f"{example.stem}:app", "--bind", "127.0.0.1:0", "--no-control-socket"),
        *("--certfile", environment["CERTIFICATE"], "--keyfile", environment["PRIVATE_KEY"]),
        *("--ca-certs", environment["CLIENT_CA"], "--cert-reqs", "1"),
        *("--worker-tmp-dir", str(folder), *options),
    ]
    with _process(command, environment, folder) as log:
        port = _wait_for(log, r"Listening at: https://127\.0\.0\.1:(\d+)")
        yield Place(f"https://localhost:{port}", server.url, server.authority.pem, folder)


@contextlib.contextmanager
def under_uvicorn_behind_nginx(example: Path, server: HTTPSServer, folder: Path) -> Iterator[Place]:
    """On a unix socket, which uvicorn opens to all who may enter its folder; here that is everybody, as for a test."""
    with tempfile.TemporaryDirectory() as short:  # nginx serves as nobody, who cannot look into the folders of pytest
        Path(short).chmod(0o755)
        yield from _behind_nginx(example, server, folder, Path(short) / "api.sock")


def _behind_nginx(example: Path, server: HTTPSServer, folder: Path, socket: Path) -> Iterator[Place]:
    command = [sys.executable, "-m", "uvicorn", f"{example.stem}:app", "--uds", str(socket), "--no-proxy-headers"]
    upstream = Upstream("a unix socket", unix_socket=socket)
    with _process(command, _environment(server, folder), folder) as log:
        _wait_for(log, r"running on (unix socket)")
        with running_proxy("nginx.conf", folder, upstream) as proxy:
            yield Place(f"https://localhost:{proxy.port}", server.url, proxy.authority.pem, folder)


def _environment(server: HTTPSServer, folder: Path) -> dict[str, str]:
    certificate, key = server.authority.issue_server("localhost").write(folder, "api")
    (folder / "ca.pem").write_text(server.authority.pem)
    (folder / "client-ca.pem").write_text(CLIENT_CA.pem)
    return os.environ | {
        "ISSUER": server.url, "AUDIENCE": AUDIENCE, "CA": str(folder / "ca.pem"), "BIND": "127.0.0.1:0",
        "CERTIFICATE": str(certificate), "PRIVATE_KEY": str(key), "CLIENT_CA": str(folder / "client-ca.pem"),
    }  # fmt: skip


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[Path]:
    """Runs in the folder of the examples until the block ends; yields the file with all that it prints."""
    log = folder / "server-log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, cwd=EXAMPLES, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)
    assert process.returncode in {0, -signal.SIGTERM}, log.read_text()
    assert "Traceback" not in log.read_text(), log.read_text()


def _wait_for(log: Path, pattern: str) -> str:
    for _ in range(int(START_SECONDS / 0.05)):
        if found := re.search(pattern, log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
