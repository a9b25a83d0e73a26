"""Floods of connections, handshakes and HTTP/2 frames: they end, and the neighbour is served."""

import asyncio
import contextlib
import ctypes.util
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from pathlib import Path

import h2.errors
import pytest

from mtls_as.tls import Limits, Listener, Population, bind_listeners
from mtls_as.tls.frame_budget import BURST
from tests.tls import peers
from tests.tls.apps import Both, count, tell_tls
from tests.tls.peers import PATIENT, QUICK, Client, HTTP2Client, Server, serving, until

HANDSHAKE_ALERTS = (ssl.SSLError, ConnectionError, OSError)


# -- Connections


@contextlib.asynccontextmanager
async def held(
    server: Server, number: int, *, listener: str = "mtls", address: str = "127.0.0.1"
) -> AsyncIterator[None]:
    """So many connections from an address that never begin their handshake."""
    here = [
        await asyncio.open_connection("127.0.0.1", server.ports[listener], local_addr=(address, 0))
        for _ in range(number)
    ]
    await until(lambda: len(server.population.connections) + len(server.failures) >= number)
    try:
        yield
    finally:
        for _, writer in here:
            writer.close()


async def from_address(server: Server, address: str) -> Client:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=server.context(), server_hostname="localhost", local_addr=(address, 0)
    )
    return Client(reader, writer)


async def test_one_address_has_its_share(tmp_path: Path) -> None:
    """What it opens on top of that is closed at once; others are served, and so is it when there is room again."""
    limits = Limits(connections_of_address=5)
    async with serving(tell_tls, tmp_path, population=Population(limits=limits)) as server:
        async with held(server, 8):
            await until(lambda: len(server.failures) == 3)
            assert {reason for reason, _ in server.failures} == {"too_many_connections_of_address"}
            with pytest.raises(HANDSHAKE_ALERTS):
                await server.connect()
            async with await from_address(server, "127.0.0.2") as neighbour:
                assert (await neighbour.get()).status == 200
        await until(lambda: not server.population.connections)
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200
            assert server.population._addresses == {"127.0.0.1": 1}
    assert not server.population._addresses


async def test_exempt_addresses_share_the_whole(tmp_path: Path) -> None:
    """A balancer's."""
    population = Population(limits=Limits(connections_of_address=2), exempt=(ip_network("127.0.0.0/8"),))
    async with serving(tell_tls, tmp_path, population=population) as server, held(server, 10):
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200
        assert not server.failures


async def test_the_admin_listener_keeps_its_own(tmp_path: Path) -> None:
    """A flood elsewhere, of connections and of handshakes, does not keep health checks out; nor the other way round."""
    limits = Limits(connections=6, handshakes=4)
    async with serving(tell_tls, tmp_path, limits=limits, names=("mtls", "admin"), reserved=3) as server:
        async with held(server, 12):
            with pytest.raises(HANDSHAKE_ALERTS):
                await server.connect()
            async with await server.connect(listener="admin") as check:
                assert (await check.get()).status == 200
        await until(lambda: not server.population.connections)
        server.failures.clear()
        async with held(server, 5, listener="admin"):
            await until(lambda: len(server.failures) == 2)
            with pytest.raises(HANDSHAKE_ALERTS):
                await server.connect(listener="admin")
            async with await server.connect() as connection:
                assert (await connection.get()).status == 200


async def test_handshakes_that_never_end_leave_room(tmp_path: Path) -> None:
    """They are closed after their time, whatever trickles in, and counted no more."""
    async with serving(tell_tls, tmp_path, timeouts=QUICK, limits=Limits(handshakes=3)) as server, held(server, 5):
        assert server.population.handshakes == 3
        await until(lambda: server.population.handshakes == 0)
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200


# -- HTTP/2 frames


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def pings(http2: HTTP2Client) -> Callable[[int], bytes]:
    return lambda number: frame(6, 0, 0, number.to_bytes(8, "big"))


