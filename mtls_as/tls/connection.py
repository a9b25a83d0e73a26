"""One TLS connection: bytes of the transport in, decrypted bytes to an HTTP protocol, and back.

Everything runs in the event loop's thread. Ciphertext is decrypted as it arrives. Plain requests are answered at once
in the direct lane, where the listener has one. What Hypercorn makes of all others happens in a task (the pump) that
exists only while there is something to do, so that an idle connection has no task at all.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import lru_cache
from typing import Any, Final

from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState
from OpenSSL import SSL

from mtls_as.tls.context import NoCommonProtocol
from mtls_as.tls.deadline import Deadline
from mtls_as.tls.direct_lane import DirectLane
from mtls_as.tls.endpoint import Endpoint
from mtls_as.tls.extension import ConnectionFacts
from mtls_as.tls.handshake import PEER_CLOSED, SERVER_STOPPING, TIMEOUT, failure_reason
from mtls_as.tls.inbox import Inbox
from mtls_as.tls.outbox import PIECE_BYTES, Outbox
from mtls_as.tls.plain_layer import PlainLayer
from mtls_as.tls.protocols import HTTP1, HTTP2
from mtls_as.tls.record_layer import RecordLayer
from mtls_as.tls.state import OVER, WITHOUT_REQUEST, State
from mtls_as.tls.tasks import ConnectionTasks
from mtls_as.tls.transport import Transport

_logger = logging.getLogger("mtls_as.tls")

_MAX_WAITING: Final = 64 * 1024
"""Decrypted bytes that may wait for Hypercorn before the client must wait."""
_LINGER_SECONDS: Final = 2.0
_PARTING_SECONDS: Final = 0.1
"""Between the last answer of an HTTP/2 connection and its end, while there is time."""


class TLSConnection:
    """A connection of a client, from accept to close."""

    __slots__ = (
        "_accepted_at", "_deadline", "_direct", "_drained", "_ended", "_endpoint", "_facts", "_flush_due", "_http",
        "_inbox", "_lingers", "_loop", "_outbox", "_progress", "_pumping", "_reading_paused", "_started",
        "_state", "_tasks", "_tls", "_transport", "_writing_paused",
    )  # fmt: skip

    _facts: ConnectionFacts
    _transport: Transport
    _tls: RecordLayer | PlainLayer | None

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = endpoint.loop
        self._tls = None
        self._state = State.HANDSHAKE
        self._direct: DirectLane | None = None
        self._http: HTTP1 | HTTP2 | None = None
        self._tasks: ConnectionTasks | None = None
        self._inbox: Inbox | None = None
        self._outbox = Outbox()
        self._drained: asyncio.Future[None] | None = None
        self._flush_due = False
        self._reading_paused = False
        self._writing_paused = False
        self._pumping = False
        self._started = False
        self._ended = False
        self._lingers = False
        self._deadline = Deadline(self._loop, self._expire)
        self._progress = 0.0
        self._accepted_at = 0.0

    # What the transport calls

    def connection_made(self, transport: Transport) -> None:
        """Begin the handshake, unless the server has enough to do."""
        self._transport = transport
        population = self._endpoint.population
        address = _address(transport.peername)
        refusal = population.enter(self, self._endpoint.listener, address[0] if address else None)
        population.handshakes += 1
        self._accepted_at = self._loop.time()
        if refusal is not None or self._endpoint.stopping:
            self._fail_handshake(refusal or SERVER_STOPPING)
            return
        self._tls = self._endpoint.open_layer()
        self._deadline.set(self._endpoint.timeouts.handshake)
        if not self._endpoint.listener.tls:
            self._handshake(self._tls)

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand what comes out to Hypercorn."""
        if self._tls is None or self._state in OVER:
            return
        self._progress = self._loop.time()
        try:
            self._tls.feed(data)
            if self._state is State.HANDSHAKE and not self._handshake(self._tls):
                return
            chunks = self._tls.read()
        except SSL.Error as error:
            _logger.debug("%s: record refused: %s", self._peer, failure_reason(error))
            self._transport.write(self._tls.take_records())
            self._transport.close()
            return
        self._take_in(self._tls, chunks)

    def eof_received(self) -> None:
        """The client sends nothing more; what it asked for is still answered, if it said so by a close_notify."""
        if self._state is State.HANDSHAKE:
            self._fail_handshake(PEER_CLOSED)
        elif self._state is State.LINGERING:
            self._transport.close()
        elif self._tls is not None and self._state is not State.CLOSING:
            if not self._tls.ended:
                self._abandon()
            self._end_of_input()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writing_paused = True
        self._progress = self._loop.time()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self._writing_paused = False
        self._progress = self._loop.time()
        self._flush()
        self.go_on()

    def connection_lost(self) -> None:
        """Let go of everything, and let Hypercorn's protocol know if it has something open."""
        if self._state is State.HANDSHAKE:
            self._leave_handshake(PEER_CLOSED)
        self._state = State.LOST
        self._deadline.end()
        self._tls = None
        if self._inbox is not None:
            self._inbox.clear()
        self._outbox.clear()
        self._wake_writers()
        self._abandon()
        if self._http is not None and self._http.needs_close:
            self._pump()
        elif self._tasks is None or self._tasks.idle:
            self._release()

    # What the server calls

    def stop(self) -> None:
        """End the connection as soon as no request is in the works."""
        if self._state is State.HANDSHAKE:
            self._fail_handshake(SERVER_STOPPING)
        elif self._state in WITHOUT_REQUEST and (self._http is None or self._http.has_sent_all):
            self._close_politely()

    def drain(self) -> None:
        """Let the client go elsewhere, if it can be told so that no request is lost: HTTP/2 says what was not begun."""
        if self._state is State.IDLE and isinstance(self._http, HTTP2):
            self._set_idle(idle=True)

    def abort(self) -> None:
        """End the connection and its tasks now."""
        if self._tasks is not None:
            self._tasks.cancel()
        self._transport.abort()

    # The handshake

    def _handshake(self, tls: RecordLayer | PlainLayer) -> bool:
        """Go on with the handshake; whether it is complete. A failure is told to the client and the operator."""
        try:
            complete = tls.handshake()
        except (SSL.Error, NoCommonProtocol) as error:
            self._transport.write(tls.take_records())
            self._fail_handshake(failure_reason(error))
            return False
        if complete:
            self._leave_handshake(None)
            self._start_http(tls)
        # After TLS 1.3's handshake only the dead tickets are waiting: they travel with the answer.
        if not complete or not tls.sends_tickets:
            self._transport.write(tls.take_records())
        return complete

    def _fail_handshake(self, reason: str) -> None:
        self._leave_handshake(reason)
        self._state = State.CLOSING
        self._transport.close()
        self._deadline.set(_LINGER_SECONDS)

    def _leave_handshake(self, failure: str | None) -> None:
        self._endpoint.population.handshakes -= 1
        self._state = State.HEAD
        if failure is not None:
            self._endpoint.handshake_failed(failure, self._peer)
        elif self._endpoint.listener.tls:
            self._endpoint.handshake_completed(self._loop.time() - self._accepted_at)

    def _start_http(self, tls: RecordLayer | PlainLayer) -> None:
        endpoint = self._endpoint
        self._deadline.set(endpoint.timeouts.request_head)
        self._facts = tls.extension(listener=endpoint.listener.name, server_cert=endpoint.server_cert)
        if tls.speaks_http_2:
            self._http = HTTP2(
                *self._hypercorn(),
                write=self._write,
                running_apps=self._own_tasks().count_apps,
                is_draining=endpoint.is_draining,
                is_stopping=endpoint.is_stopping,
                note_flood=endpoint.population.note_flood,
            )
            self._pump()
        elif endpoint.listener.direct is not None:
            self._direct = DirectLane(endpoint.listener.direct, self, self._common_scope())

    def _common_scope(self) -> dict[str, Any]:
        """What the scopes of all direct requests have in common (ASGI)."""
        return {
            "type": "http",
            "http_version": "1.1",
            "scheme": "https" if self._endpoint.listener.tls else "http",
            "query_string": b"",
            "root_path": "",
            "client": _address(self._transport.peername),
            "server": _shared(_address(self._transport.sockname)),
            "extensions": {"mtls_as": self._facts.own_extension()},
        }

    def _hypercorn(self) -> tuple[Any, ...]:
        """The arguments of Hypercorn's protocols."""
        endpoint = self._endpoint
        listener = endpoint.listener
        return (
            listener.app,  # passed through to `ConnectionTasks.spawn_app`, which knows its own
            endpoint.config,
            endpoint.worker_context,
            self._own_tasks(),
            ConnectionState(endpoint.lifespan_state),
            listener.tls,
            _address(self._transport.peername),
            _address(self._transport.sockname),
            self._send,
        )

    def _own_tasks(self) -> ConnectionTasks:
        if self._tasks is None:
            self._tasks = ConnectionTasks(
                self._loop,
                self._endpoint.listener.app,
                self._facts,
                failed=self._task_failed,
                finished=self._tasks_finished,
            )
        return self._tasks

    # From the client to Hypercorn

    def _take_in(self, tls: RecordLayer | PlainLayer, chunks: list[bytes]) -> None:
        if not chunks:
            self._send_records(tls)
        elif self._direct is not None and (self._http is None or self._is_between_requests_of_hypercorn()):
            self._direct.receive(chunks[0] if len(chunks) == 1 else b"".join(chunks))
            if self._http is None:
                self._pace_reading(self._direct.backlog)
        else:
            self._hand_to_hypercorn(chunks)
        if tls.ended:
            self._end_of_input()

    def _send_records(self, tls: RecordLayer | PlainLayer) -> None:
        """Send what the TLS layer itself answers, as to a renegotiation or a new key.

        Whoever asks for that without end and takes no answer would fill the memory with them.
        """
        records = tls.take_records()
        if records and self._writing_paused:
            self._transport.abort()
        elif records:
            self._transport.write(records)

    def _is_between_requests_of_hypercorn(self) -> bool:
        """Whether the direct lane may read; Hypercorn's HTTP/1.1, which had a request for itself, is then let go of."""
        if isinstance(self._http, HTTP1):
            if self._state is not State.IDLE or self._pumping or self._inbox or not self._http.at_rest:
                return False
            self._http = None
            self._inbox = None
        return True

    def _hand_to_hypercorn(self, chunks: Sequence[bytes]) -> None:
        if self._http is None:
            self._http = HTTP1(*self._hypercorn(), is_last=self._endpoint.is_draining)
            self._started = True
        if self._state is State.IDLE and isinstance(self._http, HTTP1):
            self._state = State.HEAD
            self._deadline.set(self._endpoint.timeouts.request_head)
        if self._inbox is None:
            self._inbox = Inbox()
        self._inbox.put(chunks)
        self._pace_reading(self._inbox.size)
        self._pump()

    def _pace_reading(self, waiting: int) -> None:
        """Let the client wait while too many bytes do."""
        if waiting > _MAX_WAITING and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        elif self._reading_paused and waiting <= _MAX_WAITING // 2:
            self._reading_paused = False
            self._transport.resume_reading()

    def _end_of_input(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._inbox or self._pumping or self._has_work():
            self._pump()
        else:
            self._close()

    def _has_work(self) -> bool:
        """Whether requests are in the works, or wait for those, or for their turn, in the direct lane."""
        is_behind = self._direct is not None and self._direct.is_behind
        return is_behind or (self._tasks is not None and not self._tasks.idle)

    def _abandon(self) -> None:
        """The client is gone: the request in the works hears of it, those behind it are not begun."""
        if self._direct is not None:
            self._direct.end()
        if self._http is not None:
            self._http.abandoned = True
        if self._tasks is not None:
            self._tasks.disconnect()

    def _pump(self) -> None:
        if not self._pumping and self._http is not None:
            self._pumping = True
            self._own_tasks().spawn(self._run_pump)

    async def _run_pump(self) -> None:
        """Hand everything that came in to Hypercorn. Waits where Hypercorn waits: that is the back-pressure."""
        assert self._http is not None  # noqa: S101 - the pump starts after the handshake
        try:
            if not self._started:
                self._started = True
                await self._http.initiate()
            while self._inbox:
                data = self._inbox.take()
                self._pace_reading(self._inbox.size)
                await self._http.handle(RawData(data))
            if (self._ended or self._state is State.LOST) and self._http.needs_close:
                await self._http.handle(Closed())
        finally:
            self._pumping = False

    # What the direct lane calls

    @property
    def is_stopping(self) -> bool:
        """Whether the answer that is made is to be the last of the connection."""
        return self._endpoint.draining

    @property
    def takes_answers(self) -> bool:
        """Whether another answer may be made: the client takes those before."""
        return not self._writing_paused and not self._outbox.full

    def begin_request(self) -> None:
        """A request waits for something: its body, or what its answer needs."""
        self._set_idle(idle=False)

    def begin(self, answering: Coroutine[Any, Any, None]) -> None:
        """Run to the first wait, and the rest as a task."""
        task = self._endpoint.starter.start(answering)
        if task is not None:
            self._set_idle(idle=False)
            self._own_tasks().adopt(task)

    def send_answer(self, answer: bytes, *, last: bool) -> None:
        """Send a whole answer at once; after the `last` one the connection ends."""
        if self._tls is None or self._state in OVER:
            return
        if not last and not self._outbox.size and not self._writing_paused and len(answer) <= PIECE_BYTES:
            self._send_encrypted(self._tls, answer, soon=True)
            self._set_idle(idle=True)
            return
        self._outbox.put(answer)
        if last:
            self._close()
        else:
            self._set_idle(idle=True)
        self._flush()

    def go_on(self) -> None:
        """Let the direct lane answer what was received meanwhile; after the last answer to a client that has ended
        there is nothing left to do.
        """
        if self._direct is not None and self._http is None and self._state not in OVER:
            self._direct.go_on()
            if self._http is None:
                self._pace_reading(self._direct.backlog)
        if self._ended and not self._has_work():
            self._close()

    def hand_over(self, received: bytes) -> None:
        """Have Hypercorn read these bytes, which begin a request."""
        self._hand_to_hypercorn([received])

    # From Hypercorn to the client

    async def _send(self, event: Event) -> None:
        """What Hypercorn's protocols call with everything they have for the connection."""
        if isinstance(event, RawData):
            self._write(event.data)
            while self._writing_paused or self._outbox.full:
                if self._state is State.LOST:
                    return
                if self._drained is None:
                    self._drained = self._loop.create_future()
                await asyncio.shield(self._drained)
        elif isinstance(event, Updated):
            self._set_idle(idle=event.idle)
        else:
            self._close()

    def _write(self, data: bytes) -> None:
        if not data or self._state in OVER:
            return
        self._outbox.put(data)
        if self._outbox.full:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Encrypt and send, in one piece what was written within one turn of the loop."""
        self._flush_due = False
        if self._tls is None:
            return
        while self._outbox.size and not self._writing_paused:
            piece = self._outbox.take()
            ends = self._state is State.CLOSING and not self._outbox.size
            self._send_encrypted(self._tls, piece, last=ends)
            if ends:
                self._leave()
        if not self._outbox.full and not self._writing_paused:
            self._wake_writers()

    def _send_encrypted(
        self, tls: RecordLayer | PlainLayer, data: bytes, *, last: bool = False, soon: bool = False
    ) -> None:
        try:
            records = tls.encrypt(data, last=last)
            if soon:
                self._transport.write_soon(records)
            else:
                self._transport.write(records)
        except SSL.Error as error:
            _logger.debug("%s: cannot encrypt: %s", self._peer, failure_reason(error))
            self._transport.abort()

    def _wake_writers(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _close(self, *, lingers: bool = False) -> None:
        """Send what is left, say that nothing more comes, and close; `lingers` if the client may be sending."""
        if self._state in OVER or self._tls is None:
            return
        self._state = State.CLOSING
        self._lingers = (lingers or self._client_may_be_sending()) and not self._ended
        self._deadline.set(self._endpoint.timeouts.idle)
        if not self._outbox.size:
            try:
                self._transport.write(self._tls.close_notify())
            except SSL.Error:
                self._transport.abort()
                return
            self._leave()

    def _close_politely(self) -> None:
        """Close a connection on which no request is in the works."""
        if self._http is not None:
            self._write(self._http.say_goodbye())
        self._close(lingers=isinstance(self._http, HTTP2))

    def _client_may_be_sending(self) -> bool:
        protocol = self._http or self._direct
        return protocol is not None and protocol.client_may_be_sending

    def _leave(self) -> None:
        """All is sent."""
        if not self._lingers:
            self._transport.close()
            return
        self._state = State.LINGERING
        self._transport.write_eof()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        self._deadline.set(_LINGER_SECONDS)

    # Requests, tasks and time

    def _set_idle(self, *, idle: bool) -> None:
        if self._state in OVER:
            return
        if not idle:
            self._state = State.BUSY
            self._deadline.set(self._endpoint.timeouts.idle)
        elif self._endpoint.draining and not self._parts_later():
            self._close_politely()
        elif self._endpoint.draining:
            self._state = State.IDLE
            self._deadline.set(_PARTING_SECONDS)
        else:
            self._state = State.IDLE
            self._deadline.set(self._endpoint.timeouts.idle)

    def _parts_later(self) -> bool:
        """Whether an HTTP/2 connection has not sent all yet, or has a moment left.

        Clients that hear of the end together with an answer are known to lose the answer.
        """
        return isinstance(self._http, HTTP2) and not (self._endpoint.stopping and self._http.has_sent_all)

    def _task_failed(self, error: BaseException) -> None:
        """End this connection, and no other, when Hypercorn stumbles over what the client sent."""
        _logger.warning("%s: connection ended by %s", self._peer, type(error).__name__)
        _logger.debug("the error in full", exc_info=error)
        self._transport.abort()

    def _tasks_finished(self) -> None:
        if self._state is State.LOST:
            self._release()
            return
        self.go_on()

    def _release(self) -> None:
        """Leave the population, and break the cycles with Hypercorn's objects, so that memory is free at once."""
        self._endpoint.population.leave(self)
        self._direct = None
        self._http = None
        self._tasks = None

    def _expire(self) -> None:
        match self._state:
            case State.HANDSHAKE:
                self._fail_handshake(TIMEOUT)
            case State.HEAD | State.IDLE:
                self._close_politely()
            case State.BUSY:
                self._look_for_progress()
            case _:
                self._transport.abort()

    def _look_for_progress(self) -> None:
        """Give up on a client that stalls, reading or sending; wait for an application that is slow."""
        idle = self._endpoint.timeouts.idle
        protocol = self._http or self._direct
        sends_nothing = protocol is not None and protocol.waits_for_client and not self._pumping
        left = idle
        if self._writing_paused or sends_nothing:
            left = self._progress + idle - self._loop.time()
        if left > 0:
            self._deadline.set(left)
        else:
            self._transport.abort()

    @property
    def _peer(self) -> str:
        peer = self._transport.peername
        return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unknown"


@lru_cache(maxsize=64)
def _shared(address: tuple[str, int] | None) -> tuple[str, int] | None:
    """The same object for the same address: a server has few, and many connections that would each keep one."""
    return address


def _address(name: object) -> tuple[str, int] | None:
    return name[:2] if isinstance(name, tuple) else None  # unix sockets have none
