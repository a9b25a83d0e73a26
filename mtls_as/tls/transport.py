"""Bytes in and out of an accepted socket, on the event loop.

asyncio's own transports do the same for protocols of every kind: with a task, a future, a dictionary and three turns of
the loop for each connection, and new memory of 256 KiB for each read. Here is what one kind of owner needs, with the
names and the behaviour of `asyncio.Transport`.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, Protocol

RECEIVED_AT_ONCE: Final = 256 * 1024
"""As much as asyncio's transports. A body that comes at once is so there at once, whether or not anybody reads it."""
_HIGH_WATER: Final = 64 * 1024
"""When more bytes wait to be sent, the owner is told to pause."""
_LOW_WATER: Final = 16 * 1024
"""When as few are left, it may go on."""
_SENT_TOGETHER: Final = 8
"""So many, and the first of them waits no longer for the others."""
_GATHERED_WITHIN_SECONDS: Final = 0.001
"""Writes that follow each other as fast as this are worth gathering: one that comes alone would only wait a turn."""


class Owner(Protocol):
    """Whose connection it is. An error that it raises ends the connection."""

    def connection_made(self, transport: "Transport") -> None:
        """Called first, before anything is received."""
        ...

    def data_received(self, data: bytes) -> None:
        """Called with what the peer has sent, never empty."""
        ...

    def eof_received(self) -> None:
        """The peer sends nothing more. It may still receive."""
        ...

    def pause_writing(self) -> None:
        """The peer does not take what is written; more waits in memory."""
        ...

    def resume_writing(self) -> None:
        """Most of it is sent."""
        ...

    def connection_lost(self) -> None:
        """Called last, and once, never within another call in either direction."""
        ...


class Sends:
    """What is sent together at the end of a turn of the loop: for all connections of one listener.

    The kernel wakes who waits for an answer, which on the same machine costs as much as sending does. Under load one
    that gets several answers is so woken once. And code that runs once for many of them runs faster.
    """

    __slots__ = ("_last", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._last = 0.0
        self._waiting: list[Transport] = []

    def follow_closely(self) -> bool:
        """Whether one that comes now comes close behind another."""
        now = self._loop.time()
        is_close, self._last = now - self._last < _GATHERED_WITHIN_SECONDS, now
        return is_close

    def add(self, transport: "Transport") -> None:
        """Call `send_gathered` of a transport at the end of this turn, or now if there are enough."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(transport)
        if len(self._waiting) >= _SENT_TOGETHER:
            self._send()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            transport.send_gathered()


class Transport:
    """One accepted connection, from `open` until its owner's `connection_lost`."""

    __slots__ = (
        "_fd", "_gathered", "_is_closing", "_is_full", "_is_over", "_is_receiving", "_loop", "_memory", "_owner",
        "_reads", "_sends", "_sends_eof", "_socket", "_unsent", "peername",
    )  # fmt: skip

    _owner: Owner

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        accepted: socket.socket,
        peername: object,
        memory: memoryview,
        sends: Sends,
    ) -> None:
        """`accepted` does not block, and belongs to this transport from now on. `memory` all of one loop may share."""
        self._loop = loop
        self._memory = memory
        self._sends = sends
        self._gathered = b""
        self._socket = accepted
        self._fd = accepted.fileno()
        self._unsent = bytearray()
        self._reads = False
        self._is_full = False
        self._sends_eof = False
        self._is_closing = False
        self._is_over = False
        self._is_receiving = False
        self.peername = peername
        """Where the connection comes from, as the socket has it."""

    @property
    def sockname(self) -> object:
        """Where it came to."""
        return self._socket.getsockname()

    def open(self, owner: Owner) -> None:
        """Tell the owner, and begin to receive."""
        self._owner = owner
        self._tell(owner.connection_made, self)
        self.resume_reading()

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Go on receiving, unless the transport closes."""
        if not self._reads and not self._is_closing:
            self._reads = True
            self._loop.add_reader(self._fd, self._receive)

    def write_soon(self, data: bytes) -> None:
        """`write`, if need be at the end of this turn of the loop, together with what goes to others."""
        if self._gathered or self._is_closing or not self._sends.follow_closely():
            self.write(data)
        else:
            self._gathered = data
            self._sends.add(self)

    def send_gathered(self) -> None:
        """Send what was written for later, if it is not sent yet."""
        if self._gathered:
            self.write(b"")

    def write(self, data: bytes) -> None:
        """Send what the kernel takes, and the rest as soon as it takes it."""
        if self._gathered:
            data, self._gathered = self._gathered + data, b""
        if not data or self._is_over:
            return
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.abort()
                return
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._fd, self._send_rest)
        self._unsent += data
        if len(self._unsent) > _HIGH_WATER and not self._is_full:
            self._is_full = True
            self._tell(self._owner.pause_writing)

    def write_eof(self) -> None:
        """Tell the peer, behind all that was written, that nothing more comes."""
        if not self._sends_eof and not self._is_closing:
            self.send_gathered()
            self._sends_eof = True
            if not self._unsent:
                self._send_eof()

    def close(self) -> None:
        """Receive nothing more, send what was written, and close."""
        if not self._is_closing:
            self.send_gathered()
            self._is_closing = True
            self.pause_reading()
            if not self._unsent:
                self.abort()

    def abort(self) -> None:
        """Close now, with what was written and the kernel did not take."""
        self.send_gathered()  # which may find that the connection is over
        if self._is_over:
            return
        self._is_closing = self._is_over = True
        self.pause_reading()
        if self._unsent:
            self._unsent.clear()
            self._loop.remove_writer(self._fd)
        if not self._is_receiving:  # else when that is over, which spares a turn of the loop
            self._loop.call_soon(self._lose)

    def _receive(self) -> None:
        try:
            size = self._socket.recv_into(self._memory)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self._is_receiving = True
        try:
            if size:
                self._owner.data_received(bytes(self._memory[:size]))
            else:
                self.pause_reading()
                self._owner.eof_received()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as in `_tell`, one call less
            self._fail(error)
        finally:
            self._is_receiving = False
        if self._is_over:
            self._lose()

    def _send_rest(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._fd)
        if self._is_full and len(self._unsent) <= _LOW_WATER:
            self._is_full = False
            self._tell(self._owner.resume_writing)  # who may write, or abort
        if not self._unsent and self._is_closing:
            self.abort()
        elif not self._unsent and self._sends_eof:
            self._send_eof()

    def _send_eof(self) -> None:
        with contextlib.suppress(OSError):  # if the peer is gone, receiving tells
            self._socket.shutdown(socket.SHUT_WR)

    def _lose(self) -> None:
        self._tell(self._owner.connection_lost)
        del self._owner  # which holds this transport, so that both are free at once
        self._socket.close()

    def _tell(self, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it is told
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End this connection, and no other, when its owner stumbles."""
        self._loop.call_exception_handler({"message": "a connection was ended by an error", "exception": error})
        self.abort()
