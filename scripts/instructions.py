"""How many instructions a request costs, counted by valgrind: a figure that hardly depends on the machine or its load.

    .venv/bin/python scripts/instructions.py             prints the figures
    .venv/bin/python scripts/instructions.py --check     fails where one is more than 5 % above docs/instructions.json
    .venv/bin/python scripts/instructions.py --record    writes docs/instructions.json

The server is the real one, with the event log, metrics, limits and a client's certificate to verify, but without the
audit trail, which is written in batches by the clock; the client is another process, and not counted. Requests come
one at a time, so that nothing depends on how they happen to meet. What the kernel does is not counted. The figures
compare only for one version of Python and of the libraries beside it, so these are recorded too; with others
`--check` says so, and judges nothing.

Needs valgrind (on Debian and Ubuntu: apt-get install valgrind libc6-dbg).
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL

ROOT: Final = Path(__file__).parent.parent
RECORD: Final = ROOT / "docs" / "instructions.json"
TOLERANCE: Final = 1.05
_START_SECONDS: Final = 300.0
_WARM_UP: Final = 30
"""Requests before the count: caches fill, and the interpreter specializes its code."""
_TURNS: Final = 12
"""Of which the least counts: what happens once a second is in some of them."""
_ADMIN: Final = '\n[listeners.admin]\nbind = "127.0.0.1:0"\n'  # metrics are counted where somebody can ask for them

Ask = Callable[[int], None]
"""Sends so many requests."""


def main() -> int:
    """Count, print, and compare or record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=5, help="how many requests each figure is the mean of")
    options.add_argument("--check", action="store_true", help="compare with what is recorded")
    options.add_argument("--record", action="store_true", help="record the figures")
    options.add_argument("--keep", type=Path, metavar="FOLDER", help="keep callgrind's files for callgrind_annotate")
    options.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        asyncio.run(_serve(given.serve))
        return 0
    found = count(given.requests, keep=given.keep)
    for name, figure in found.items():
        print(f"{name:<32} {figure:>12,} instructions")
    document = {"versions": _versions(), "instructions": found}
    if given.record:
        RECORD.write_text(json.dumps(document, indent=2) + "\n")
    return _compare(document, json.loads(RECORD.read_text())) if given.check else 0


def count(requests: int, *, keep: Path | None = None) -> dict[str, int]:
    """Instructions of the server for each kind of request, as the mean of so many."""
    with tempfile.TemporaryDirectory() as name, _server(Path(name)) as (process, port):
        folder = Path(name)
        client = _Client(folder, port)
        found = {}
        for ask in client.kinds.values():
            ask(_WARM_UP)
        _control(process, "--instr=on")
        for title, ask in client.kinds.items():
            found[title] = min(_count(process, folder, f"{title} {turn}", ask, requests) for turn in range(_TURNS))
        client.close()
        if keep:
            keep.mkdir(exist_ok=True)
            for file in folder.glob("callgrind.out*"):
                shutil.copy(file, keep)
        return found


def _count(process: subprocess.Popen[bytes], folder: Path, title: str, ask: Ask, requests: int) -> int:
    _control(process, "--zero")
    ask(requests)
    _control(process, f"--dump={title}")
    return _total(folder, title) // requests


