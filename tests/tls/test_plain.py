"""Listeners without TLS: loopback addresses and unix sockets, with the same HTTP, limits and time-outs."""

import asyncio
import grp
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mtls_as.tls import (
    Listener,
    ServerCredentials,
    Timeouts,
    TLSConfigurationError,
    bind_listeners,
    format_address,
    serve_listeners,
)
from tests.authority import Authority
from tests.tls.apps import count
from tests.tls.peers import PATIENT, QUICK, Client


def listener(bind: str, **options: Any) -> Listener:
    options = {"name": "proxy", "app": count, "request_certificate": False, "tls": False} | options
    return Listener(bind=bind, **options)


@pytest.fixture
def folder() -> Iterator[Path]:
    """The paths of unix sockets are short, and the folders of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@asynccontextmanager
async def serving(
    one: Listener, folder: Path, *, timeouts: Timeouts = PATIENT
) -> AsyncIterator[tuple[socket.socket, asyncio.Event]]:
    certificate, key = Authority.create("Server CA").issue_server("localhost").write(folder, "server")
    (bound,) = bind_listeners([one])
    shutdown, started = asyncio.Event(), asyncio.Event()
    credentials = ServerCredentials.load(certificate, key)
    served = serve_listeners([one], [bound], credentials, timeouts=timeouts, shutdown=shutdown, started=started.set)
    task = asyncio.create_task(served)
    await asyncio.wait_for(started.wait(), 5)
    try:
        yield bound, shutdown
    finally:
        shutdown.set()
        await task


async def connect(bound: socket.socket) -> Client:
    if bound.family is socket.AF_UNIX:
        return Client(*await asyncio.open_unix_connection(bound.getsockname()))
    return Client(*await asyncio.open_connection(*bound.getsockname()[:2]))


@pytest.fixture(params=["address", "socket"])
def place(request: pytest.FixtureRequest, folder: Path) -> str:
    return "127.0.0.1:0" if request.param == "address" else f"unix:{folder}/proxy.sock"


async def test_requests_one_after_the_other(place: str, folder: Path) -> None:
    """HTTP/1.1 on a connection that stays open, bodies of any size, answers in order."""
    async with serving(listener(place), folder) as (bound, _), await connect(bound) as client:
        for size in (0, 1, 1_000_000):
            assert (await client.post("/", bytes(size))).body == str(size).encode()


async def test_the_application_sees_no_tls(place: str, folder: Path) -> None:
    """No ASGI TLS extension, scheme `http`, no certificate."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await count(scope, receive, send)

    seen: list[dict[str, Any]] = []
    async with serving(listener(place, app=app), folder) as (bound, _), await connect(bound) as client:
        await client.get()
    scope = next(each for each in seen if each["type"] == "http")
    assert scope["scheme"] == "http"
    extensions = scope["extensions"]
    assert "tls" not in extensions
    assert extensions["mtls_as"] == {"client_der_chain": (), "listener": "proxy", "tls_group": None}
    assert (scope["client"] is None) == place.startswith("unix:")


async def test_the_same_strictness(place: str, folder: Path) -> None:
    """Heads that two parsers could read differently, HTTP/2 without TLS."""
    for request in (
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        async with serving(listener(place), folder) as (bound, _), await connect(bound) as client:
            await client.send(request)
            assert (await client.closed()).startswith((b"HTTP/1.1 400", b"HTTP/1.1 505"))


async def test_time_outs(place: str, folder: Path) -> None:
    """For the head of a request, and between requests."""
    async with serving(listener(place), folder, timeouts=QUICK) as (bound, _):
        async with await connect(bound) as client:
            assert await client.closed() == b""
        async with await connect(bound) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost:")
            assert await client.closed() == b""
        async with await connect(bound) as client:
            await client.get()
            assert await client.closed() == b""


async def test_graceful_stop(place: str, folder: Path) -> None:
    """A request in the works is answered; idle connections end."""
    server = serving(listener(place), folder)
    async with server as (bound, shutdown), await connect(bound) as busy, await connect(bound) as idle:
        await idle.get()
        await busy.send(b"GET /wait/0.3 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(0.1)
        shutdown.set()
        assert await idle.closed() == b""
        assert (await busy.answer()).body == b"0"


async def test_the_size_of_a_head_is_the_listeners(place: str, folder: Path) -> None:
    """16 KiB, unless a listener takes more."""
    long = "X-Long: " + "a" * 90_000 + "\r\n"
    async with serving(listener(place), folder) as (bound, _), await connect(bound) as client:
        assert (await client.get(headers=long)).status == 431
    large = listener(place, max_head_bytes=128 * 1024)
    async with serving(large, folder) as (bound, _), await connect(bound) as client:
        assert (await client.get(headers=long)).status == 200
        assert (await client.get(headers=long + "X-More: " + "a" * 90_000 + "\r\n")).status == 431


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0"])
def test_plain_http_is_for_this_machine_alone(bind: str) -> None:
    """A configuration that would show tokens to the network does not start."""
    with pytest.raises(TLSConfigurationError, match="only loopback addresses and unix sockets"):
        bind_listeners([listener(bind)])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mode_of_a_socket(folder: Path) -> None:
    """Its owner alone, whatever the umask; with a group, that group."""
    group = grp.getgrgid(os.getegid()).gr_name
    before = os.umask(0)
    try:
        alone, shared = bind_listeners(
            [listener(f"unix:{folder}/a.sock"), listener(f"unix:{folder}/b.sock", socket_group=group)]
        )
    finally:
        os.umask(before)
    assert format_address(alone) == f"unix:{folder}/a.sock"
    assert mode(folder / "a.sock") == 0o600
    assert mode(folder / "b.sock") == 0o660
    assert (folder / "b.sock").stat().st_gid == os.getegid()
    alone.close()
    shared.close()


def refusal(bind: str, **options: Any) -> str:
    with pytest.raises(TLSConfigurationError) as caught:
        bind_listeners([listener(bind, **options)])
    return str(caught.value).removeprefix(f"listener proxy: {bind!r} ")


def test_a_socket_that_a_server_left_behind_is_replaced(folder: Path) -> None:
    """But not that of a server that runs, and no other file."""
    place = folder / "proxy.sock"
    (first,) = bind_listeners([listener(f"unix:{place}")])
    assert refusal(f"unix:{place}") == "is in use by another program"
    first.close()
    (second,) = bind_listeners([listener(f"unix:{place}")])
    second.close()
    place.unlink()
    place.write_text("precious")
    assert refusal(f"unix:{place}") == "is a file that is not a socket"
    assert place.read_text() == "precious"


def test_sockets_that_cannot_be(folder: Path) -> None:
    """Each is named with what is wrong, and nothing is left behind."""
    assert refusal(f"unix:{folder}/no/proxy.sock") == "is in a folder that does not exist"
    assert "too long" in refusal(f"unix:{folder}/{'a' * 200}")
    assert "no-such-group" in refusal(f"unix:{folder}/proxy.sock", socket_group="no-such-group")
    assert list(folder.iterdir()) == []
    assert "has no port" in refusal(f"unix:{folder}/proxy.sock", tls=True)
