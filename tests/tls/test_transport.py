"""The transport of a connection: what a peer may do, and what its owner may."""

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from mtls_as.tls.transport import Sends, Transport

MIB = 1024 * 1024


class Owner:
    """Notes what it is told; `act` may do something more with it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.received = b""
        self.lost = asyncio.Event()
        self.transport: Transport
        self.act: Callable[[str], None] = lambda _what: None

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.act(what)

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._note("data")

    def eof_received(self) -> None:
        self._note("eof")

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self) -> None:
        self.lost.set()
        self._note("lost")


class Pair:
    """An owner with its transport, and the peer's socket, which blocks nobody."""

    def __init__(self, sends: Sends | None = None) -> None:
        accepted, self.peer = socket.socketpair()
        for each in (accepted, self.peer):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.owner = Owner()
        self.accepted = accepted
        loop = asyncio.get_running_loop()
        memory = memoryview(bytearray(64 * 1024))
        self.transport = Transport(loop, accepted, "the peer", memory, sends or Sends(loop))

    def open(self) -> None:
        self.transport.open(self.owner)

    @property
    def arrived(self) -> bytes:
        """What the peer can receive now."""
        try:
            return self.peer.recv(MIB)
        except BlockingIOError:
            return b""

    async def take(self, size: int) -> bytes:
        """So many bytes, or all until the end."""
        taken = b""
        while len(taken) < size:
            piece = await asyncio.get_running_loop().sock_recv(self.peer, size - len(taken))
            if not piece:
                break
            taken += piece
        return taken

    async def lost(self) -> None:
        async with asyncio.timeout(1):
            await self.owner.lost.wait()
        await asyncio.sleep(0)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    made.transport.abort()
    made.peer.close()
    await asyncio.sleep(0)
    assert made.accepted.fileno() == -1


