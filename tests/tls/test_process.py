"""Memory and files of a serving process."""

import resource
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from mtls_as.tls.process import allow_connections
from tests.authority import Authority
from tests.tls.test_workers import CA, ROOT, Program, running

SETTLE = """
import gc
from mtls_as.tls import settle_memory
settle_memory()
assert gc.get_freeze_count() > 1000
assert gc.isenabled()
"""


def test_settling_memory() -> None:
    """What is loaded is not looked through again; the collector stays on for what comes."""
    subprocess.run([sys.executable, "-c", SETTLE], cwd=ROOT, check=True)


def test_files_limit_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit is raised as far as needed, and what the hard one does not allow is not promised."""
    limits = [(256, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert allow_connections(1000) == 1000
    assert limits[-1] == (1128, 4096)
    assert allow_connections(20_000) == 4096 - 128
    assert limits[-1] == (4096, 4096)
    assert allow_connections(100) == 100
    assert limits[-1] == (4096, 4096)


def memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_idle_connections_are_small(tmp_path: Path) -> None:
    """An idle mutual-TLS connection takes less than 100 KiB, and others are served meanwhile."""
    client = Authority.create("Client CA").issue("c1").write(tmp_path, "c1")
    with running(tmp_path, 1) as program:
        context = ssl.create_default_context(cadata=CA.pem)
        context.load_cert_chain(*client)
        first = [connect(program, context) for _ in range(20)]
        before = memory_kib(program.process.pid)
        many = [connect(program, context) for _ in range(400)]
        grown = memory_kib(program.process.pid) - before
        assert program.try_ask()
        for connection in first + many:
            connection.close()
    assert grown / 400 < 100


def connect(program: Program, context: ssl.SSLContext) -> ssl.SSLSocket:
    tls = context.wrap_socket(socket.create_connection(("127.0.0.1", program.port)), server_hostname="localhost")
    tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert tls.recv(4096)
    return tls
