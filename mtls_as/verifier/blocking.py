"""The verifier for programs without an event loop: its asynchronous part runs on one loop, in one thread, for all.

Keys, caches and fetches then belong to one thread, whatever the number of threads that serve requests. In the steady
state nothing there waits for the network.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from mtls_as.verifier.dpop import DPoPRequest
from mtls_as.verifier.guard import ResourceGuard, TokenVerifier
from mtls_as.verifier.request import Answer, Refusal, ResourceRequest
from mtls_as.verifier.verifier import VerifiedToken

DRAIN_SECONDS: Final = 5.0
"""How long a fork waits for what runs; a fetch is over by then."""

_Result = TypeVar("_Result")


class SyncVerifier:
    """A verifier (`AccessTokenVerifier`, …) for synchronous code, safe to use from any number of threads.

    It may be made before a server forks its workers. The verifier that it was made from must not be used beside it.
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    def verify(
        self,
        token: str,
        *,
        certificate: bytes | str | None,
        dpop: DPoPRequest | None = None,
        scopes: Iterable[str] = (),
    ) -> VerifiedToken:
        """As `AccessTokenVerifier.verify`."""
        return run(self._verifier.verify(token, certificate=certificate, dpop=dpop, scopes=scopes))


class SyncGuard:
    """A `ResourceGuard` for synchronous code, as `SyncVerifier` is a verifier for it."""

    def __init__(self, guard: ResourceGuard) -> None:
        self._guard = guard

    def admit(self, request: ResourceRequest, *, scopes: Iterable[str] = ()) -> VerifiedToken | Answer:
        """As `ResourceGuard.admit`."""
        return self._guard.published(request) or self.check(request, scopes=scopes)

    def check(self, request: ResourceRequest, *, scopes: Iterable[str] = ()) -> VerifiedToken | Refusal:
        """As `ResourceGuard.check`."""
        return run(self._guard.check(request, scopes=scopes))

    def insufficient(self, token: VerifiedToken, scopes: Iterable[str]) -> Refusal | None:
        """As `ResourceGuard.insufficient`."""
        return self._guard.insufficient(token, scopes)


def run(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine on the loop of this process, and wait for it. Never called on that loop itself."""
    return _LOOP.run(coroutine)


class _BackgroundLoop:
    """An event loop in a thread of its own, started when it is first needed, and stopped while the process forks.

    A thread does not survive a fork, and what it was doing would never end in the child: so before a fork the loop
    finishes, and afterwards parent and child each start another.
    """

    _loop: asyncio.AbstractEventLoop | None
    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._begin_anew()
        if hasattr(os, "register_at_fork"):  # Windows does not fork
            os.register_at_fork(before=self._pause, after_in_parent=self._resume, after_in_child=self._begin_anew)

    def run(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        if self._process != os.getpid():  # a server in C (uWSGI) forks without a word
            self._begin_anew()
        with self._lock:  # held by a fork, too
            future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        return future.result()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_serve, args=(self._loop,), name="mtls_as.verifier", daemon=True)
            self._thread.start()
        return self._loop

    def _pause(self) -> None:
        self._lock.acquire()
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop, self._thread = None, None

    def _resume(self) -> None:
        self._lock.release()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._loop = None
        self._thread = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Until it is stopped; then what is under way gets its time, and is given up after that."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        for give_up in (False, True):
            if tasks := asyncio.all_tasks(loop):
                for task in tasks if give_up else ():
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks, timeout=DRAIN_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


_LOOP: Final = _BackgroundLoop()
