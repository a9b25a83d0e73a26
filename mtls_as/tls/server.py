"""Listeners at work in one process, from the application's start-up to its shut-down."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from mtls_as.tls.acceptor import Acceptor
from mtls_as.tls.connection import TLSConnection
from mtls_as.tls.credentials import ServerCredentials, TLSConfigurationError
from mtls_as.tls.endpoint import Endpoint, HandshakeFailureHook, HandshakeHook, Timeouts
from mtls_as.tls.listeners import MAX_HEAD_BYTES, ASGIApplication, Listener
from mtls_as.tls.population import Limits, Population
from mtls_as.tls.process import allow_connections

PrepareCredentials = Callable[[ServerCredentials], Callable[[], None]]
"""Prepares every listener for credentials, and returns what has them use them for connections to come.

Raises `TLSConfigurationError`, and then nothing has changed.
"""

_logger = logging.getLogger("mtls_as.tls")

_ABORT_SECONDS: Final = 2.0
_LATECOMER_SECONDS: Final = 3.0
"""What connections that were accepted last have at most for their request."""


def hypercorn_config(max_head_bytes: int = MAX_HEAD_BYTES) -> Config:
    """Hypercorn's configuration as this project uses it, with each limit spelled out."""
    config = Config()
    config.accesslog = None
    config.errorlog = _logger
    config.include_server_header = False
    config.h11_max_incomplete_size = max_head_bytes
    config.h2_max_concurrent_streams = 100
    config.h2_max_header_list_size = 2 * max_head_bytes  # each header counts 32 bytes more (RFC 9113 §6.5.2)
    config.h2_max_inbound_frame_size = 16 * 1024
    config.max_app_queue_size = 8
    config.keep_alive_max_requests = 2**62  # time-outs and reload bound a connection; Hypercorn's GOAWAY drops answers
    config.websocket_max_message_size = 1024 * 1024
    return config


async def serve_listeners(
    listeners: Sequence[Listener],
    sockets: Sequence[socket.socket],
    credentials: ServerCredentials | None,
    *,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    shutdown: asyncio.Event,
    reload: Callable[[], ServerCredentials] | None = None,
    limits: Limits | None = None,
    on_handshake_failure: HandshakeFailureHook | None = None,
    on_handshake: HandshakeHook | None = None,
    population: Population | None = None,
    hand_over: Callable[[PrepareCredentials], None] | None = None,
    started: Callable[[], None] | None = None,
    stopping: Callable[[], None] | None = None,
) -> None:
    """Serve each listener on its socket (see `bind_listeners`) until `shutdown` is set, then stop gracefully.

    `credentials` may be None where no listener has TLS.
    At SIGHUP `reload` is called for new credentials; if it raises `TLSConfigurationError` the old ones stay. It is
    called in the main thread only, since signals arrive there. `on_handshake_failure` gets a stable reason and the
    peer's address, `on_handshake` the seconds of a handshake that is complete, and `population` the connections as they
    come and go; `hand_over` gets a way to replace the credentials at any time, for callers who do more at a reload;
    `started` is called once connections are accepted, and `stopping` when they are not wanted any more: they are still
    accepted for `timeouts.drain` seconds.

    Raises `TLSConfigurationError` before anything is served, and what Hypercorn raises when an application's lifespan
    fails. The sockets are closed when it returns.
    """
    loop = asyncio.get_running_loop()
    config = hypercorn_config()
    worker_context = WorkerContext(None)
    population = Population() if population is None else population
    limits, reserved = limits or population.limits, sum(listener.reserved for listener in listeners)
    population.limits = replace(limits, connections=allow_connections(limits.connections + reserved) - reserved)
    async with contextlib.AsyncExitStack() as stack:
        for bound in sockets:
            stack.callback(bound.close)
        states: dict[int, dict[str, Any]] = {}
        endpoints: list[Endpoint] = []
        for listener in listeners:
            endpoint = Endpoint(
                listener=listener,
                loop=loop,
                config=hypercorn_config(listener.max_head_bytes),
                worker_context=worker_context,
                lifespan_state=states.setdefault(id(listener.app), {}),
                timeouts=timeouts,
                population=population,
                on_handshake_failure=on_handshake_failure,
                on_handshake=on_handshake,
            )
            endpoint.begin(credentials)
            stack.callback(endpoint.starter.close)
            endpoints.append(endpoint)
        for app in {id(listener.app): listener.app for listener in listeners}.values():
            await stack.enter_async_context(_lifespan(app, config, states[id(app)]))
        acceptors = [
            Acceptor(loop, bound, partial(TLSConnection, endpoint))
            for endpoint, bound in zip(endpoints, sockets, strict=True)
        ]
        if hand_over is not None:
            hand_over(partial(_prepare_credentials, endpoints))
        with _reload_at_hangup(loop, endpoints, reload):
            if started is not None:
                started()
            try:
                await shutdown.wait()
                if stopping is not None:
                    stopping()
                await _drain(endpoints, population, timeouts.drain)
                for acceptor in acceptors:
                    acceptor.finish()
                await population.emptied(min(timeouts.drain, _LATECOMER_SECONDS))
            finally:
                for acceptor in acceptors:
                    acceptor.close()
                for endpoint in endpoints:
                    endpoint.draining = endpoint.stopping = True
                await _stop(population, timeouts.shutdown)


def replace_credentials(endpoints: Sequence[Endpoint], reload: Callable[[], ServerCredentials]) -> bool:
    """Use what `reload` returns for connections to come; on failure keep the old, say so, and return False."""
    try:
        use = _prepare_credentials(endpoints, reload())
    except TLSConfigurationError as error:
        _logger.error("the server certificate was NOT reloaded, the old one stays in use: %s", error)  # noqa: TRY400 - the message says it all
        return False
    use()
    _logger.info("the server certificate was reloaded")
    return True


def _prepare_credentials(endpoints: Sequence[Endpoint], credentials: ServerCredentials) -> Callable[[], None]:
    prepared = [endpoint.prepare(credentials) for endpoint in endpoints]

    def use() -> None:
        for endpoint, (context, server_cert) in zip(endpoints, prepared, strict=True):
            endpoint.use(context, server_cert)

    return use


@contextlib.contextmanager
def _reload_at_hangup(
    loop: asyncio.AbstractEventLoop, endpoints: Sequence[Endpoint], reload: Callable[[], ServerCredentials] | None
) -> Iterator[None]:
    if reload is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop.add_signal_handler(signal.SIGHUP, replace_credentials, endpoints, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@contextlib.asynccontextmanager
async def _lifespan(app: ASGIApplication, config: Config, state: dict[str, Any]) -> AsyncIterator[None]:
    """Hypercorn's lifespan of one application, as Hypercorn's own worker runs it."""
    loop = asyncio.get_running_loop()
    lifespan = Lifespan(ASGIWrapper(cast("ASGIFramework", app)), config, loop, state)
    task = loop.create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if task.done():
            task.result()
        yield
        await lifespan.wait_for_shutdown()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _drain(endpoints: Sequence[Endpoint], population: Population, seconds: float) -> None:
    """Go on for so many seconds, and let each connection end with its next answer."""
    for endpoint in endpoints:
        endpoint.draining = True
    for connection in list(population.connections):
        connection.drain()
    await asyncio.sleep(seconds)


async def _stop(population: Population, seconds: float) -> None:
    """Close idle connections at once, let the others finish, and end what is left after so many seconds."""
    for connection in list(population.connections):
        connection.stop()
    if not await population.emptied(seconds):
        for connection in list(population.connections):
            connection.abort()
        await population.emptied(_ABORT_SECONDS)
