"""What the direct lane reads, h11 takes and reads the same; what h11 refuses never gets past it to the direct lane."""

import random
from collections.abc import Iterator

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mtls_as.tls.plain_request import PlainHead, read_plain_head
from mtls_as.tls.protocols import StrictConnection
from tests.tls.test_smuggling import REFUSED

PLAIN = b"POST /token HTTP/1.1\r\nHost: as.example\r\nContent-Length: 5\r\nAccept: */*\r\n\r\nhello"

# What parsers have been known to differ about: from the tests of llhttp and h11, and from published smuggling work.
FIELDS = [
    b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: 5 ", b"Content-Length:5",
    b"Content-Length : 5", b"Content-Length: 5, 5", b"Content-Length: 5_0", b"Content-Length: 0x5",
    b"Content-Length:", b"Content-Length: \xb2", b"Content-Length: 5\x0b", b"content-length: 6",
    b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding:",
    b"Transfer_Encoding: chunked", b"TE: trailers", b"Connection: close", b"Connection: Keep-Alive",
    b"Connection: close, keep-alive", b"Connection: Content-Length", b"Connection: upgrade", b"Connection:",
    b"connection: CLOSE", b"Upgrade: h2c", b"Upgrade: websocket", b"Expect: 100-continue", b"Host: b.example",
    b"Host:", b" Host: folded", b"\tfolded", b"X: a\x00b", b"X: a\rb", b"X: a\nb", b"X: \x7f", b"X:\x80\xff",
    b"X : y", b": y", b"X", b"X\xe9: y", b"X y: z", b"(X): y", b"X: \t y \t ", b"X:", b"X:   ",
    b"Proxy-Connection: close", b"Trailer: X", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"Cookie: a=b; c=d", b'"X": y',
    b"X: y\x0b", b"\x0bX: y", b"Keep-Alive: 5",
]  # fmt: skip
FIRST_LINES = [
    b"POST /token HTTP/1.1", b"GET /token HTTP/1.1", b"POST /token HTTP/1.0", b"POST /token HTTP/2.0",
    b"POST  /token HTTP/1.1", b"POST /token  HTTP/1.1", b"POST\t/token HTTP/1.1", b"POST /token HTTP/1.1 ",
    b"POST /to ken HTTP/1.1", b"POST token HTTP/1.1", b"POST https://as.example/token HTTP/1.1",
    b"POST //token HTTP/1.1", b"POST /token?x HTTP/1.1", b"POST /token#x HTTP/1.1", b"POST /%74oken HTTP/1.1",
    b"POST /t\xc3\xb6ken HTTP/1.1", b"post /token HTTP/1.1", b"POST /token http/1.1", b"POST /token",
    b"POST /token HTTP/1.1\r", b"POST /token HTTP/11", b"POST /token HTTP/1.1.1", b"POST /token\x00 HTTP/1.1",
    b"\rPOST /token HTTP/1.1", b"\nPOST /token HTTP/1.1", b" POST /token HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"PRI * HTTP/2.0", b"CONNECT a:443 HTTP/1.1", b"GET /token\x7f HTTP/1.1", b"HEAD /token HTTP/1.1",
    b"M-SEARCH /token HTTP/1.1", b"GE(T /token HTTP/1.1", b"POST /token HTTP/1.1\x0b",
]  # fmt: skip
ENDS = [
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n\n",
    b"\n\r\n",
    b"\r\r",
    b"\r\n",
    b"\r\n\r\nhello",
    b"\r\n \r\n\r\n",
    b"\r\n\x00\r\n\r\n",
]

