"""Accepting the connections of a listening socket, on the event loop."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

from mtls_as.tls.transport import RECEIVED_AT_ONCE, Owner, Sends, Transport

_logger = logging.getLogger("mtls_as.tls")

_ACCEPTED_AT_ONCE: Final = 64
"""Connections taken in one turn of the loop, so that others get their turn, and other workers their share."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Nothing is left to accept a connection with, which goes on waiting."""
_RETRY_SECONDS: Final = 1.0


class Acceptor:
    """Gives each connection of a listening socket an owner, until it is closed."""

    __slots__ = ("_bound", "_is_closed", "_loop", "_make_owner", "_memory", "_sends")

    def __init__(self, loop: asyncio.AbstractEventLoop, bound: socket.socket, make_owner: Callable[[], Owner]) -> None:
        """`bound` listens, and is closed here."""
        self._loop = loop
        self._bound = bound
        self._make_owner = make_owner
        self._is_closed = False
        self._memory = memoryview(bytearray(RECEIVED_AT_ONCE))
        self._sends = Sends(loop)
        bound.setblocking(False)  # noqa: FBT003 - the library has it by position alone
        self._start()

    def finish(self) -> None:
        """Take the connections that wait, and close: a closed listener would reset them."""
        if not self._is_closed:
            while self._accept_one():
                pass
            self.close()

    def close(self) -> None:
        """Accept nothing more."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._bound)
            self._bound.close()

    def _start(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._bound, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Whether there was one."""
        try:
            accepted, peername = self._bound.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(error)
            else:
                _logger.warning("a connection was not accepted: %s", error.strerror)
            return False
        accepted.setblocking(False)  # noqa: FBT003 - the library has it by position alone
        Transport(self._loop, accepted, peername, self._memory, self._sends).open(self._make_owner())
        return True

    def _pause(self, error: OSError) -> None:
        """Wait until other connections have ended: the loop would tell of those that wait without end."""
        _logger.error("no connections are accepted for %g s: %s", _RETRY_SECONDS, error.strerror)
        self._loop.remove_reader(self._bound)
        self._loop.call_later(_RETRY_SECONDS, self._start)
