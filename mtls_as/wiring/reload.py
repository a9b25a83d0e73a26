"""Reload: what the configuration and its files say now is taken over whole and checked, or not at all."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from mtls_as.config import ConfigurationError, load_settings
from mtls_as.pki.trust_domains import TrustConfigurationError
from mtls_as.server.events import ReloadEvent, ReloadOutcome, ReloadSink
from mtls_as.server.reloading import ProcessReload
from mtls_as.server.signing_keys import NoSigningKey
from mtls_as.storage import StorageError
from mtls_as.tls import PrepareCredentials, ServerCredentials, TLSConfigurationError
from mtls_as.wiring.file_watch import FileWatch, Look, look_at, watched_files
from mtls_as.wiring.fixed_keys import fixed_keys, refuse_changes
from mtls_as.wiring.generation import build_generation
from mtls_as.wiring.node import POLL_SECONDS, Node
from mtls_as.wiring.reload_board import ReloadBoard

ANSWER_SECONDS: Final = 20.0
"""How long a worker that was asked to reload waits for its fellows to tell what became of it."""
_LOOK_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 60.0
"""How often files that could not be taken over are tried again: the cause may have been elsewhere."""

_diagnostics = logging.getLogger(__name__)
_FORESEEN: Final = (ConfigurationError, TLSConfigurationError, TrustConfigurationError, StorageError, NoSigningKey)


class Reloader:
    """Replaces the generation of a node. Whatever goes wrong, the old one stays in force as it is, and that is said.

    `looked` comes from `read_settings`, with the settings of the node. Setting `asked` has `follow`
    reload at once; `note` takes an event for each reload. Workers that have fellows share a `board` with them.
    """

    def __init__(
        self,
        node: Node,
        *,
        looked: Look,
        asked: asyncio.Event,
        note: ReloadSink,
        board: ReloadBoard | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._note = note
        self._monotonic = monotonic
        self._fixed = fixed_keys(node.settings)
        self._watch = FileWatch(looked)
        self._attempted = node.settings
        self._retry_at: float | None = None
        self._prepare_credentials: PrepareCredentials = _prepare_nothing
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[ReloadEvent] | None = None
        """A reload that callers wait for, and that has not begun."""
        self._asked = asked
        self._board = board
        node.foundation.reload_all.value = self.reload_all
        if board is not None:
            start = ProcessReload(
                process=board.process, outcome=ReloadOutcome.SUCCEEDED, generation=node.generation.number
            )
            board.tell(start, began=board.joined_at)

    def attach(self, prepare: PrepareCredentials) -> None:
        """Tell how the listeners take new credentials; without it, requests alone see a new generation."""
        self._prepare_credentials = prepare

    async def follow(self, *, every: float = POLL_SECONDS) -> None:
        """Reload when files have changed, and when asked, until cancelled. `every` is in seconds."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._asked.wait()
            if self._asked.is_set():
                self._asked.clear()
                await self.reload("signal")
            elif cause := await self._asked_by_fellow():
                await self.reload(cause)
            elif await self._is_due():
                await self.reload("file change")

    async def reload(self, cause: str) -> ReloadEvent:
        """Build the next generation and put it into force, or leave all as it is; the event says which, and why.

        (1) What the files look like is noted before they are read, so that a change meanwhile is seen afterwards.
        (2) The configuration is read; what cannot change is as it was.
        (3) The generation is built, with every check that the start makes.
        (4) The listeners prepare the server's certificate.
        (5) All of it is put into force, and no request comes in between.
        """
        async with self._lock:
            return await self._reload(cause)

    async def reload_all(self, cause: str) -> tuple[ProcessReload, ...]:
        """Reload here, and if that went well in every other worker too; what became of it, here first.

        It goes on to its end if whoever waits for it gives up.
        """
        return await asyncio.shield(asyncio.create_task(self._reload_all(cause)))

    async def _reload(self, cause: str) -> ReloadEvent:
        began = time.monotonic()
        problems: list[str] = []
        try:
            await self._take_over()
        except _FORESEEN as error:
            problems = str(error).splitlines()
        except Exception as error:  # noqa: BLE001 # the old generation stays in force, whatever it is
            _diagnostics.exception("a reload failed for an unforeseen reason")
            problems = [f"unforeseen: {type(error).__name__}: {error}"]
        event = self._tell(cause, tuple(problems), time.monotonic() - began)
        await self._tell_fellows(event, began)
        return event

    async def _reload_together(self, cause: str) -> ReloadEvent:
        """One reload for all who ask before it begins, so that a flood of calls costs two and not as many."""
        if self._next is None:
            self._next = asyncio.create_task(self._reload_next(cause))
        return await asyncio.shield(self._next)

    async def _reload_next(self, cause: str) -> ReloadEvent:
        async with self._lock:
            self._next = None
            return await self._reload(cause)

    async def _reload_all(self, cause: str) -> tuple[ProcessReload, ...]:
        event = await self._reload_together(cause)
        board = self._board
        here = ProcessReload.of(event, process=os.getpid() if board is None else board.process)
        if board is None or event.outcome is ReloadOutcome.FAILED:
            return (here,)
        since = await asyncio.to_thread(board.ask, cause)
        deadline = self._monotonic() + ANSWER_SECONDS
        while True:
            others = await asyncio.to_thread(board.others, since=since)
            missing = [each for each in others if each.outcome is ReloadOutcome.INCOMPLETE]
            if not missing or self._monotonic() >= deadline:
                return (here, *others)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell_fellows(self, event: ReloadEvent, began: float) -> None:
        if self._board is None:
            return
        try:
            told = ProcessReload.of(event, process=self._board.process)
            await asyncio.to_thread(self._board.tell, told, began=began)
        except OSError:
            _diagnostics.exception("other workers could not be told of a reload")

    async def _asked_by_fellow(self) -> str | None:
        try:
            return None if self._board is None else await asyncio.to_thread(self._board.asked)
        except OSError:
            _diagnostics.exception("other workers could not be heard")
            return None

    async def _take_over(self) -> None:
        before = self._node.generation
        first = await self._look()  # (1)
        self._watch.take(first)
        settings = await asyncio.to_thread(load_settings, before.settings.path)  # (2)
        self._attempted = settings
        files = await asyncio.to_thread(watched_files, settings)
        look = {**await asyncio.to_thread(look_at, first.keys() | files), settings.path: first[settings.path]}
        self._watch.take(look)
        refuse_changes(settings, self._fixed)
        generation = await build_generation(  # (3)
            settings, self._node.foundation, number=before.number + 1, before=before
        )
        put_into_use = self._prepare_credentials(generation.credentials)  # (4)
        put_into_use()  # (5)
        self._node.replace(generation)
        self._watch.take({file: state for file, state in look.items() if file in files})

    async def _look(self) -> Look:
        """Of files that were tried in vain too: what was missing there may be what appears next."""
        known = (self._node.settings, self._attempted)
        return await asyncio.to_thread(lambda: look_at({file for each in known for file in watched_files(each)}))

    async def _is_due(self) -> bool:
        is_retry = self._retry_at is not None and self._monotonic() >= self._retry_at
        try:
            return self._watch.has_settled(await self._look()) or is_retry
        except Exception:  # noqa: BLE001 # the next look may go well, and files must be watched
            _diagnostics.exception("the files of the configuration could not be watched")
            return is_retry

    def _tell(self, cause: str, problems: tuple[str, ...], seconds: float) -> ReloadEvent:
        number, problem = self._node.generation.number, "; ".join(problems) or None
        self._retry_at = None if problem is None else self._monotonic() + RETRY_SECONDS
        if problem is None:
            self._node.announce(f"reload ({cause})")
        else:
            message = "reload (%s) FAILED, generation %d stays in force: %s"
            _diagnostics.error(message, cause, number, problem)
        event = ReloadEvent(
            cause=cause,
            outcome=ReloadOutcome.SUCCEEDED if problem is None else ReloadOutcome.FAILED,
            generation=number,
            detail=problem,
            problems=problems,
            latency_seconds=seconds,
        )
        self._node.foundation.metrics.count_reload("configuration", succeeded=problem is None)
        self._note(event)
        if self._node.foundation.audit is not None:
            self._node.foundation.audit.note(event)
        return event


def _prepare_nothing(_credentials: ServerCredentials) -> Callable[[], None]:
    return lambda: None