heads = st.builds(
    lambda first, fields, end: b"\r\n".join([first, *fields]) + end,
    st.sampled_from([*[FIRST_LINES[0]] * 20, *FIRST_LINES]),
    st.lists(st.sampled_from([*[b"Host: as.example"] * 20, *FIELDS]), max_size=5, unique=True),
    st.sampled_from([*[ENDS[0]] * 8, *ENDS]),
)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good request with a few bytes removed, repeated, replaced or put in."""
    data = bytearray(PLAIN)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        piece = draw(
            st.sampled_from(
                [b"", b" ", b"\r", b"\n", b"\r\n", b":", b"\x00", b"\t", b"\xff", b",", b"\x0b", b"5", b"A"]
            )
        )
        data[at : at + draw(st.integers(0, 2))] = piece
    return bytes(data)


def judge(data: bytes) -> h11.Request | None:
    """What h11 makes of it, in the strictness of this server; None if it refuses or waits for more."""
    connection = StrictConnection(h11.SERVER)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


def agree(data: bytes) -> bool:
    """Assert that what is read as plain h11 reads too, and the same; return whether it is plain."""
    head = read_plain_head(data)
    if head is None:
        return False
    request = judge(data)
    assert request is not None
    assert (head.method, head.target, request.http_version) == (request.method, request.target, b"1.1")
    assert list(head.scope["headers"]) == list(request.headers)
    assert (head.scope["method"], head.scope["path"]) == (head.method.decode(), head.target.decode())
    assert head.scope["raw_path"] == head.target
    assert read_plain_head(data) == head  # though it may be remembered by now
    assert data[: head.size].endswith(b"\r\n\r\n")
    connection = StrictConnection(h11.SERVER)
    body = bytes(head.body_length)
    connection.receive_data(data[: head.size] + body + b"the next request")
    events = list(_events(connection))
    assert b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)) == body
    assert isinstance(events[-1], h11.EndOfMessage)
    assert connection.trailing_data[0] == b"the next request"
    assert not connection.they_are_waiting_for_100_continue
    assert (connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MUST_CLOSE) == head.closes
    return True


def _events(connection: h11.Connection) -> Iterator[h11.Event]:
    while isinstance(event := connection.next_event(), h11.Event):
        yield event
        if isinstance(event, h11.EndOfMessage):
            return


def test_a_usual_request_is_plain() -> None:
    """With a body, without one, kept alive and not."""
    assert agree(PLAIN)
    assert agree(b"GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n")
    assert agree(b"GET /jwks HTTP/1.1\r\nhost:x\r\nconnection: Close\r\n\r\n")
    assert agree(b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: keep-alive\r\nX:  \t\r\n\r\n")


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_not_plain(case: str) -> None:
    """Nothing of the smuggling corpus is read here."""
    assert read_plain_head(REFUSED[case]) is None


@pytest.mark.parametrize("first", FIRST_LINES, ids=ascii)
def test_first_lines(first: bytes) -> None:
    """Each with an otherwise plain request behind it."""
    agree(first + b"\r\nHost: as.example\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize("field", FIELDS, ids=ascii)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_fields(field: bytes, place: int) -> None:
    """Each in every place of a plain request."""
    lines = PLAIN.split(b"\r\n")
    agree(b"\r\n".join([*lines[:place], field, *lines[place:]]))


@pytest.mark.parametrize("size", range(0, len(PLAIN) - 6, 3))
def test_a_head_that_is_not_whole_is_not_plain(size: int) -> None:
    """However little is missing."""
    assert read_plain_head(PLAIN[:size]) is None


def test_long_heads_are_left_to_h11() -> None:
    """And looking at them takes no longer than they are long."""
    many = b"".join(b"X-%d: y\r\n" % number for number in range(5000))
    assert read_plain_head(b"POST / HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n") is None
    assert read_plain_head(b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000) is None
    assert read_plain_head(b"POST / HTTP/1.1\r\n" + b"X" * 100_000) is None


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, PlainHead]:
    """What is remembered, which is nothing yet."""
    heads: dict[bytes, PlainHead] = {}
    monkeypatch.setattr("mtls_as.tls.plain_request._remembered", heads)
    return heads


def request(*fields: bytes) -> bytes:
    return b"\r\n".join([b"POST /token HTTP/1.1", b"Host: as.example", *fields, b"Content-Length: 4", b"", b"body"])


def test_a_head_that_comes_again_is_not_read_again(remembered: dict[bytes, PlainHead]) -> None:
    """Whatever body is behind it."""
    head = read_plain_head(request(b"User-Agent: client/1.0", b"Accept: */*"))
    assert head is not None
    assert read_plain_head(request(b"User-Agent: client/1.0", b"Accept: */*")[:-4] + b"other") is head
    assert list(remembered.values()) == [head]


@pytest.mark.parametrize(
    "field",
    [b"Authorization: Basic YTpi", b"DPoP: proof", b"Cookie: a=b", b"X-Api-Key: secret", b"Proxy-Authorization: x"],
    ids=ascii,
)
def test_a_head_that_may_hold_a_secret_is_not_remembered(remembered: dict[bytes, PlainHead], field: bytes) -> None:
    """Every field that is not known to hold none may."""
    assert read_plain_head(request(field)) is not None
    assert not remembered


def test_what_is_remembered_is_bounded(remembered: dict[bytes, PlainHead]) -> None:
    """However many heads a client thinks of, and however long they are."""
    for number in range(1000):
        assert read_plain_head(request(b"User-Agent: %d" % number)) is not None
        assert 0 < len(remembered) <= 256
    remembered.clear()
    assert read_plain_head(request(b"User-Agent: " + b"x" * 1000)) is not None
    assert not remembered


def test_what_is_not_plain_is_not_remembered(remembered: dict[bytes, PlainHead]) -> None:
    assert read_plain_head(request(b"Content-Length: 4")) is None
    assert read_plain_head(request(b"Connection: upgrade")) is None
    assert not remembered


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(heads)
@example(b"POST /token HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n")
def test_whatever_is_plain_h11_reads_the_same(data: bytes) -> None:
    """Heads put together of good and bad lines."""
    agree(data)


@settings(max_examples=300)
@given(mutants())
def test_damaged_requests(data: bytes) -> None:
    """A good request, and a few bytes of it changed."""
    agree(data)


@pytest.mark.slow
def test_many_damaged_requests() -> None:
    """The same at length, from a fixed seed; some of them are still plain, else it would show nothing."""
    source = random.Random(8705)
    plain = 0
    alphabet = [
        b"",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b":",
        b"\0",
        b"\t",
        b"\xff",
        b",",
        b"5",
        b"-",
        b"X: y\r\n",
        b"\r\n\r\n",
        b"%",
    ]
    for _ in range(200_000):
        lines = [source.choice(FIRST_LINES[:2] * 20 + FIRST_LINES)]
        lines += source.sample([b"Host: as.example"] * 60 + FIELDS, source.randint(1, 4))
        data = bytearray(b"\r\n".join(lines) + source.choice(ENDS[:1] * 20 + ENDS))
        for _ in range(source.choice([0, 0, 1, 2])):
            at = source.randrange(len(data))
            data[at : at + source.randint(0, 2)] = source.choice(alphabet)
        plain += agree(bytes(data))
    assert plain > 1000
