"""Serving: one process or several, until a signal ends them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from socket import socket
from typing import Final

from mtls_as.config import ConfigurationError, EventsSettings, Problem, Settings, load_settings
from mtls_as.observability.diagnostics import log_diagnostics
from mtls_as.observability.event_log import EventLog
from mtls_as.observability.event_outputs import open_output
from mtls_as.observability.metrics import shared_by_workers
from mtls_as.server.events import RequestEvent
from mtls_as.tls import (
    Listener,
    PrepareCredentials,
    bind_listeners,
    holding_signals,
    inherited_sockets,
    notify,
    run_workers,
    serve_listeners,
    settle_memory,
    take_signals,
)
from mtls_as.wiring.file_watch import read_settings
from mtls_as.wiring.fixed_keys import fixed_keys, refuse_changes
from mtls_as.wiring.node import open_node
from mtls_as.wiring.reload import Reloader
from mtls_as.wiring.reload_board import ReloadBoard, reload_folder

_END_SECONDS: Final = 20.0
"""What a worker needs to end beside the times of the configuration, before it is killed."""


async def check(settings: Settings) -> list[Listener]:
    """Build a node once and drop it. Returns the listeners it would serve; raises what `open_node` raises."""
    async with open_node(settings, emit=_emit_nothing) as node:
        return node.listeners()


def _check_event_output(settings: Settings) -> None:
    """Raise `ConfigurationError` if events could not be written, before anything else begins."""
    try:
        open_output(settings.events.file, max_bytes=settings.events.max_bytes, keep=settings.events.keep).close()
    except OSError as error:
        problem = Problem("events.file", f"{settings.events.file} cannot be written: {error.strerror}")
        raise ConfigurationError.of(settings.path, [problem]) from None


def _emit_nothing(_event: RequestEvent) -> None:
    pass


def serve(path: Path) -> None:
    """Serve the configuration file `path` until SIGTERM or SIGINT: check all, bind all, and only then start."""
    settings = load_settings(path)
    _check_event_output(settings)
    inherited = inherited_sockets()
    listeners = asyncio.run(check(settings))
    has_metrics = settings.listeners.admin_bind is not None
    has_fellows = settings.server.workers > 1
    with (
        shared_by_workers() if has_metrics and has_fellows else contextlib.nullcontext(),
        reload_folder() if has_fellows else contextlib.nullcontext() as meeting_place,
        holding_signals(),  # one that comes once clients can connect is for the server that begins
    ):
        run_workers(
            settings.server.workers,
            bind_listeners(listeners, inherited=inherited),
            partial(_work, path, fixed_keys(settings), settings.events, meeting_place),
            grace=settings.timeouts.drain + settings.timeouts.shutdown + _END_SECONDS,
        )


def _work(
    path: Path, fixed: Mapping[str, str], events: EventsSettings, meeting_place: Path | None, sockets: list[socket]
) -> None:
    log_diagnostics(events.diagnostics)
    log = EventLog(open_output(events.file, max_bytes=events.max_bytes, keep=events.keep), clock=time.time)
    with log.writing():
        # Its place is taken before the files are read: who asks for a reload from now on waits for it.
        board = None if meeting_place is None else ReloadBoard(meeting_place)
        asyncio.run(_serve_node(path, fixed, sockets, log, board))


async def _serve_node(
    path: Path, fixed: Mapping[str, str], sockets: list[socket], log: EventLog, board: ReloadBoard | None
) -> None:
    """Serve in this process. A worker that replaces another takes what the files say now, like a reload."""
    loop, shutdown, hangup = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, shutdown.set)
    take_signals()
    settings, looked = read_settings(path)
    refuse_changes(settings, fixed)
    async with open_node(settings, emit=log) as node:
        reloader = Reloader(node, looked=looked, asked=hangup, note=log, board=board)
        followed = (node.follow_storage(), node.follow_bundles(), node.follow_keys(), node.follow_numbers())
        following = [asyncio.create_task(one) for one in followed]

        def follow_files(prepare: PrepareCredentials) -> None:
            reloader.attach(prepare)
            following.append(asyncio.create_task(reloader.follow()))

        def started() -> None:
            settle_memory()
            node.announce("start")
            if node.foundation.audit is not None:
                node.foundation.audit.note_start()
            notify({"READY": "1", "STATUS": f"serves {node.settings.issuer}"})

        def stopping() -> None:
            node.foundation.stopping.set()
            notify({"STOPPING": "1"})

        try:
            await serve_listeners(
                node.listeners(),
                sockets,
                node.credentials,
                timeouts=settings.timeouts,
                shutdown=shutdown,
                on_handshake_failure=node.handshake_failed,
                on_handshake=node.foundation.metrics.count_handshake,
                population=node.population,
                hand_over=follow_files,
                started=started,
                stopping=stopping,
            )
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
