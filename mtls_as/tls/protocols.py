"""Hypercorn's HTTP/1.1 and HTTP/2, made strict where a hostile peer would profit from leniency."""

import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import h2.errors
import h2.events
import h2.exceptions
import h11
from hypercorn.config import Config
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Body, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup, WorkerContext

from mtls_as.tls.frame_budget import FrameBudget
from mtls_as.tls.receive_queue import ReceiveQueue

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_LONGEST_PART_OF_END: Final = 2
_AMBIGUOUS: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
_LENGTH: Final = re.compile(rb"\ncontent-length[ \t]*:", re.IGNORECASE)
_TRANSFER_CODING: Final = re.compile(rb"\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_NONE: Final = (b"", False)
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})


class StrictConnection(h11.Connection):
    """An h11 connection that refuses heads which two parsers could read differently (RFC 9112 §2.2, §5.2, §6)."""

    _searched = 0
    """How much of a head that is not complete was looked through: again at each byte would be quadratic."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; raises `h11.RemoteProtocolError` for a bare LF, a folded line, or two ways to frame the body."""
        if self.their_state is h11.IDLE:
            received = self.trailing_data[0]
            if end := _END_OF_HEAD.search(received, self._searched):
                self._searched = 0
                _check_head(received[: end.end()])
            else:
                self._searched = max(0, len(received) - _LONGEST_PART_OF_END)
        return super().next_event()


def _check_head(head: bytes) -> None:
    if _AMBIGUOUS.search(head):
        raise h11.RemoteProtocolError("bare LF or folded line in the head")
    lengths = len(_LENGTH.findall(head))
    if lengths > 1 or (lengths and _TRANSFER_CODING.search(head)):
        raise h11.RemoteProtocolError("more than one framing of the body")


