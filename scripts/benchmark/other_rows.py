"""The rows of the table that need no load: memory, the verifier, and many clients."""

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from statistics import median
from typing import Final
from urllib.parse import urlencode

import bench_verify

from benchmark.answers import TOKEN_FORM
from benchmark.contenders import HERE_NAME, Contender, Place
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