async def settings(http2: HTTP2Client) -> Callable[[int], bytes]:
    """CVE-2019-9515."""
    return lambda number: frame(4, 0, 0, b"\x00\x04" + (60_000 + number % 1_000).to_bytes(4, "big"))


async def priorities(http2: HTTP2Client) -> Callable[[int], bytes]:
    """CVE-2019-9513: of one stream, so that no tree grows."""
    return lambda number: frame(2, 0, 1, (3 + 2 * (number % 9)).to_bytes(4, "big") + b"\x10")


async def window_updates(http2: HTTP2Client) -> Callable[[int], bytes]:
    """While there is nothing to send."""
    return lambda number: frame(8, 0, 0, b"\x00\x00\x00\x01")


async def empty_data(http2: HTTP2Client) -> Callable[[int], bytes]:
    """CVE-2019-9518: of a request whose body never ends."""
    stream = await http2.start(method="POST", end=False)
    return lambda number: frame(0, 0, stream)


async def unknown_frames(http2: HTTP2Client) -> Callable[[int], bytes]:
    """Of a type that nobody defined."""
    return lambda number: frame(0xFA, 0, 0, b"x")


async def rapid_resets(http2: HTTP2Client) -> Callable[[int], bytes]:
    """CVE-2023-44487."""
    head = b"\x82\x84\x87\x41\x09localhost"  # GET / https localhost

    def reset(number: int) -> bytes:
        stream = 2 * number + 1
        return frame(1, 0x5, stream, head) + frame(3, 0, stream, b"\x00\x00\x00\x08")

    return reset


@pytest.mark.parametrize(
    "flood", [pings, settings, priorities, window_updates, empty_data, unknown_frames, rapid_resets]
)
async def test_frames_that_are_no_use_end_the_connection(tmp_path: Path, flood: Callable[..., object]) -> None:
    """After the burst: GOAWAY with ENHANCE_YOUR_CALM, and the neighbour is served. Counted, and not logged."""
    async with serving(count, tmp_path) as server, await HTTP2Client.open(server) as neighbour:
        async with await HTTP2Client.open(server) as http2:
            make = await flood(http2)  # type: ignore[misc] # one of the functions above
            with contextlib.suppress(ConnectionError):
                for start in range(0, int(BURST) * 3, 100):
                    await http2.client.send(b"".join(make(number) for number in range(start, start + 100)))
                    await asyncio.sleep(0)
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    while await http2.receive():
                        pass
            assert http2.terminated is None or http2.terminated.error_code is h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        assert server.population.floods == 1
        assert (await neighbour.get()).status == 200


@pytest.mark.parametrize("flood", [pings, settings, rapid_resets])
async def test_answers_to_frames_do_not_pile_up(tmp_path: Path, flood: Callable[..., object]) -> None:
    """A client that reads nothing of them is ended all the same."""
    async with serving(count, tmp_path, timeouts=QUICK) as server:
        http2 = await HTTP2Client.open(server)
        make = await flood(http2)  # type: ignore[misc] # one of the functions above
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(3):
                for start in range(0, 20_000, 100):
                    await http2.client.send(b"".join(make(number) for number in range(start, start + 100)))
        await until(lambda: not server.population.connections)
        await http2.client.close()


@pytest.mark.parametrize("size", [0, 1, 1_000, 16_000])
async def test_a_head_that_never_ends(tmp_path: Path, size: int) -> None:
    """CONTINUATION flood (CVE-2024-27316 and its kin): ended after 64 frames, or 32 KiB, whichever comes first."""
    async with serving(count, tmp_path) as server, await HTTP2Client.open(server) as neighbour:
        async with await HTTP2Client.open(server) as http2:
            sent = 0
            with contextlib.suppress(ConnectionError):
                await http2.client.send(frame(1, 0x1, 1, b"\x82\x84\x87\x41\x09localhost"))
                # A literal header, not indexed, of a long value: a piece of it in each frame.
                piece = b"\x00\x01a\x7f\xe1\xff\x03" + bytes(max(size - 7, 0)) if size > 7 else bytes(size)
                for _ in range(2_000):
                    await http2.client.send(frame(9, 0, 1, piece))
                    sent += 1
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    while await http2.receive():
                        pass
            assert not http2.answers
        assert (await neighbour.get()).status == 200


