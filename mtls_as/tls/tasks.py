"""The tasks of one connection, in the shape of Hypercorn's `TaskGroup`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGISendEvent, Scope

from mtls_as.tls.extension import ConnectionFacts
from mtls_as.tls.listeners import ASGIApplication, ASGISend
from mtls_as.tls.receive_queue import ReceiveQueue

_logger = logging.getLogger("mtls_as.tls")

Send = Callable[[ASGISendEvent | None], Awaitable[None]]


class ConnectionTasks:
    """Runs the application once for each request, with this connection's TLS facts in its scope.

    Unlike `asyncio.TaskGroup` it needs no task of its own for as long as the connection lasts, and a failure is told
    to the connection it happened in and to nobody else.
    """

    __slots__ = ("_app", "_extension", "_failed", "_finished", "_loop", "_queues", "_tasks")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app: ASGIApplication,
        extension: ConnectionFacts,
        *,
        failed: Callable[[BaseException], None],
        finished: Callable[[], None],
    ) -> None:
        """`failed` is told what escaped a task, `finished` that no task is left."""
        self._loop = loop
        self._app = app
        self._extension = extension
        self._failed = failed
        self._finished = finished
        self._tasks: set[asyncio.Task[None]] = set()
        self._queues: set[ReceiveQueue] = set()

    async def spawn_app(self, _app: AppWrapper, config: Config, scope: Scope, send: Send) -> ReceiveQueue:
        """Start the application on a request; the result is awaited with each event for it."""
        members: dict[str, Any] = scope  # type: ignore[assignment] # a lifespan scope never comes here
        members["extensions"].update(self._extension.scope_extensions())
        http = members["type"] == "http"
        queue = ReceiveQueue(
            limit=config.max_app_queue_size,
            waits=not http or members["http_version"] != "2",
            gone={"type": "http.disconnect"} if http else {"type": "websocket.disconnect", "code": 1006},
        )
        self._queues.add(queue)
        self.spawn(self._run_app, members, queue, send)
        return queue

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Start `function(*args)` as a task of this connection."""
        self.adopt(self._loop.create_task(function(*args)))

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Count a task among those of this connection."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def count_apps(self) -> int:
        """How many requests the application is working on."""
        return len(self._queues)

    @property
    def idle(self) -> bool:
        """Whether no task is left."""
        return not self._tasks

    def disconnect(self) -> None:
        """Tell the application that the client is gone, whatever Hypercorn is waiting for at the moment."""
        for queue in self._queues:
            queue.disconnect()

    def cancel(self) -> None:
        """Cancel all tasks, at the end of a shutdown."""
        for task in self._tasks:
            task.cancel()

    async def _run_app(self, scope: dict[str, Any], queue: ReceiveQueue, send: Send) -> None:
        try:
            await self._app(scope, queue.get, cast("ASGISend", send))
        except Exception:
            _logger.exception("error in the application")
        finally:
            self._queues.discard(queue)
            queue.end()
            await send(None)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
        if not self._tasks:
            self._finished()
