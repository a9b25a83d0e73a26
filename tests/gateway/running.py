"""A gateway as a process of its own, and proxies before it with the configurations that the documentation shows."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.authority import Authority, Identity
from tests.forwarded.proxies import echo_server
from tests.programs import require_program
from tests.remote.https_server import HTTPSServer
from tests.verifier.issuer import AUDIENCE
from tests.verifier.running import AS, CLIENT_CA, MINE, THIEF, issuer_server

__all__ = [
    "AS",
    "AUDIENCE",
    "CLIENT_CA",
    "EXAMPLES",
    "MINE",
    "THIEF",
    "Site",
    "issuer_server",
    "running_gateway",
    "site",
]

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "gateway"
START_SECONDS = 20.0
ROUTES = """
[[routes]]
path = "/reports"
methods = ["GET"]
scopes = ["reports:read"]
[[routes]]
path = "/reports/*"
methods = ["GET"]
scopes = ["reports:read"]
[[routes]]
path = "/admin"
scopes = ["reports:admin"]
"""
SERVER_CA = Authority.create("Server CA")


@dataclass
class RunningGateway:
    """A gateway that runs."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    config: Path
    address: str
    """As it announces it: `unix:` and a path, or host and port."""

    def events(self, name: str = "check") -> list[dict[str, object]]:
        lines = [json.loads(line) for line in (self.folder / "events").read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    def wait_for_event(self, name: str, count: int = 1) -> dict[str, object]:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            events = self.events(name)
            if len(events) >= count:
                return events[count - 1]
            assert self.process.poll() is None, self.diagnostics
            time.sleep(0.02)
        raise AssertionError(f"no event {name}: {self.diagnostics}")

    @property
    def diagnostics(self) -> str:
        return (self.folder / "diagnostics").read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_SECONDS)


def configuration(
    proxy: str, issuer: HTTPSServer, folder: Path, *, listener: str = 'bind = "unix:g.sock"', more: str = ""
) -> Path:
    """A `gateway.toml` for the routes above."""
    (folder / "as-ca.pem").write_text(issuer.authority.pem)
    path = folder / "gateway.toml"
    path.write_text(
        f'proxy = "{proxy}"\n[listener]\n{listener}\n[issuer]\nurl = "{issuer.url}"\nca = "as-ca.pem"\n'
        f'[[resources]]\naudience = "{AUDIENCE}"\nmetadata = true\n{ROUTES}\n{more}'
    )
    return path


@contextlib.contextmanager
def running_gateway(config: Path) -> Iterator[RunningGateway]:
    """Run `mtls-as gateway` until the block ends."""
    folder = config.parent
    command = [sys.executable, "-m", "mtls_as.cli", "gateway", "--config", str(config)]
    with (
        (folder / "events").open("wb") as events,
        (folder / "diagnostics").open("wb") as diagnostics,
        subprocess.Popen(command, stdout=events, stderr=diagnostics) as process,
    ):
        running = RunningGateway(process, folder, config, "")
        try:
            running.address = str(running.wait_for_event("start")["bind"])
            yield running
        finally:
            process.terminate()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def challenge(self) -> str | None:
        values = [value for name, value in self.headers if name.lower() == "www-authenticate"]
        assert len(values) <= 1
        return values[0] if values else None

    @property
    def behind(self) -> list[tuple[str, str]]:
        """The headers that the service behind the proxy received, names in lower case."""
        assert self.status == 200, self
        return [(name.lower(), value) for name, value in json.loads(self.body)]

    def told(self) -> dict[str, str]:
        """What the service was told of the token, by any spelling of the names."""
        found = [(re.sub("[^a-z0-9]", "-", name), value) for name, value in self.behind]
        ours = [(name, value) for name, value in found if name.startswith("x-token-")]
        assert len(ours) == len(dict(ours))
        return dict(ours)


@dataclass
class Site:
    """A service behind a proxy that asks a gateway."""

    name: str
    port: int
    folder: Path
    issuer: HTTPSServer
    gateway: RunningGateway
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def token(self, certificate: bytes | None, **claims: object) -> str:
        now = int(time.time())
        return AS.token(certificate, **({"iss": self.issuer.url, "iat": now, "exp": now + 60} | claims))

    def get(
        self,
        identity: Identity | None,
        token: str | None,
        path: str = "/reports",
        *,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
    ) -> Reply:
        context = ssl.create_default_context(cadata=SERVER_CA.pem)
        if identity is not None:
            context.load_cert_chain(*identity.write(self.folder, f"client-{identity.certificate.serial_number}"))
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=15)
        with contextlib.closing(connection):
            connection.putrequest(method, path)
            for header in [*([("Authorization", f"Bearer {token}")] if token else []), *headers]:
                connection.putheader(*header)
            connection.endheaders()
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())


Command = Callable[[Path, str], list[str]]


