"""The gateway at work: one process or several, until a signal ends them."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from socket import socket
from typing import Final

from mtls_as.config.observability import EventsSettings
from mtls_as.config.problems import ConfigurationError, Problem
from mtls_as.forwarded import MAX_FORWARDED_BYTES
from mtls_as.gateway.application import CurrentGateway
from mtls_as.gateway.decisions import Gateway
from mtls_as.gateway.guards import Guards, make_guards
from mtls_as.gateway.settings import GatewaySettings, load_gateway_settings
from mtls_as.observability.diagnostics import log_diagnostics
from mtls_as.observability.event_log import EventLog
from mtls_as.observability.event_outputs import open_output
from mtls_as.tls import (
    Listener,
    PrepareCredentials,
    ServerCredentials,
    TLSConfigurationError,
    bind_listeners,
    format_address,
    holding_signals,
    inherited_sockets,
    notify,
    run_workers,
    serve_listeners,
    settle_memory,
    shutdown_on_signals,
    take_signals,
)
from mtls_as.verifier import ResourceGuard, VerificationUnavailable

LISTENER: Final = "gateway"
_MAX_HEAD_BYTES: Final = 2 * MAX_FORWARDED_BYTES  # the longest header that is read, and as much again for the rest
_END_SECONDS: Final = 20.0
"""What a worker needs to end beside the times of the configuration, before it is killed."""

_log = logging.getLogger(__name__)


def check(path: Path) -> GatewaySettings:
    """Read a configuration and every file that it names, and use nothing of it.

    Raises `ConfigurationError` and `TLSConfigurationError`.
    """
    settings = load_gateway_settings(path)
    make_guards(settings)
    _credentials(settings)
    return settings


def serve(path: Path) -> None:
    """Serve the configuration file `path` until SIGTERM or SIGINT; SIGHUP has it read again.

    Raises what `check` raises, before anything listens.
    """
    settings = check(path)
    _check_event_output(settings)
    inherited, timeouts = inherited_sockets(), settings.timeouts
    grace = timeouts.drain + timeouts.shutdown + _END_SECONDS
    with holding_signals():  # one that comes once the proxy can connect is for the gateway that begins
        sockets = bind_listeners([_listener(settings, None)], inherited=inherited)
        run_workers(settings.workers, sockets, partial(_work, settings.path, settings.events), grace=grace)


def _listener(settings: GatewaySettings, app: CurrentGateway | None) -> Listener:
    return Listener(
        name=LISTENER,
        bind=settings.listener.bind,
        app=app or _nothing,
        request_certificate=settings.listener.tls,
        tls=settings.listener.tls,
        socket_group=settings.listener.socket_group,
        max_head_bytes=_MAX_HEAD_BYTES,
        direct=app,
    )


async def _nothing(_scope: object, _receive: object, _send: object) -> None:
    """Stands in for the application where a listener is only bound."""


def _credentials(settings: GatewaySettings) -> ServerCredentials | None:
    if settings.certificate is None or settings.private_key is None:
        return None
    return ServerCredentials.load(settings.certificate, settings.private_key)


def _check_event_output(settings: GatewaySettings) -> None:
    try:
        open_output(settings.events.file, max_bytes=settings.events.max_bytes, keep=settings.events.keep).close()
    except OSError as error:
        problem = Problem("events.file", f"{settings.events.file} cannot be written: {error.strerror}")
        raise ConfigurationError.of(settings.path, [problem]) from None


def _work(path: Path, events: EventsSettings, sockets: list[socket]) -> None:
    log_diagnostics(events.diagnostics)
    logging.getLogger(ResourceGuard.__module__).setLevel(logging.ERROR)  # each refusal is an event already
    log = EventLog(open_output(events.file, max_bytes=events.max_bytes, keep=events.keep), clock=time.time)
    with log.writing():
        asyncio.run(_Process(path, log).serve(sockets))


class _Process:
    """One process: the configuration in force, and what replaces it."""

    def __init__(self, path: Path, log: EventLog) -> None:
        self._path = path
        self._log = log
        self._settings = load_gateway_settings(path)
        self._guards = make_guards(self._settings)
        self._application = CurrentGateway(self._gateway(self._settings, self._guards))
        self._prepare_credentials: PrepareCredentials | None = None
        self._tasks = set[asyncio.Task[None]]()

    async def serve(self, sockets: list[socket]) -> None:
        """Serve until a signal ends it."""
        hangup, shutdown = asyncio.Event(), shutdown_on_signals()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
        take_signals()
        address = format_address(sockets[0])
        self._run(self._prepare())
        self._run(self._follow(hangup))
        try:
            await serve_listeners(
                [_listener(self._settings, self._application)],
                sockets,
                _credentials(self._settings),
                timeouts=self._settings.timeouts,
                shutdown=shutdown,
                hand_over=self._take_over,
                started=partial(self._started, address),
                stopping=self._stopping,
            )
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._guards.aclose()

    def _gateway(self, settings: GatewaySettings, guards: Guards) -> Gateway:
        return Gateway(settings, guards, emit=self._log)

    def _started(self, address: str) -> None:
        settle_memory()
        self._log({"event": "start", "bind": address, "proxy": self._settings.proxy})
        notify({"READY": "1", "STATUS": f"answers {self._settings.proxy} at {address}"})

    def _stopping(self) -> None:
        self._application.gateway.stopping = True
        self._log({"event": "stop"})
        notify({"STOPPING": "1"})

    def _take_over(self, prepare: PrepareCredentials) -> None:
        self._prepare_credentials = prepare

    async def _prepare(self) -> None:
        """Fetch the issuer's keys before somebody waits for them."""
        try:
            await self._application.gateway.prepare()
        except VerificationUnavailable as error:
            _log.warning("no key of the issuer is known yet, and requests are answered 503: %s", error)

    async def _follow(self, hangup: asyncio.Event) -> None:
        """Read everything again whenever it is asked for; what cannot be taken over changes nothing."""
        while True:
            await hangup.wait()
            hangup.clear()
            try:
                self._reload()
            except (ConfigurationError, TLSConfigurationError) as error:
                _log.error("the configuration was NOT reloaded, the old one stays in force: %s", error)
                self._log({"event": "reload", "outcome": "failed", "reason": str(error)})
            else:
                self._log({"event": "reload", "outcome": "succeeded"})

    def _reload(self) -> None:
        settings = load_gateway_settings(self._path)
        _refuse_changes(self._settings, settings)
        guards, credentials = make_guards(settings, before=self._guards), _credentials(settings)
        if credentials is not None and self._prepare_credentials is not None:
            self._prepare_credentials(credentials)()
        before, self._guards, self._settings = self._guards, guards, settings
        self._application.gateway = self._gateway(settings, guards)
        self._run(self._prepare())
        self._run(self._retire(before))

    async def _retire(self, guards: Guards) -> None:
        """Let the requests that it has begun come to their end."""
        await asyncio.sleep(self._settings.timeouts.shutdown)
        await guards.aclose()

    def _run(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refuse_changes(before: GatewaySettings, after: GatewaySettings) -> None:
    """What is fixed for as long as the process runs. Raises `ConfigurationError`."""
    fixed = {
        "listener": (before.listener.bind, before.listener.tls, before.listener.socket_group)
        == (after.listener.bind, after.listener.tls, after.listener.socket_group),
        "server.workers": before.workers == after.workers,
        "timeouts": before.timeouts == after.timeouts,
        "events": before.events == after.events,
    }
    problems = [Problem(place, "needs a restart to change") for place, same in fixed.items() if not same]
    if problems:
        raise ConfigurationError.of(after.path, problems)