async def test_a_window_of_nothing(tmp_path: Path) -> None:
    """A client that asks, and never lets itself be answered: the connection ends with its idle time."""
    async with serving(count, tmp_path, timeouts=QUICK) as server, await HTTP2Client.open(server) as http2:
        http2.connection.update_settings({4: 0})  # INITIAL_WINDOW_SIZE
        for _ in range(50):
            await http2.start()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await http2.receive():
                    pass
        await until(lambda: not server.population.connections)


async def test_who_asks_may_take_back_and_ping(tmp_path: Path) -> None:
    """A busy client stays below the bound: every answer adds to its budget."""
    async with serving(count, tmp_path, timeouts=PATIENT) as server, await HTTP2Client.open(server) as http2:
        for _ in range(300):
            stream = await http2.start()
            for _ in range(4):
                http2.connection.ping(b"12345678")
            taken_back = await http2.start()
            http2.connection.reset_stream(taken_back, h2.errors.ErrorCodes.CANCEL)
            await http2.flush()
            assert (await http2.answer(stream)).status == 200
        assert server.population.floods == 0


# -- HTTP/1.1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 3_000,
        b"GET /" + b"a" * 20_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 20_000,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 3_000,
    ],
    ids=["many headers", "long target", "long header", "long chunk extension", "many trailers"],
)
async def test_a_long_head_is_refused(tmp_path: Path, sent: bytes) -> None:
    """16 KiB for all of it; then an error, or the end."""
    async with serving(count, tmp_path) as server:
        async with await server.connect() as connection:
            with contextlib.suppress(ConnectionError):
                await connection.send(sent)
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    answer = await connection.reader.read()
                    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
        async with await server.connect() as connection:
            assert (await connection.get()).status == 200


async def test_pipelined_requests_wait_for_their_answers(tmp_path: Path) -> None:
    """A client that pipelines without reading holds no more than its buffers: the rest waits in its own kernel."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(count, tmp_path, timeouts=PATIENT) as server:
        connection = await server.connect()
        (stalled,) = server.population.connections
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined] # of TLS transports
        connection.writer.write(request * 400_000)
        await until(lambda: stalled._reading_paused)
        for _ in range(20):
            assert stalled._inbox is None or stalled._inbox.size <= 256 * 1024
            await asyncio.sleep(0.02)
        async with await server.connect() as neighbour:
            assert (await neighbour.get()).status == 200
        connection.writer.transport.abort()
        await until(lambda: not server.population.connections)


async def test_answers_of_tls_that_nobody_takes_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New keys without end, each to be answered by another one (RFC 8446 §4.6.3), from a client that reads nothing."""

    def bind_with_small_buffers(listeners: Sequence[Listener]) -> list[socket.socket]:
        sockets = bind_listeners(listeners)
        for each in sockets:  # whose connections inherit it
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return sockets

    monkeypatch.setattr(peers, "bind_listeners", bind_with_small_buffers)
    async with serving(Both(), tmp_path) as server:
        sent = await asyncio.to_thread(update_keys, server.port, 100_000)
        assert sent < 50_000
        await until(lambda: not server.population.connections)


def update_keys(port: int, number: int) -> int:
    """Ask for so many new keys, and return how many it took until the connection was ended."""
    library = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")  # Python's `ssl` has no such function
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    with socket.socket() as connected:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connected.connect(("127.0.0.1", port))
        context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        tls = ctypes.c_void_p(library.SSL_new(context))
        library.SSL_set_fd(tls, connected.fileno())
        try:
            assert library.SSL_connect(tls) == 1
            for count in range(number):
                library.SSL_key_update(tls, 1)
                if library.SSL_do_handshake(tls) != 1:
                    return count
            return number
        finally:
            library.SSL_free(tls)
            library.SSL_CTX_free(context)