@contextlib.contextmanager
def site(
    name: str,
    folder: Path,
    *,
    edit: Callable[[str], str] = lambda text: text,
    listener: str | None = None,
    more: str = "",
) -> Iterator[Site]:
    """A whole site: the service, the gateway, and the proxy with the documented configuration after `edit`."""
    listener, start = listener or LISTENERS[name], PROXIES[name]
    with issuer_server() as issuer, echo_server() as backend:
        config = configuration(name, issuer, folder, listener=listener, more=more)
        with running_gateway(config) as gateway:
            port = _free_port()
            places = _places(folder, gateway, port, backend)
            command = start(folder, places, edit)
            with (
                (folder / "output").open("wb") as output,
                subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as process,
            ):
                try:
                    _wait_for(port, process, folder / "output")
                    yield Site(name, port, folder, issuer, gateway, process)
                finally:
                    process.terminate()


def _places(folder: Path, gateway: RunningGateway, port: int, backend: int) -> dict[str, str]:
    certificate, key = SERVER_CA.issue_server("localhost").write(folder, "server")
    (folder / "both.pem").write_text(certificate.read_text() + key.read_text())
    (folder / "cas.pem").write_text(Authority.create("Unrelated CA").pem)
    return {
        "/etc/ssl/private/api.example-key.pem": str(key),
        "/etc/ssl/private/api.example.pem": str(folder / "both.pem"),
        "/etc/ssl/api.example.pem": str(certificate),
        "/etc/ssl/certs/ca-certificates.crt": str(folder / "cas.pem"),
        "/run/mtls-as/gateway.sock": gateway.address.removeprefix("unix:"),
        "listen 443": f"listen 127.0.0.1:{port}",
        "bind :443": f"bind 127.0.0.1:{port}",
        "address: 0.0.0.0, port_value: 443": f"address: 127.0.0.1, port_value: {port}",
        'address: ":443"': f'address: "127.0.0.1:{port}"',
        "127.0.0.1:9080": gateway.address,
        "127.0.0.1:8000": f"127.0.0.1:{backend}",
        "port_value: 8000": f"port_value: {backend}",
        "/etc/haproxy/mtls-as-gateway.lua": str(EXAMPLES / "mtls-as-gateway.lua"),
        "/etc/traefik/": f"{folder}/",
    }


def _render(name: str, places: Mapping[str, str], edit: Callable[[str], str]) -> str:
    text = edit((EXAMPLES / name).read_text())
    for place, replacement in places.items():
        text = text.replace(place, replacement)
    assert "/etc/" not in text
    return text


# Who is root serves as nobody; nobody else may change who he is. The socket of the gateway is its owner's.
_USER = "user root; " if os.geteuid() == 0 else ""


def _nginx(folder: Path, places: Mapping[str, str], edit: Callable[[str], str]) -> list[str]:
    scratch = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"{_USER}daemon off; worker_processes 1; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off;\n{scratch}{_render('nginx.conf', places, edit)} }}"
    )
    return [require_program("nginx"), "-c", str(file), "-e", str(folder / "log")]


def _haproxy(folder: Path, places: Mapping[str, str], edit: Callable[[str], str]) -> list[str]:
    file = folder / "haproxy.cfg"
    file.write_text(_render("haproxy.cfg", places, edit))
    return [require_program("haproxy"), "-db", "-f", str(file)]


def _envoy(folder: Path, places: Mapping[str, str], edit: Callable[[str], str]) -> list[str]:
    file = folder / "envoy.yaml"
    file.write_text(_render("envoy.yaml", places, edit))
    program = require_program("envoy", folders=f"{sys.prefix}/bin".lstrip("/"))
    return [program, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


def _traefik(folder: Path, places: Mapping[str, str], edit: Callable[[str], str]) -> list[str]:
    (folder / "api.example.pem").write_text((folder / "both.pem").read_text())
    (folder / "api.example-key.pem").write_text((folder / "both.pem").read_text())
    for name in ("traefik.yaml", "traefik-dynamic.yaml"):
        (folder / name).write_text(_render(name, places, edit))
    return [require_program("traefik"), f"--configfile={folder}/traefik.yaml"]


PROXIES: dict[str, Callable[[Path, Mapping[str, str], Callable[[str], str]], list[str]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
}
if shutil.which("traefik"):  # not in Debian, and no other package has it: see docs/gateway.md
    PROXIES["traefik"] = _traefik
LISTENERS = {
    **dict.fromkeys(PROXIES, 'bind = "unix:g.sock"'),
    "traefik": 'bind = "127.0.0.1:0"\nproxy_addresses = ["127.0.0.1"]',
}


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    context = ssl.create_default_context(cadata=SERVER_CA.pem)
    while process.poll() is None and time.monotonic() < deadline:
        with (
            contextlib.suppress(ConnectionError, ssl.SSLError),
            socket.create_connection(("127.0.0.1", port)) as connected,
            context.wrap_socket(connected, server_hostname="localhost"),
        ):
            return
        time.sleep(0.02)
    raise AssertionError(f"the proxy did not start: {log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