@pytest.fixture
async def errors() -> list[object]:
    """What the loop's exception handler is told."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    return told


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def test_what_the_peer_sends_is_received_and_where_it_is_known(pair: Pair) -> None:
    pair.peer.send(b"before it was opened")
    pair.open()
    await asyncio.sleep(0.01)
    assert pair.owner.received == b"before it was opened"
    assert pair.owner.told == ["made", "data"]
    assert pair.transport.peername == "the peer"
    assert pair.transport.sockname == ""  # of a unix socket without a name


async def test_more_than_the_kernel_takes_is_sent_in_order_once_it_is_taken(pair: Pair) -> None:
    pair.open()
    parts = [bytes([number]) * 100_000 for number in range(20)]
    for part in parts:
        pair.transport.write(part)
    pair.transport.write(b"")
    assert await pair.take(2_000_000) == b"".join(parts)


async def test_the_owner_is_told_once_to_pause_and_once_to_go_on(pair: Pair) -> None:
    pair.open()
    for _ in range(10):
        pair.transport.write(bytes(100_000))
    assert pair.owner.told == ["made", "pause"]
    await pair.take(900_000)
    assert pair.owner.told == ["made", "pause"]
    await pair.take(100_000)
    assert pair.owner.told == ["made", "pause", "resume"]


async def test_what_is_written_on_going_on_comes_behind_the_rest(pair: Pair) -> None:
    pair.owner.act = lambda what: pair.transport.write(b"end") if what == "resume" else None
    pair.open()
    pair.transport.write(bytes(200_000))
    assert await pair.take(200_003) == bytes(200_000) + b"end"


async def test_nothing_is_received_while_reading_is_paused(pair: Pair) -> None:
    pair.open()
    pair.transport.pause_reading()
    pair.transport.pause_reading()
    pair.peer.send(b"data")
    await asyncio.sleep(0.01)
    assert not pair.owner.received
    pair.transport.resume_reading()
    pair.transport.resume_reading()
    await asyncio.sleep(0.01)
    assert pair.owner.received == b"data"


async def test_reading_may_be_paused_on_what_is_received(pair: Pair) -> None:
    """As much as one read brings is received, and the rest of a stream without end waits at the peer."""
    pair.owner.act = lambda what: pair.transport.pause_reading() if what == "data" else None
    pair.open()
    sent = 0
    for _ in range(50):
        try:
            sent += pair.peer.send(bytes(64 * 1024))
        except BlockingIOError:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert pair.owner.told == ["made", "data"]
    assert 0 < len(pair.owner.received) <= 64 * 1024


async def test_a_peer_that_has_ended_still_receives(pair: Pair) -> None:
    pair.open()
    pair.peer.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    assert pair.owner.told == ["made", "eof"]
    pair.transport.write(b"answer")
    assert await pair.take(6) == b"answer"
    pair.transport.close()
    await pair.lost()
    assert pair.owner.told == ["made", "eof", "lost"]


async def test_closing_sends_the_rest_first(pair: Pair) -> None:
    pair.open()
    pair.transport.write(bytes(MIB))
    pair.transport.close()
    pair.transport.close()
    pair.transport.resume_reading()
    assert await pair.take(2 * MIB) == bytes(MIB)
    await pair.lost()
    assert pair.owner.told == ["made", "pause", "resume", "lost"]


async def test_closing_receives_nothing_more(pair: Pair) -> None:
    pair.open()
    pair.transport.write(bytes(MIB))
    pair.transport.close()
    pair.peer.send(b"ignored")
    await asyncio.sleep(0.01)
    assert pair.owner.told == ["made", "pause"]


async def test_the_end_is_never_told_within_a_call(pair: Pair) -> None:
    pair.open()
    pair.transport.close()
    assert pair.owner.told == ["made"]
    await pair.lost()
    assert pair.owner.told == ["made", "lost"]


@pytest.mark.parametrize("what", ["data", "eof"])
@pytest.mark.parametrize("ends", [Transport.close, Transport.abort], ids=["close", "abort"])
async def test_the_end_is_told_once_when_what_was_received_is_dealt_with(
    pair: Pair, what: str, ends: Callable[[Transport], None]
) -> None:
    during: list[str] = []

    def end(told: str) -> None:
        if told == what:
            ends(pair.transport)
            ends(pair.transport)
            during.extend(pair.owner.told)

    pair.owner.act = end
    pair.open()
    if what == "data":
        pair.peer.send(b"data")
    pair.peer.shutdown(socket.SHUT_WR)
    await pair.lost()
    assert during == ["made", what]
    assert pair.owner.told == ["made", what, "lost"]


async def test_an_end_of_stream_comes_behind_what_was_written(pair: Pair) -> None:
    pair.open()
    pair.transport.write(bytes(MIB))
    pair.transport.write_eof()
    pair.transport.write_eof()
    assert await pair.take(2 * MIB) == bytes(MIB)
    pair.peer.send(b"still received")
    await asyncio.sleep(0.01)
    assert pair.owner.received == b"still received"


async def test_an_end_of_stream_is_told_at_once_when_all_is_sent(pair: Pair) -> None:
    pair.open()
    pair.transport.write(b"all")
    pair.transport.write_eof()
    assert await pair.take(10) == b"all"


async def test_an_end_of_stream_to_a_peer_that_is_gone_is_no_error(pair: Pair, errors: list[object]) -> None:
    pair.open()
    pair.peer.close()
    pair.transport.write_eof()
    await asyncio.sleep(0.01)
    assert not errors


async def test_aborting_drops_the_rest(pair: Pair) -> None:
    pair.open()
    pair.transport.write(bytes(MIB))
    pair.transport.abort()
    pair.transport.abort()
    await pair.lost()
    assert pair.owner.told == ["made", "pause", "lost"]
    assert len(await pair.take(MIB)) < MIB


async def test_after_the_end_nothing_more_happens(pair: Pair) -> None:
    pair.open()
    pair.transport.abort()
    pair.transport.write(b"late")
    pair.transport.write_eof()
    pair.transport.resume_reading()
    await pair.lost()
    pair.transport.write(b"later")
    pair.transport.write_eof()
    pair.transport.pause_reading()
    pair.transport.resume_reading()
    pair.transport.close()
    assert pair.owner.told == ["made", "lost"]
    assert await pair.take(10) == b""


async def test_an_owner_may_close_before_anything_is_received(pair: Pair) -> None:
    pair.owner.act = lambda what: pair.transport.close() if what == "made" else None
    pair.peer.send(b"never read")
    pair.open()
    await pair.lost()
    assert pair.owner.told == ["made", "lost"]


async def test_a_peer_that_resets_ends_the_connection_once() -> None:
    """Told by the next read, or by the next write."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for writes in (False, True):
            peer = socket.create_connection(listening.getsockname())
            accepted, address = listening.accept()
            accepted.setblocking(False)
            owner = Owner()
            loop = asyncio.get_running_loop()
            transport = Transport(loop, accepted, address, memoryview(bytearray(1024)), Sends(loop))
            transport.open(owner)
            reset(peer)
            if writes:
                transport.write(b"nobody takes it")
                transport.write(b"nor this")
            async with asyncio.timeout(1):
                await owner.lost.wait()
            await asyncio.sleep(0)
            assert owner.told == ["made", "lost"]
            assert accepted.fileno() == -1


async def test_a_peer_that_resets_while_much_waits_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        accepted, address = listening.accept()
    accepted.setblocking(False)
    owner = Owner()
    loop = asyncio.get_running_loop()
    transport = Transport(loop, accepted, address, memoryview(bytearray(1024)), Sends(loop))
    transport.open(owner)
    transport.pause_reading()  # so that only sending can tell
    while "pause" not in owner.told:
        transport.write(bytes(MIB))
    reset(peer)
    async with asyncio.timeout(1):
        await owner.lost.wait()
    assert owner.told == ["made", "pause", "lost"]


