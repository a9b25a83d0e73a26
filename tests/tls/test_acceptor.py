"""Accepting connections: all that wait, fairly, and on when there was nothing left to accept with."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from mtls_as.tls.acceptor import Acceptor
from mtls_as.tls.transport import Transport


class Recorder:
    """An owner that notes where its connection comes from, and does nothing."""

    def __init__(self, peers: list[object], open_: list[Transport]) -> None:
        self._peers = peers
        self._open = open_

    def connection_made(self, transport: Transport) -> None:
        self._peers.append(transport.peername)
        self._open.append(transport)

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self) -> None: ...


class Exhausted:
    """A listening socket of a process that has no file descriptor left, for so many times."""

    def __init__(self, bound: socket.socket, times: int, number: int) -> None:
        self._bound = bound
        self._times = times
        self._number = number
        self.setblocking = bound.setblocking
        self.fileno = bound.fileno
        self.close = bound.close

    def accept(self) -> tuple[socket.socket, object]:
        if self._times:
            self._times -= 1
            raise OSError(self._number, "none left")
        return self._bound.accept()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as bound:
        yield bound


def accepting(bound: object) -> tuple[Acceptor, list[object], list[Transport]]:
    """What accepts, whom it has accepted, and their connections."""
    peers: list[object] = []
    transports: list[Transport] = []
    loop = asyncio.get_running_loop()
    acceptor = Acceptor(loop, bound, partial(Recorder, peers, transports))  # type: ignore[arg-type] # or Exhausted
    return acceptor, peers, transports


async def end(transports: list[Transport]) -> None:
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


async def test_connections_that_wait_when_it_finishes_are_taken(listening: socket.socket) -> None:
    """All that the kernel has completed, and no more: a closed listener would reset them."""
    clients = [socket.create_connection(listening.getsockname()) for _ in range(100)]
    acceptor, peers, transports = accepting(listening)
    acceptor.finish()
    assert set(peers) == {each.getsockname() for each in clients}
    assert listening.fileno() == -1
    acceptor.finish()  # and nothing happens
    acceptor.close()
    await end(transports)
    for each in clients:
        each.close()


async def test_others_have_their_turn_between_many_connections(listening: socket.socket) -> None:
    clients = [socket.create_connection(listening.getsockname()) for _ in range(100)]
    acceptor, peers, transports = accepting(listening)
    counts = []
    while len(peers) < len(clients):
        await asyncio.sleep(0)
        counts.append(len(peers))
    assert 64 in counts
    acceptor.close()
    await end(transports)
    for each in clients:
        each.close()


async def test_a_connection_that_is_reset_before_it_is_accepted_is_passed_over(listening: socket.socket) -> None:
    acceptor, peers, transports = accepting(Exhausted(listening, 1, errno.ECONNABORTED))
    with socket.create_connection(listening.getsockname()) as client:
        await asyncio.sleep(0.02)
        assert peers == [client.getsockname()]
    acceptor.close()
    await end(transports)


async def test_a_connection_that_fails_on_its_way_is_told_and_keeps_none_waiting(
    listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """As by EPROTO: accept(2) wants these to be passed over."""
    acceptor, peers, transports = accepting(Exhausted(listening, 1, errno.EPROTO))
    with socket.create_connection(listening.getsockname()) as client:
        await asyncio.sleep(0.02)
        assert peers == [client.getsockname()]
    assert "a connection was not accepted: none left" in caplog.text
    acceptor.close()
    await end(transports)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
async def test_without_descriptors_connections_wait_for_a_second_try(
    listening: socket.socket, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop does not spin meanwhile, and the operator hears of it."""
    monkeypatch.setattr("mtls_as.tls.acceptor._RETRY_SECONDS", 0.05)
    acceptor, peers, transports = accepting(Exhausted(listening, 1, number))
    with socket.create_connection(listening.getsockname()):
        await asyncio.sleep(0.02)
        assert not peers
        assert [each.levelno for each in caplog.records if each.name == "mtls_as.tls"] == [logging.ERROR]
        await asyncio.sleep(0.1)
        assert len(peers) == 1
    acceptor.close()
    await end(transports)


async def test_a_second_try_is_none_when_it_is_closed_meanwhile(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtls_as.tls.acceptor._RETRY_SECONDS", 0.02)
    acceptor, peers, _ = accepting(Exhausted(listening, 1, errno.EMFILE))
    with socket.create_connection(listening.getsockname()):
        await asyncio.sleep(0.01)
        acceptor.close()
        await asyncio.sleep(0.05)
    assert not peers
