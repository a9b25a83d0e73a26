"""Real proxies for tests: the configurations that the documentation shows, on loopback, before a server of tests."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.authority import Authority, Identity
from tests.programs import require_program

SNIPPETS = Path(__file__).parents[2] / "docs" / "proxies"
START_SECONDS = 10.0

Headers = list[tuple[bytes, bytes]]


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name in the base class
        pass


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    """Answers with the headers that it received; yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Upstream:
    """The server behind a proxy, and which of the documented hops leads there: `a listed address`, for one."""

    hop: str
    port: int = 0
    unix_socket: Path | None = None
    ca: Path | None = None
    """Of the server's own certificate, which is for `localhost`."""
    proxy: Identity | None = None
    """What the proxy presents to it."""


@dataclass(frozen=True)
class RunningProxy:
    """A proxy that waits for clients."""

    port: int
    authority: Authority
    folder: Path

    def headers_behind(self, client: Identity | None, sent: Sequence[tuple[str, str]] = ()) -> Headers:
        """What the server behind the proxy receives, as an ASGI server would say it."""
        status, body = self.get(client, sent)
        assert status == 200, body
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in json.loads(body)]

    def get(self, client: Identity | None, sent: Sequence[tuple[str, str]] = ()) -> tuple[int, bytes]:
        return self.request("GET", client, sent)

    def post_form(self, client: Identity | None, form: str, sent: Sequence[tuple[str, str]] = ()) -> tuple[int, bytes]:
        headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(len(form)))]
        return self.request("POST", client, [*headers, *sent], form.encode())

    def request(
        self, method: str, client: Identity | None, sent: Sequence[tuple[str, str]], body: bytes = b""
    ) -> tuple[int, bytes]:
        context = ssl.create_default_context(cadata=self.authority.pem)
        if client is not None:
            context.load_cert_chain(*client.write(self.folder, f"client-{client.certificate.serial_number}"))
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(method, "/token")
            for name, value in sent:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextlib.contextmanager
def echoing_proxy(snippet: str, folder: Path) -> Iterator[RunningProxy]:
    """A proxy before a server that answers with the headers that it received."""
    with echo_server() as port, running_proxy(snippet, folder, Upstream("a listed address", port)) as proxy:
        yield proxy


@contextlib.contextmanager
def running_proxy(snippet: str, folder: Path, upstream: Upstream) -> Iterator[RunningProxy]:
    """Run the program with the configuration of that name in `docs/proxies`, places replaced by those of the test."""
    authority = Authority.create("Server CA")
    certificate, key = authority.issue_server("localhost").write(folder, "server")
    own_certificate, own_key = (upstream.proxy or authority.issue("proxy")).write(folder, "proxy")
    for both, parts in (("both.pem", (certificate, key)), ("proxy-both.pem", (own_certificate, own_key))):
        (folder / both).write_text("".join(part.read_text() for part in parts))
    (folder / "cas.pem").write_text(Authority.create("Unrelated CA").pem)
    port = _free_port()
    configuration = _render(
        "".join(f"{line}\n" for line in _choose_hop((SNIPPETS / snippet).read_text(), upstream.hop)),
        {
            "/etc/ssl/private/as.example-key.pem": str(key),
            "/etc/ssl/private/as.example.pem": str(folder / "both.pem"),
            "/etc/ssl/as.example.pem": str(certificate),
            "/etc/ssl/private/proxy-key.pem": str(own_key),
            "/etc/ssl/private/proxy.pem": str(folder / "proxy-both.pem"),
            "/etc/ssl/proxy.pem": str(own_certificate),
            "/etc/ssl/mtls-as-ca.pem": str(upstream.ca),
            "/etc/ssl/certs/ca-certificates.crt": str(folder / "cas.pem"),
            "/run/mtls-as/proxy.sock": str(upstream.unix_socket),
            "listen 443": f"listen 127.0.0.1:{port}",
            "bind :443": f"bind 127.0.0.1:{port}",
            "*:443": f"127.0.0.1:{port}",
            "127.0.0.1:8080": f"127.0.0.1:{upstream.port}",
            "mtls-as.example:8080": f"localhost:{upstream.port}",
            "verifyhost mtls-as.example": "verifyhost localhost",
        },
    )
    command = COMMANDS[snippet.partition(".")[0].partition("-")[0]](folder, configuration, port)
    with _process(command, port, folder):
        yield RunningProxy(port, authority, folder)


def _choose_hop(text: str, hop: str) -> Iterator[str]:
    """The lines of a configuration in which one of the hops holds, as somebody would edit it."""
    section, chosen = "", set()
    for line in text.splitlines():
        code = line.strip()
        if code.startswith("# The hop: "):
            section = code.removeprefix("# The hop: ").partition(",")[0].rstrip(".")
        elif not code or code.startswith(("}", "</")):
            section = ""
        elif section == hop:
            chosen.add(section)
            yield code.removeprefix("#")
            continue
        elif section:
            continue
        yield line
    assert chosen == {hop}


def _render(text: str, places: Mapping[str, str]) -> str:
    for place, replacement in places.items():
        text = text.replace(place, replacement)
    assert "/etc/" not in text
    return text


# Who is root serves as nobody; nobody else may change who he is.
_USER = "user nobody nogroup; " if os.geteuid() == 0 else ""


def _nginx(folder: Path, snippet: str, _port: int) -> list[str]:
    scratch = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"{_USER}daemon off; worker_processes 1; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off;\n{scratch}{snippet} }}"
    )
    return [require_program("nginx"), "-c", str(file), "-e", str(folder / "log")]


def _haproxy(folder: Path, snippet: str, _port: int) -> list[str]:
    file = folder / "haproxy.cfg"
    file.write_text(snippet)
    return [require_program("haproxy"), "-db", "-f", str(file)]


def _apache(folder: Path, snippet: str, port: int) -> list[str]:
    program = require_program("apache2")
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "ssl", "headers", "proxy", "proxy_http")
    )
    file = folder / "apache.conf"
    file.write_text(
        f"ServerRoot {folder}\nServerName localhost\nPidFile {folder}/pid\nErrorLog {folder}/log\n"
        f"{modules}Mutex file:{folder} default\nListen 127.0.0.1:{port}\n"
        f"User nobody\nGroup nogroup\n{snippet}"
    )
    return [program, "-DFOREGROUND", "-f", str(file)]


COMMANDS = {"nginx": _nginx, "haproxy": _haproxy, "apache": _apache}


@contextlib.contextmanager
def _process(command: list[str], port: int, folder: Path) -> Iterator[None]:
    log = folder / "output"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_for(port, process, log)
            yield
        finally:
            process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError(f"the proxy did not start: {log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
