"""The rows of the table that need no load: memory, the verifier, and many clients."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Final
from urllib.parse import urlencode

import bench_verify

from benchmark.answers import TOKEN_FORM
from benchmark.contenders import HERE_NAME, ROOT, Contender, Place
from benchmark.failures import BenchmarkError
from benchmark.machine import CONTENDER_CORE, LOAD_CORE, resident_bytes
from benchmark.results import Goal, Row

_KIB: Final = 1024
_MIB: Final = 1024 * 1024
_SETTLE_SECONDS: Final = 2.0
_FIRST_CONNECTIONS: Final = 200
"""Connections that are not counted: with them the server gets what it keeps, however many there are."""


def verification(tokens: int) -> list[Row]:
    """A token at a resource server: the first time, and again."""
    with _on_core(CONTENDER_CORE):
        times = bench_verify.compare(tokens)
    bare, first, again, direct = (median(seconds) for seconds in times.values())
    measured = {title: median(seconds) for title, seconds in times.items()}
    unit = "times the bare check"
    return [
        Row(
            key="verify-first",
            title="verifying a token, first time",
            figures={HERE_NAME: f"{first * 1e6:.1f} µs", "limit": f"{bare * 1e6:.1f} µs"},
            goals=[Goal(figure=first / bare, bound=1.3, is_least=False, unit=unit)],
            measured=measured,
        ),
        Row(
            key="verify-again",
            title="the same token and certificate again",
            figures={HERE_NAME: f"{again * 1e6:.1f} µs, {direct * 1e6:.1f} µs without a coroutine"},
            goals=[Goal(figure=again * 1e6, bound=5.0, is_least=False, unit="µs")],
        ),
    ]


def memory(place: Place, connections: int) -> list[Row]:
    """A worker at rest, and what each connection adds that has fetched a token and waits."""
    with place.alone() as contender, _on_core(LOAD_CORE):
        time.sleep(_SETTLE_SECONDS)
        at_rest = resident_bytes(contender.process)
        with contextlib.ExitStack() as opened:
            context = ssl.create_default_context(cafile=place.certificates / "ca.pem")
            context.load_cert_chain(place.certificates / "reports.pem", place.certificates / "reports-key.pem")
            sizes = []
            for number in (_FIRST_CONNECTIONS, connections):
                for _ in range(number):
                    opened.enter_context(_idle_connection(contender, context))
                time.sleep(_SETTLE_SECONDS)
                sizes.append(resident_bytes(contender.process))
    each = (sizes[1] - sizes[0]) / connections
    return [
        Row(
            key="memory-idle",
            title=f"memory of an idle mutual TLS connection, of {connections:,}",
            figures={HERE_NAME: f"{each / _KIB:.1f} KiB"},
            goals=[Goal(figure=each / _KIB, bound=40.0, is_least=False, unit="KiB")],
        ),
        Row(
            key="memory-rest",
            title="memory of a worker at rest",
            figures={HERE_NAME: f"{at_rest / _MIB:.1f} MiB"},
            goals=[Goal(figure=at_rest / _MIB, bound=90.0, is_least=False, unit="MiB")],
        ),
    ]


def scale(place: Place, clients: int, tokens: int) -> list[Row]:
    """So many registered clients over ten, by `scripts/bench_scale.py`, which verifies its tokens too."""
    file = place.folder / "scale.json"
    numbers = {"clients": clients, "tokens": tokens, "starts": 1, "spread": 100}
    options = [f"--{name}={number}" for name, number in numbers.items()]
    script = str(ROOT / "scripts" / "bench_scale.py")
    command = [sys.executable, script, "--databases=sqlite", f"--json={file}", *options]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if not file.exists():
        raise BenchmarkError(f"bench_scale.py failed:\n{result.stderr}")
    figures = {each["what"]: each for each in json.loads(file.read_text())["figures"]}
    kept, new = (figures[f"token, {kind}: processor"] for kind in ("kept-alive", "new connection"))
    return [
        Row(
            key="scale",
            title=f"{clients:,} registered clients over 10, processor time of a token",
            figures={HERE_NAME: f"kept: {kept['many']:.0f} µs, 10: {kept['few']:.0f} µs"},
            goals=[
                Goal(figure=each["ratio"], bound=1.1, is_least=False, unit=f"times that of 10, {kind}")
                for kind, each in (("kept", kept), ("new", new))
            ],
            measured=figures,
        )
    ]


@contextlib.contextmanager
def _idle_connection(contender: Contender, context: ssl.SSLContext) -> Iterator[None]:
    """A connection that has fetched a token."""
    form = urlencode(TOKEN_FORM)
    fields = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}"
    plain = socket.create_connection(("127.0.0.1", contender.port))
    with context.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(f"POST /token HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{form}".encode())
        answer = b""
        while not answer.endswith(b"}"):
            received = connection.recv(4096)
            if not received:
                raise BenchmarkError("the server closes a connection that is to stand")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchmarkError(f"no token: {answer.decode()}")
        yield


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Run this process on one core while the context is open."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
