"""Processes that share the listening sockets, and the signals that stop and reload them."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

_logger = logging.getLogger("mtls_as.tls")

Worker = Callable[[list[socket.socket]], None]
"""Serves the sockets until SIGTERM or SIGINT; `shutdown_on_signals` and `serve_listeners` inside `asyncio.run`, say."""

_STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS: Final = _STOP_SIGNALS | {signal.SIGHUP}
_FIRST_DELAY: Final = 0.5
_LAST_DELAY: Final = 30.0
_STABLE_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 30.0

_held: list[int] = []
"""Signals that nobody has taken yet: they are the process's, and so is this."""


def run_workers(count: int, sockets: Sequence[socket.socket], worker: Worker, *, grace: float = _GRACE_SECONDS) -> None:
    """Run `worker` on the sockets in so many processes until they have ended. A single one runs in this process.

    More are spawned, so `worker` must be picklable: a function of a module, or a `functools.partial` of one. SIGTERM
    and SIGINT are passed on and end everything, and a worker that does not end within `grace` seconds is killed; SIGHUP
    is passed on. A worker that dies is replaced, after a delay that doubles while they die young. The sockets are
    closed when it returns.

    Call it in the main thread.
    """
    if count == 1:
        worker(list(sockets))
    else:
        _Supervisor(count=count, sockets=list(sockets), worker=worker, grace=grace).run()


@contextmanager
def holding_signals() -> Iterator[None]:
    """Keep SIGTERM, SIGINT and SIGHUP, which would end the process, for whoever calls `take_signals`.

    `run_workers` does for several workers; a single one has to. Use it in the main thread.
    """
    before = {number: signal.signal(number, _hold) for number in _SIGNALS}
    try:
        yield
    finally:
        _held.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _hold(number: int, _frame: FrameType | None) -> None:
    _held.append(number)


def take_signals() -> None:
    """Receive the signals that were kept. Their handlers must stand."""
    while _held:
        os.kill(os.getpid(), _held.pop(0))


def shutdown_on_signals() -> asyncio.Event:
    """An event of the running loop that SIGTERM and SIGINT set. Call it in the main thread."""
    shutdown = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, shutdown.set)
    return shutdown


@dataclass(slots=True, kw_only=True)
class _Slot:
    """The place of one worker."""

    process: BaseProcess | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    delay: float = _FIRST_DELAY


@dataclass(slots=True, kw_only=True)
class _Supervisor:
    count: int
    sockets: list[socket.socket]
    worker: Worker
    grace: float
    stopping: bool = False
    slots: list[_Slot] = field(default_factory=list)

    def run(self) -> None:
        self.slots = [_Slot() for _ in range(self.count)]
        with _signals_as_bytes() as signals:
            while not self.stopping:
                self._start_missing()
                self._wait(signals, timeout=self._next_start())
            for bound in self.sockets:
                bound.close()
            self._stop(signals)

    def _start_missing(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            if slot.process is None and slot.start_at <= now:
                slot.process = self._start()
                slot.started_at = now

    def _start(self) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(self.worker, self.sockets), name="mtls-as worker"
        )
        # The child begins with them blocked, since a signal before it can handle one would end it with a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return process

    def _next_start(self) -> float | None:
        waiting = [slot.start_at for slot in self.slots if slot.process is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _wait(self, signals: socket.socket, timeout: float | None) -> None:
        """Wait for a signal or the end of a worker, and deal with it."""
        ready = wait([*(slot.process.sentinel for slot in self.slots if slot.process), signals], timeout)
        for slot in self.slots:
            if slot.process is not None and slot.process.sentinel in ready:
                self._bury(slot)
        if signals in ready:
            for number in signals.recv(64):
                self._pass_on(signal.Signals(number))

    def _bury(self, slot: _Slot) -> None:
        process, slot.process = slot.process, None
        if process is None:
            return
        process.join()
        if self.stopping:
            return
        now = time.monotonic()
        if now - slot.started_at >= _STABLE_SECONDS:
            slot.delay = _FIRST_DELAY
        slot.start_at = now + slot.delay
        _logger.error("a worker ended with status %s and is replaced in %.1f s", process.exitcode, slot.delay)
        slot.delay = min(slot.delay * 2, _LAST_DELAY)

    def _pass_on(self, number: signal.Signals) -> None:
        self.stopping = self.stopping or number in _STOP_SIGNALS
        passed = signal.SIGTERM if number in _STOP_SIGNALS else number
        for slot in self.slots:
            if slot.process is not None and slot.process.pid is not None and slot.process.is_alive():
                os.kill(slot.process.pid, passed)

    def _stop(self, signals: socket.socket) -> None:
        deadline = time.monotonic() + self.grace
        while any(slot.process for slot in self.slots) and (left := deadline - time.monotonic()) > 0:
            self._wait(signals, timeout=left)
        for slot in self.slots:
            if slot.process is not None:
                _logger.error("a worker did not stop within %.0f s and is killed", self.grace)
                slot.process.kill()
                slot.process.join()


@contextmanager
def _signals_as_bytes() -> Iterator[socket.socket]:
    """A socket on which each signal of interest arrives as a byte, for as long as the context lasts."""
    reading, writing = socket.socketpair()
    reading.settimeout(0)
    writing.settimeout(0)
    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(writing.fileno())
    take_signals()
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()


def _note(_number: int, _frame: FrameType | None) -> None:
    """Nothing to do: `signal.set_wakeup_fd` has written the number."""


def _work(worker: Worker, sockets: list[socket.socket]) -> None:
    """What a worker process runs first."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker(sockets)


def _end_with_parent() -> None:
    """Stop gracefully when the supervisor is killed, so that the addresses are free for the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
