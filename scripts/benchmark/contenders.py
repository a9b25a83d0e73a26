"""Who is measured: this server, the peer, and nginx answering a constant; and the proxy before them.

wrk presents no client certificate, so an nginx originates mutual TLS for it, on the core of the load.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from benchmark.failures import BenchmarkError
from benchmark.machine import CONTENDER_CORE, LOAD_CORE, on_core

ROOT: Final = Path(__file__).parent.parent.parent
PEER: Final = Path(__file__).parent / "peer"
HERE_NAME: Final = "here"
PEER_NAME: Final = "peer"
LIMIT_NAME: Final = "limit"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server that runs on the contender's core."""

    name: str
    process: int
    port: int
    load_port: int
    """Where the proxy takes plain HTTP for it."""


class Place:
    """A folder with certificates and configurations, in which servers are started; all end with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = folder / "certs"
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        _configure(self.folder, workers=1)
        program = Path(sys.executable).parent / "mtls-as"
        subprocess.run([program, "init", "--development"], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        _write_revocation_list(self.certificates)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def start(self, *names: str) -> dict[str, Contender]:
        """These contenders, and the proxy before them."""
        starters = {HERE_NAME: self._server, PEER_NAME: self._peer, LIMIT_NAME: self._limit}
        servers = {
            name: (starters[name](port), port) for name, port in zip(names, _free_ports(len(names)), strict=True)
        }
        load_ports = self._proxy({name: port for name, (_, port) in servers.items()})
        return {
            name: Contender(name=name, process=process, port=port, load_port=load_ports[name])
            for name, (process, port) in servers.items()
        }

    def _server(self, port: int, *, workers: int = 1) -> int:
        """This server with everything switched on; returns the number of its process."""
        _configure(self.folder, workers=workers, port=port)
        program = Path(sys.executable).parent / "mtls-as"
        return self._start("mtls-as", [str(program), "serve"], port)

    def _peer(self, port: int) -> int:
        if not (PEER / "node_modules").exists():
            print("installing the peer", file=sys.stderr)
            subprocess.run(["npm", "ci", "--silent"], cwd=PEER, check=True, stdout=subprocess.DEVNULL)
        environment = {"CERTS": str(self.certificates), "PORT": str(port), "NODE_ENV": "production"}
        return self._start("peer", ["node", str(PEER / "server.mjs")], port, environment=environment)

    def _limit(self, port: int) -> int:
        certificates = self.certificates
        http = f"""access_log off; keepalive_requests 1000000; client_body_temp_path {self.folder}/limit-body;
        server {{
            listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_session_tickets off;
            ssl_certificate {certificates}/server.pem; ssl_certificate_key {certificates}/server-key.pem;
            ssl_client_certificate {certificates}/ca.pem; ssl_verify_client on;
            location / {{ return 200 "$ssl_client_s_dn"; }}
        }}"""
        return self._nginx("limit", f"http {{ {http} }}", CONTENDER_CORE, port)

    def _proxy(self, targets: Mapping[str, int]) -> dict[str, int]:
        ports = dict(zip(targets, _free_ports(len(targets)), strict=True))
        servers = "\n".join(
            f"server {{ listen 127.0.0.1:{ports[name]} backlog=4096; proxy_pass 127.0.0.1:{target}; }}"
            for name, target in targets.items()
        )
        certificates = self.certificates
        stream = f"""proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse off;
        proxy_ssl_certificate {certificates}/reports.pem; proxy_ssl_certificate_key {certificates}/reports-key.pem;
        {servers}"""
        self._nginx("proxy", f"stream {{ {stream} }}", LOAD_CORE, *ports.values())
        return ports

    def _nginx(self, name: str, section: str, core: int, *ports: int) -> int:
        configuration = self.folder / f"{name}.conf"
        module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" if section.startswith("stream") else ""
        configuration.write_text(
            f"{module}daemon off; worker_processes 1; pid {self.folder}/{name}.pid; error_log stderr;\n"
            f"events {{ worker_connections 8192; }}\n{section}\n"
        )
        return self._start(name, ["nginx", "-c", str(configuration)], *ports, core=core)

    def _start(
        self, name: str, command: list[str], *ports: int, core: int = CONTENDER_CORE, environment: object = None
    ) -> int:
        """Start a program on a core, and wait until it listens; returns its number."""
        variables = os.environ | environment if isinstance(environment, dict) else None
        log = self._running.enter_context((self.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            on_core(core, *command), cwd=self.folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._running.callback(_stop, process)
        for port in ports:
            _wait_for_port(port, process, self.folder / f"{name}.log")
        return process.pid

    @contextlib.contextmanager
    def alone(self, *, workers: int = 1) -> Iterator[Contender]:
        """A further instance of this server, with a proxy of its own, while the context is open."""
        before, self._running = self._running, contextlib.ExitStack()
        try:
            port = _free_ports(1)[0]
            process = self._server(port, workers=workers)
            load_ports = self._proxy({HERE_NAME: port})
            yield Contender(name=HERE_NAME, process=process, port=port, load_port=load_ports[HERE_NAME])
        finally:
            self._running.close()
            self._running = before


def _configure(folder: Path, *, workers: int, port: int = 0) -> None:
    """The configuration of the project with revocation lists, and with one client that may introspect its tokens."""
    text = (ROOT / "config.toml").read_text()
    for before, after in {
        'bind = "127.0.0.1:8443"': f'bind = "127.0.0.1:{port}"',
        "introspection_clients = []": 'introspection_clients = ["reports"]',
        "\ncrl = []": '\ncrl = ["certs/ca.crl"]',
        "\nworkers = 1": f"\nworkers = {workers}",
        'file = "-"': 'file = "events.log"',
    }.items():
        if before not in text:
            raise BenchmarkError(f"config.toml does not say {before.strip()}")
        text = text.replace(before, after, 1)
    (folder / "config.toml").write_text(text)


def _write_revocation_list(certificates: Path) -> None:
    """A revocation list of the development CA, with one certificate of somebody else's."""
    authority = x509.load_pem_x509_certificate((certificates / "ca.pem").read_bytes())
    key = load_pem_private_key((certificates / "ca-key.pem").read_bytes(), password=None)
    now = datetime.now(UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(now).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject).last_update(now)
    builder = builder.next_update(now + timedelta(days=1)).add_revoked_certificate(revoked)
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type] # the development CA's key is an EC key
    (certificates / "ca.crl").write_bytes(signed.public_bytes(Encoding.PEM))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise BenchmarkError(f"{' '.join(map(str, process.args))} does not serve:\n{log.read_text()}")  # type: ignore[arg-type] # a list


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