class HTTP1(H11Protocol):
    """HTTP/1.1 for one connection."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        state: ConnectionState,
        ssl: bool,  # noqa: FBT001 - Hypercorn's signature
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        *,
        is_last: Callable[[], bool],
    ) -> None:
        super().__init__(app, config, context, task_group, state, ssl, client, server, send)
        self._is_last = is_last
        self.connection = StrictConnection(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
        self.abandoned = False
        """Set when the client is gone: requests that it had pipelined are not begun any more."""
        self._refused = False

    @property
    def waits_for_client(self) -> bool:
        """Whether a request in the works cannot go on until the client sends something."""
        return self.connection.their_state is h11.SEND_BODY

    @property
    def client_may_be_sending(self) -> bool:
        """Whether the client may send more of a request that has its answer."""
        return self._refused or self.waits_for_client

    @property
    def needs_close(self) -> bool:
        """Whether something is left that must hear of the end of the connection."""
        return self.stream is not None

    @property
    def has_sent_all(self) -> bool:
        """Whether every answer was sent to its end; it is, when no request is in the works."""
        return True

    @property
    def at_rest(self) -> bool:
        """Whether the next byte is the first of a request."""
        return (
            self.stream is None and self.connection.their_state is h11.IDLE and self.connection.trailing_data == _NONE
        )

    def say_goodbye(self) -> bytes:
        """What is sent before an idle connection is closed."""
        return b""

    async def stream_send(self, event: StreamEvent) -> None:
        """As Hypercorn's, and the last answer of a connection says that it is (RFC 9112 §9.6)."""
        if isinstance(event, Response) and event.status_code >= 200 and self._is_last():
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore `Upgrade: h2c`, which is not for TLS, and would take the connection out of our time-outs."""

    async def _create_stream(self, request: h11.Request) -> None:
        if self.abandoned:
            return
        if request.http_version not in _VERSIONS:
            await self._refuse(505)
        elif not request.target.startswith(b"/") and (request.method, request.target) != (b"OPTIONS", b"*"):
            await self._refuse(400)
        else:
            await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        self._refused = True
        await super()._send_error_response(status_code)

    async def _refuse(self, status: int) -> None:
        await self._send_error_response(status)
        await self.send(Closed())


class HTTP2(H2Protocol):
    """HTTP/2 for one connection.

    A body's flow-control credit returns when the application reads it, where Hypercorn returns it at once and then
    blocks the whole connection until the application reads.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        state: ConnectionState,
        ssl: bool,  # noqa: FBT001 - Hypercorn's signature
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        *,
        write: Callable[[bytes], None],
        running_apps: Callable[[], int],
        is_draining: Callable[[], bool],
        is_stopping: Callable[[], bool],
        note_flood: Callable[[], None],
    ) -> None:
        super().__init__(app, config, context, task_group, state, ssl, client, server, send)
        self.abandoned = False
        self._write = write
        self._is_draining = is_draining
        self._is_stopping = is_stopping
        self._running_apps = running_apps
        self._receiving: set[int] = set()
        self._frames = FrameBudget(time.monotonic())
        self._note_flood = note_flood
        self._is_flooded = False

    @property
    def waits_for_client(self) -> bool:
        """Whether a request in the works cannot go on until the client sends something: a body, or credit for ours."""
        return self.client_may_be_sending or any(buffer.buffer for buffer in self.stream_buffers.values())

    @property
    def client_may_be_sending(self) -> bool:
        """Whether the client has announced a body and not sent all of it."""
        return bool(self._receiving)

    @property
    def needs_close(self) -> bool:
        """Whether something is left that must hear of the end of the connection."""
        return not self.closed

    @property
    def has_sent_all(self) -> bool:
        """Whether every answer was sent to its end: of one that is made, it may still be due."""
        return not self.stream_buffers

    def say_goodbye(self) -> bytes:
        """What is sent before an idle connection is closed. Nothing can be sent after it: see `has_sent_all`."""
        try:
            self.connection.close_connection()
        except h2.exceptions.ProtocolError:
            return b""
        return self.connection.data_to_send()

    async def handle(self, event: Event) -> None:
        """As Hypercorn's, and an application that waits to send is not left waiting when the connection ends."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()

    async def _send_data(self, stream_id: int) -> None:
        """As Hypercorn's, and a connection that is to end hears when it can."""
        await super()._send_data(stream_id)
        if self.has_sent_all and self.idle and self._is_draining():
            await self.send(Updated(idle=True))

    async def stream_send(self, event: StreamEvent) -> None:
        """As Hypercorn's, and a client is told to stop sending a body that nobody reads any more (RFC 9113 §8.1)."""
        if isinstance(event, EndBody) and event.stream_id in self.streams:
            self._frames.earn()
        await super().stream_send(event)
        if isinstance(event, StreamClosed) and event.stream_id in self._receiving:
            self._receiving.discard(event.stream_id)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            await self._flush()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        if self._is_flooded:
            return
        now = time.monotonic()
        for event in events:
            if not self._frames.take(event, now, is_busy=bool(self.streams)):
                await self._end_flood()
                return
            match event:
                case h2.events.RequestReceived():
                    if self._refuses(event):
                        continue
                    if event.stream_ended is None:
                        self._receiving.add(event.stream_id)
                case h2.events.DataReceived():
                    await self._receive_data(event)
                    continue
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self._receiving.discard(event.stream_id)
            await super()._handle_events([event])
        await self._flush()

    async def _end_flood(self) -> None:
        """End a connection whose frames are no use to anybody (RFC 9113 §10.5)."""
        self._is_flooded = True
        self._note_flood()
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        await self._flush()
        await self.send(Closed())

    def _refuses(self, request: h2.events.RequestReceived) -> bool:
        """Reset a request that Hypercorn would stumble over, or that a client sends after resetting too many others.

        One that comes when the server stops too: the client may send it to another one (RFC 9113 §8.7).
        """
        headers = dict(request.headers)
        method, path = headers.get(b":method", b""), headers.get(b":path", b"")
        if not (
            method.isascii() and path.isascii() and (path.startswith(b"/") or (method, path) == (b"OPTIONS", b"*"))
        ):
            code = h2.errors.ErrorCodes.PROTOCOL_ERROR
        elif self._is_stopping() or self._running_apps() >= self.config.h2_max_concurrent_streams:
            code = h2.errors.ErrorCodes.REFUSED_STREAM
        else:
            return False
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the client may have reset it already
            self.connection.reset_stream(request.stream_id, code)
        return True

    async def _receive_data(self, event: h2.events.DataReceived) -> None:
        stream = self.streams.get(event.stream_id)
        give_back = partial(self._give_back, event.flow_controlled_length, event.stream_id)
        if stream is None:
            give_back()
            return
        await stream.handle(Body(stream_id=event.stream_id, data=event.data))
        queue = stream.app_put
        if isinstance(queue, ReceiveQueue):
            queue.on_read(give_back)
        else:
            give_back()

    def _give_back(self, length: int, stream_id: int) -> None:
        if self.closed or not length:
            return
        try:
            self.connection.acknowledge_received_data(length, stream_id)
        except h2.exceptions.ProtocolError:
            return
        self._write(self.connection.data_to_send())
