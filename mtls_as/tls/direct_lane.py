"""The direct lane: plain requests of an HTTP/1.1 connection, answered in one step once their body is whole.

What ASGI and a general HTTP parser cost together is several times what issuing a token does. So an application may
say which of its requests it answers from head and body alone, and in one piece. Where such a request comes in the plain
form (`plain_request`), it is read, answered and written here, without a task unless the answer waits for something. A
request of any other form, or for anything else, goes to h11 and through ASGI as ever.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, Protocol

from mtls_as.tls.direct_answers import DirectAnswer, DirectAnswers, DirectEndpoint
from mtls_as.tls.plain_request import PlainHead, read_plain_head

_logger = logging.getLogger("mtls_as.tls")

_ANSWERS_IN_A_TURN: Final = 8
"""Then other connections have theirs: thousands of pipelined requests may come at once."""
_FAILED: Final = b"HTTP/1.1 500 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Carrier(Protocol):
    """The connection below."""

    @property
    def is_stopping(self) -> bool:
        """Whether the server stops, so that the answer that is made is to be the last."""
        ...

    @property
    def takes_answers(self) -> bool:
        """Whether another answer may be made: those before are on their way."""
        ...

    def begin_request(self) -> None:
        """A request waits for its body: the connection is not idle."""
        ...

    def begin(self, answering: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine, at once as far as it does not wait; after a wait `DirectLane.go_on` is called at its end."""
        ...

    def send_answer(self, answer: bytes, *, last: bool) -> None:
        """Send a whole answer, after which the connection is idle, or closed if it is the `last`."""
        ...

    def go_on(self) -> None:
        """Call `DirectLane.go_on`, unless the connection is over."""
        ...

    def hand_over(self, received: bytes) -> None:
        """Have h11 read what was received, from the beginning of a request on."""
        ...


class DirectLane:
    """The direct lane of one connection. What it is not to answer goes to `carrier.hand_over`, from the head on."""

    __slots__ = (
        "_answers", "_busy", "_carrier", "_endpoint", "_head", "_lacks_body", "_late", "_over", "_received", "_rests",
        "_scope",
    )  # fmt: skip

    def __init__(self, answers: DirectAnswers, carrier: Carrier, scope: Mapping[str, Any]) -> None:
        """`scope` holds what all requests of the connection have in common, as in ASGI."""
        self._answers = answers
        self._carrier = carrier
        self._scope = scope
        self._received = b""
        self._head: PlainHead | None = None
        self._endpoint: DirectEndpoint | None = None
        self._late: asyncio.TimerHandle | None = None
        self._busy = False
        self._over = False
        self._rests = False
        """Others have their turn."""
        self._lacks_body = False

    @property
    def waits_for_client(self) -> bool:
        """Whether a request cannot go on until the client sends its body."""
        return self._head is not None and not self._busy

    @property
    def client_may_be_sending(self) -> bool:
        """Whether the client may send more of a request that has its answer."""
        return self._lacks_body

    @property
    def backlog(self) -> int:
        """How many bytes wait for an answer that is on its way. Those of a body that is not whole do not count."""
        return len(self._received) if self._received and not self.waits_for_client else 0

    @property
    def is_behind(self) -> bool:
        """Whether requests were received to which no answer is on its way."""
        return bool(self.backlog) and not self._over

    def receive(self, data: bytes) -> None:
        """Take what the client has sent, and answer what is whole."""
        self._received = self._received + data if self._received else data
        self.go_on()

    def go_on(self) -> None:
        """Answer what is whole, unless an answer is on its way. After some answers others have their turn first."""
        answers_left = _ANSWERS_IN_A_TURN
        while self._received and not self._busy and not self._over and not self._rests and self._carrier.takes_answers:
            if not answers_left:
                self._rests = True
                asyncio.get_running_loop().call_soon(self._wake)
                return
            answers_left -= 1
            head = self._head or self._begin()
            if head is None or len(self._received) < head.size + head.body_length:
                return
            body = self._received[head.size : head.size + head.body_length]
            self._received = self._received[head.size + head.body_length :]
            self._answer(head, body)

    def end(self) -> None:
        """Begin nothing any more, and wait for no body."""
        self._over = True
        self._received = b""
        self._stop_waiting()

    def _wake(self) -> None:
        self._rests = False
        self._carrier.go_on()

    def _begin(self) -> PlainHead | None:
        """The head of the next request; None if that is not to be answered here, and handed over."""
        head = read_plain_head(self._received)
        if head is not None and self._is_for_us(head):
            self._endpoint = self._answers.direct(head.method, head.target)
            if self._endpoint is not None:
                self._head = head
                if len(self._received) < head.size + head.body_length:
                    self._carrier.begin_request()
                    loop = asyncio.get_running_loop()
                    self._late = loop.call_later(self._answers.body_timeout, self._answer_without_body)
                return head
        received, self._received = self._received, b""
        self._carrier.hand_over(received)
        return None

    def _is_for_us(self, head: PlainHead) -> bool:
        """Whether its body is not too long for us, and nothing stands behind a request that is said to be the last."""
        is_followed = len(self._received) > head.size + head.body_length
        return head.body_length <= self._answers.max_body and not (head.closes and is_followed)

    def _answer_without_body(self) -> None:
        """The body did not come in time: the client hears of it, and the connection ends."""
        if self._head is not None and not self._over:
            self._over = self._lacks_body = True
            self._answer(self._head, None)

    def _answer(self, head: PlainHead, body: bytes | None) -> None:
        if self._late is not None:
            self._stop_waiting()
        if self._endpoint is None:
            return
        answering = self._endpoint({**self._scope, **head.scope}, body)
        self._busy = True
        self._carrier.begin(self._run(answering, closes=head.closes or body is None))

    async def _run(self, answering: Coroutine[Any, Any, DirectAnswer], *, closes: bool) -> None:
        closes = closes or self._carrier.is_stopping
        try:
            rendered = _render(await answering, closes=closes)
        except Exception:
            _logger.exception("error in the application")
            closes, rendered = True, _FAILED
        self._busy = False
        self._head = self._endpoint = None
        self._over = self._over or closes
        self._carrier.send_answer(rendered, last=closes)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _render(answer: DirectAnswer, *, closes: bool) -> bytes:
    """An answer on the wire (RFC 9112 §4); its headers have the length of its body."""
    fields = "\r\n".join([*map(": ".join, answer.headers.items()), f"date: {_date(int(time.time()))}"])
    end = "connection: close\r\n\r\n" if closes else "\r\n"
    head = f"HTTP/1.1 {answer.status} \r\n{fields}\r\n{end}"
    return head.encode("ascii") + answer.body


@lru_cache(maxsize=2)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)