@pytest.mark.parametrize("what", ["made", "data", "eof", "pause", "resume", "lost"])
@pytest.mark.parametrize("error", [ValueError("stumbled"), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_an_owner_that_stumbles_ends_its_connection_and_is_reported(
    pair: Pair, errors: list[object], what: str, error: BaseException
) -> None:
    def stumble(told: str) -> None:
        if told == what:
            raise error

    pair.owner.act = stumble
    pair.open()
    if what in {"pause", "resume"}:
        pair.transport.write(bytes(200_000))
        await pair.take(200_000)
    else:
        pair.peer.send(b"data")
        await asyncio.sleep(0.01)
        pair.peer.close()
        await asyncio.sleep(0.01)
    if what == "lost":
        pair.transport.abort()
    await pair.lost()
    assert errors == [error]
    assert pair.owner.told.count("lost") == 1
    assert pair.accepted.fileno() == -1


async def test_a_connection_that_is_over_keeps_nothing_alive(pair: Pair) -> None:
    """Owner and transport hold each other only until then: the garbage collector is not needed."""
    pair.open()
    pair.transport.close()
    await pair.lost()
    known = weakref.ref(pair.owner)
    gc.disable()
    try:
        del pair.owner
        assert known() is None
    finally:
        gc.enable()


@pytest.fixture
def under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write comes close behind another, however slow this machine is."""
    monkeypatch.setattr("mtls_as.tls.transport._GATHERED_WITHIN_SECONDS", 60)


async def test_what_is_alone_is_sent_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing came shortly before."""
    monkeypatch.setattr("mtls_as.tls.transport._GATHERED_WITHIN_SECONDS", 0)
    pair.open()
    for _ in range(2):
        pair.transport.write_soon(b"answer")
        assert pair.arrived == b"answer"


@pytest.mark.usefixtures("under_load")
async def test_what_follows_closely_is_sent_at_the_end_of_the_turn(pair: Pair) -> None:
    pair.open()
    for _ in range(3):
        pair.transport.write_soon(b"first, ")
        assert pair.arrived in {b"", b"first, "}  # at once, if it is the first of all
        pair.transport.write_soon(b"second, ")
        pair.transport.write(b"third")
        assert pair.arrived.endswith(b"second, third")
        pair.transport.write_soon(b"fourth")
        assert pair.arrived == b""
        await asyncio.sleep(0)
        assert pair.arrived == b"fourth"


@pytest.mark.usefixtures("under_load")
async def test_the_first_wait_for_no_more_than_a_few_others() -> None:
    """However many connections have something to send in one turn."""
    sends = Sends(asyncio.get_running_loop())
    pairs = [Pair(sends) for _ in range(30)]
    for pair in pairs:
        pair.open()
        pair.transport.write_soon(b"a")
    sent = [pair.arrived for pair in pairs]
    assert sent[:17] == [b"a"] * 17
    assert sent[-1] == b""
    await asyncio.sleep(0)
    assert [first + pair.arrived for first, pair in zip(sent, pairs, strict=True)] == [b"a"] * 30
    for pair in pairs:
        pair.transport.close()
        pair.peer.close()
        await pair.lost()


@pytest.mark.usefixtures("under_load")
@pytest.mark.parametrize("end", ["close", "write_eof", "abort"])
async def test_nothing_that_was_written_for_later_is_lost_at_the_end(pair: Pair, end: str) -> None:
    """An answer that was made reaches the client."""
    pair.open()
    pair.transport.write_soon(b"one, ")
    pair.transport.write_soon(b"two")
    getattr(pair.transport, end)()
    assert await pair.take(100) == b"one, two"


@pytest.mark.usefixtures("under_load")
@pytest.mark.parametrize("end", ["close", "write_eof", "abort", None])
async def test_a_peer_that_is_gone_before_the_end_of_the_turn(
    pair: Pair, errors: list[object], end: str | None
) -> None:
    pair.open()
    pair.transport.write_soon(b"one, ")
    pair.transport.write_soon(b"two")
    reset(pair.peer)
    if end is not None:
        getattr(pair.transport, end)()
    await pair.lost()
    assert pair.owner.told == ["made", "lost"]
    assert not errors


@pytest.mark.usefixtures("under_load")
async def test_much_that_is_written_for_later_is_sent_in_order(pair: Pair) -> None:
    """More than the kernel takes, and more behind it."""
    pair.open()
    parts = [bytes([number]) * 100_000 for number in range(20)]
    for part in parts:
        pair.transport.write_soon(part)
    assert await pair.take(2_000_000) == b"".join(parts)
    assert pair.owner.told == ["made", "pause", "resume"]
