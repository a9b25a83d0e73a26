"""Several processes on one socket: signals, reload, and workers that die."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from mtls_as.tls import run_workers
from tests.authority import Authority

ROOT = Path(__file__).parents[2]
CA = Authority.create("Server CA")
SECONDS = 15.0


class Program:
    """`worker_program.py` at work."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.tls.worker_program", str(self.port), str(folder), str(workers)],
                cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONWARNINGS": "error"},
            )  # fmt: skip

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=CA.pem)
        return http.client.HTTPSConnection("localhost", self.port, context=context, timeout=10)

    def ask(self, path: str = "/") -> int:
        """The process that answered a new connection."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            return int(connection.getresponse().read())
        finally:
            connection.close()

    def try_ask(self) -> int | None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask()
        return None

    def workers(self) -> set[int]:
        """Which workers answer, of those that two dozen connections reach."""
        return {pid for pid in (self.try_ask() for _ in range(24)) if pid}

    def all_workers(self, number: int) -> set[int]:
        """So many workers, which have all answered by now. A busy one may answer none of two dozen connections."""
        found: set[int] = set()
        until(lambda: found.update(self.workers()) or len(found) >= number)
        assert len(found) == number
        return found

    def serial(self) -> int:
        """Of the certificate that a new connection is shown."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port), timeout=10)
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(SECONDS)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def running(folder: Path, workers: int) -> Iterator[Program]:
    CA.issue_server("localhost", "127.0.0.1").write(folder, "server")
    program = Program(folder, workers)
    try:
        until(program.try_ask)
        yield program
    except BaseException:
        sys.stderr.write(program.log.read_text())
        raise
    finally:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_stops_gracefully(tmp_path: Path, number: signal.Signals, workers: int) -> None:
    """A request in the works is answered, then every process ends, with status 0 and without a word."""
    with running(tmp_path, workers) as program:
        connection = program.connect()
        connection.request("GET", "/slow")
        time.sleep(0.2)
        program.signal(number)
        assert connection.getresponse().status == 200
        connection.close()
        assert program.wait() == 0
    assert program.log.read_text() == "all workers have ended\n"


def test_workers_share_the_socket_and_are_replaced(tmp_path: Path) -> None:
    """Both answer; one that dies is replaced while the other goes on; SIGKILL is such a death."""
    with running(tmp_path, 2) as program:
        victim, survivor = sorted(program.all_workers(2))
        os.kill(victim, signal.SIGKILL)
        assert program.try_ask() in {survivor, None}
        until(lambda: len(program.workers() - {victim}) == 2)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert "a worker ended with status -9 and is replaced in 0.5 s" in program.log.read_text()


def test_a_crash_loop_is_slowed_down(tmp_path: Path) -> None:
    """The delay doubles with each early death, so that a broken installation does not spin."""
    with running(tmp_path, 2) as program:
        started = program.all_workers(2)
        (tmp_path / "broken").touch()
        for pid in started:
            os.kill(pid, signal.SIGKILL)
        until(lambda: program.log.read_text().count("replaced in 1.0 s") == 2)
        (tmp_path / "broken").unlink()
        until(lambda: len(program.workers()) == 2)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert "status 7" in program.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_reloads_the_certificate_everywhere(tmp_path: Path, workers: int) -> None:
    """New connections see the new certificate; an old one goes on; a broken file changes nothing, loudly."""
    with running(tmp_path, workers) as program:
        before = program.all_workers(workers)
        old = program.serial()
        standing = program.connect()
        standing.request("GET", "/")
        standing.getresponse().read()

        certificate = tmp_path / "server.pem"
        good = certificate.read_text()
        certificate.write_text(good[: len(good) // 2])
        program.signal(signal.SIGHUP)
        until(lambda: program.log.read_text().count("was NOT reloaded") == workers)
        assert str(certificate) in program.log.read_text()
        assert program.serial() == old

        CA.issue_server("localhost", "127.0.0.1").write(tmp_path, "server")
        program.signal(signal.SIGHUP)
        until(lambda: program.log.read_text().count("the server certificate was reloaded") == workers)
        assert {program.serial() for _ in range(12)} - {old}
        assert old not in {program.serial() for _ in range(12)}
        standing.request("GET", "/")
        assert standing.getresponse().status == 200
        standing.close()
        assert program.workers() <= before
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """SIGKILL of the supervisor leaves nobody behind on the port."""
    with running(tmp_path, 2) as program:
        until(lambda: len(program.workers()) == 2)
        program.signal(signal.SIGKILL)
        program.wait()
        until(lambda: program.try_ask() is None)
        socket.create_server(("127.0.0.1", program.port)).close()


def test_a_single_worker_has_no_supervisor() -> None:
    """Count 1 calls the worker in this process."""
    called: list[int] = []
    run_workers(1, [], lambda sockets: called.append(os.getpid()))
    assert called == [os.getpid()]


SERVE = """
import sys
from tests.tls.apps import tell_tls
from mtls_as.tls import serve
serve(tell_tls, bind=sys.argv[1], certificate=sys.argv[2], private_key=sys.argv[3])
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_serve_prints_one_line(tmp_path: Path, host: str) -> None:
    """`serve` says where it listens, and nothing else, until it is told to stop."""
    files = [str(path) for path in CA.issue_server("localhost", "127.0.0.1").write(tmp_path, "server")]
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, f"{host}:0", *files],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    line = program.stdout.readline()
    port = int(line.rpartition(":")[2])
    assert line == f"listening on https://{host}:{port}\n"
    context = ssl.create_default_context(cadata=CA.pem)
    context.check_hostname = False
    connection = http.client.HTTPSConnection(host.strip("[]"), port, context=context, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    program.send_signal(signal.SIGINT)
    output, errors = program.communicate(timeout=SECONDS)
    assert (program.returncode, output, errors) == (0, "", "")