class _Client:
    """A client with a certificate; resource server too, so that it may introspect its own tokens."""

    def __init__(self, folder: Path, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.use_certificate_chain_file(str(folder / "certs" / "reports.pem"))
        self._context.use_privatekey_file(str(folder / "certs" / "reports-key.pem"))
        self._kept = _Connection(self._address, self._context)
        self._token: str | None = None
        self.kinds: dict[str, Ask] = {
            "token, new connection": self._tokens_over_new_connections,
            "token, kept-alive": self._tokens,
            "introspection, kept-alive": self._introspections,
        }

    def close(self) -> None:
        """Close the kept connection."""
        self._kept.close()

    def _tokens_over_new_connections(self, count: int) -> None:
        for _ in range(count):
            connection = _Connection(self._address, self._context)
            connection.post("/token", _TOKEN_FORM)
            connection.close()

    def _tokens(self, count: int) -> None:
        for _ in range(count):
            self._kept.post("/token", _TOKEN_FORM)

    def _introspections(self, count: int) -> None:
        if self._token is None:
            self._token = str(self._kept.post("/token", _TOKEN_FORM)["access_token"])
        for _ in range(count):
            if not self._kept.post("/introspect", {"client_id": "reports", "token": self._token})["active"]:
                raise AssertionError("an active token is said to be none")


class _Connection:
    """A connection that sends all it has in one piece, the end of its handshake and the first request included.

    So the server always has the same number of pieces to read. Whom it talks to it does not verify.
    """

    def __init__(self, address: tuple[str, int], context: SSL.Context) -> None:
        self._socket = socket.create_connection(address, _START_SECONDS)
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()
        self._exchange(self._tls.do_handshake)

    def post(self, path: str, form: dict[str, str]) -> dict[str, object]:
        """The JSON of an answer with status 200."""
        body = urllib.parse.urlencode(form)
        fields = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
        self._tls.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}".encode())
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += self._exchange(partial(self._tls.recv, _PIECE_BYTES))
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(f"{path}: {answer.decode()}")
        document: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return document

    def close(self) -> None:
        """Close it, and wait until the server has too, so that the next one finds it at rest."""
        self._tls.shutdown()
        self._send()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(_PIECE_BYTES):
                pass
        self._socket.close()

    def _exchange(self, action: Callable[[], Any]) -> Any:  # noqa: ANN401 # what the action returns
        """What an action of OpenSSL returns, once it has all that it needs from the server."""
        while True:
            try:
                return action()
            except SSL.WantReadError:
                self._send()
                received = self._socket.recv(_PIECE_BYTES)
                if not received:
                    raise ConnectionError("the server has closed") from None
                self._tls.bio_write(received)

    def _send(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            self._socket.sendall(self._tls.bio_read(_PIECE_BYTES))


_PIECE_BYTES: Final = 64 * 1024
_TOKEN_FORM: Final = {"grant_type": "client_credentials", "client_id": "reports", "scope": "reports:read"}


# The server


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server under callgrind, which counts nothing yet, and its port."""
    program = shutil.which("valgrind")
    if program is None:
        raise SystemExit("valgrind is not there; on Debian and Ubuntu: apt-get install valgrind libc6-dbg")
    _configure(folder)
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    counted = [program, "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/callgrind.out"]
    command = [*counted, sys.executable, __file__, "--serve", str(folder)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process, _wait_for_port(process, folder)
    finally:
        process.kill()
        process.wait(_START_SECONDS)


def _configure(folder: Path) -> None:
    """The configuration of this project, for any free port, with one resource server that may introspect."""
    text = (ROOT / "config.toml").read_text()
    text = text.replace('bind = "127.0.0.1:8443"', 'bind = "127.0.0.1:0"')
    text = text.replace("introspection_clients = []", 'introspection_clients = ["reports"]')
    # Records are written once a second, however many requests that is: no part of one request.
    text = re.sub(r"(\[audit\]\n(?:#.*\n)*enabled = )true", r"\1false", text)
    (folder / "config.toml").write_text(text + _ADMIN)
    program = Path(sys.executable).parent / "mtls-as"
    subprocess.run([program, "init", "--development"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _wait_for_port(process: subprocess.Popen[bytes], folder: Path) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "port").exists():
            return int((folder / "port").read_text())
        time.sleep(0.1)
    raise SystemExit((folder / "server.log").read_text())


def _end_background_tasks() -> None:
    """Have nothing happen but requests: what is done once a second is no part of any."""
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        place = getattr(getattr(coroutine, "cr_code", None), "co_filename", "")
        if "mtls_as" in Path(place).parts and task is not asyncio.current_task():
            task.cancel()


async def _serve(folder: Path) -> None:
    """Serve, until killed: nothing is put in order at the end, since the background tasks are gone by then."""
    from mtls_as.config import load_settings
    from mtls_as.observability.event_log import EventLog
    from mtls_as.observability.event_outputs import FileOutput
    from mtls_as.tls import bind_listeners, serve_listeners, settle_memory, shutdown_on_signals
    from mtls_as.wiring.node import open_node

    settings = load_settings(folder / "config.toml")
    log = EventLog(FileOutput(folder / "events"), clock=time.time)
    with log.writing():
        async with open_node(settings, emit=log) as node:
            listeners = node.listeners()
            sockets = bind_listeners(listeners)

            def started() -> None:
                _end_background_tasks()
                settle_memory()
                part = folder / "port.part"
                part.write_text(str(sockets[0].getsockname()[1]))
                part.rename(folder / "port")

            await serve_listeners(listeners, sockets, node.credentials, shutdown=shutdown_on_signals(), started=started)


# callgrind


def _control(process: subprocess.Popen[bytes], command: str) -> None:
    program = "callgrind_control"
    subprocess.run(
        [program, command, str(process.pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _total(folder: Path, title: str) -> int:
    """The sum of the dump with this title."""
    for file in folder.glob("callgrind.out*"):
        text = file.read_text(errors="replace")
        if re.search(rf"^desc: Trigger: .*{re.escape(title)}$", text, re.MULTILINE):
            return sum(map(int, re.findall(r"^totals: (\d+)", text, re.MULTILINE)))
    raise SystemExit(f"callgrind wrote no dump for {title!r}")


def _versions() -> dict[str, str]:
    """What the figures depend on beside this project."""
    libraries = ("cryptography", "pyopenssl", "h11", "hypercorn", "prometheus-client", "msgspec")
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}


def _compare(found: dict[str, Any], recorded: dict[str, Any]) -> int:
    if found["versions"] != recorded["versions"]:
        print(f"not compared: recorded with {recorded['versions']}, and these are {found['versions']}", file=sys.stderr)
        return 0
    before, now = recorded["instructions"], found["instructions"]
    worse = [name for name, figure in now.items() if figure > before[name] * TOLERANCE]
    for name in worse:
        print(f"{name}: {now[name]:,} instructions, and {before[name]:,} are recorded", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
