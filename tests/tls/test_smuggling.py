"""Requests that two servers could read differently: each is refused and the connection closed (RFC 9112 §11.2)."""

import re
from pathlib import Path

import h11
import pytest

from mtls_as.tls import protocols
from tests.tls.apps import count
from tests.tls.peers import serving


class CountingPattern:
    """A pattern that counts the bytes it looks through."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.seen = 0

    def search(self, text: bytes, start: int = 0) -> re.Match[bytes] | None:
        self.seen += len(text) - start
        return self.pattern.search(text, start)


POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

REFUSED = {
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + SMUGGLED,
    "two equal lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": POST + b"Content-Length: 5, 6\r\n\r\nhello",
    "signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": POST + b"Content-Length:\r\n\r\nhello",
    "huge length": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "length and chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "another coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "masked coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: x\r\n\n",
    "bare LFs only": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "folded by a tab": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n\tb\r\n\r\n",
    "folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before the first field": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 5\r\n\r\nhello",
    "tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "no field name": b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nfoo\r\n\r\n",
    "absolute form": b"GET https://other.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "authority form": b"CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "target without a slash": b"GET foo HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk without OPTIONS": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "empty line before the request": b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case version": b"GET / http/1.1\r\nHost: x\r\n\r\n",
    "version of two digits": b"GET / HTTP/1.10\r\nHost: x\r\n\r\n",
    "a TLS record inside": b"\x16\x03\x01\x00\x05hello\r\n\r\n",
}

BROKEN_CHUNKS = {
    "huge chunk": b"F" * 30 + b"\r\nhello",
    "negative chunk": b"-5\r\nhello",
    "signed chunk": b"+5\r\nhello\r\n0\r\n\r\n",
    "prefixed chunk": b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore in the size": b"1_0\r\nhello",
    "no CRLF after the data": b"5\r\nhelloX\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "letters": b"xyz\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
async def test_ambiguous_heads_are_refused(tmp_path: Path, case: str) -> None:
    """400 (501 for a coding that is not known), nothing else is answered, and the connection ends."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(REFUSED[case])
        received = await connection.closed()
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), received
    assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("case", BROKEN_CHUNKS)
async def test_broken_chunks_end_the_connection(tmp_path: Path, case: str) -> None:
    """The body never reaches the application as complete, and what follows is not read as a request."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + BROKEN_CHUNKS[case] + SMUGGLED)
        received = await connection.closed()
    assert b"HTTP/1.1 200 " not in received


async def test_the_second_of_two_pipelined_heads_is_checked_too(tmp_path: Path) -> None:
    """The strictness holds for every head on the connection, however it arrives."""
    good = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(good + b"GET / HTTP/1.1\nHost: x\n\n" + good)
        received = await connection.closed()
    assert received.count(b"HTTP/1.1 200 ") == 1
    assert received.count(b"HTTP/1.1 400 ") == 1
    assert received.count(b"HTTP/1.1 ") == 2


async def test_bare_line_feeds_in_a_body_are_no_matter(tmp_path: Path) -> None:
    """A body may hold anything, also when it arrives together with its head."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        assert (await connection.post("/", b"a\nb\n c\n\nContent-Length: 3\n")).body == b"26"


async def test_options_asterisk_is_a_request(tmp_path: Path) -> None:
    """The one target without a slash (RFC 9112 §3.2.4)."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.answer()).status == 200


async def test_a_refusal_reaches_a_client_that_is_still_sending(tmp_path: Path) -> None:
    """The answer to a bad head is not lost in a reset because its body is still on the way."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(POST + b"Content-Length : 5000000\r\n\r\n")
        for _ in range(20):
            await connection.send(bytes(50_000))
        assert (await connection.answer()).status == 400
        assert await connection.closed() == b""


@pytest.mark.parametrize("head", [b"GET /" + b"a" * 20_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000])
async def test_a_head_without_end_is_cut(tmp_path: Path, head: bytes) -> None:
    """16 KiB are enough for any head; more is refused before it is complete."""
    async with serving(count, tmp_path) as server, await server.connect() as connection:
        await connection.send(head)
        assert (await connection.answer()).status in {400, 414, 431}
        assert await connection.closed() == b""


def test_a_head_byte_by_byte_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again at each byte; and its end is found wherever the pieces begin, on every request of a connection."""
    counting = CountingPattern(protocols._END_OF_HEAD)
    monkeypatch.setattr(protocols, "_END_OF_HEAD", counting)
    connection = protocols.StrictConnection(h11.SERVER)
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000 + b"\r\n\r\n"
    for _ in range(2):
        events = []
        for index in range(len(head)):
            connection.receive_data(head[index : index + 1])
            events.append(connection.next_event())
        assert isinstance(events[-1], h11.Request)
        assert isinstance(connection.next_event(), h11.EndOfMessage)
        connection.send(h11.Response(status_code=204, headers=[]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()
    assert counting.seen < 10 * 2 * len(head)


def test_a_bare_lf_is_found_in_a_head_byte_by_byte() -> None:
    """The whole head is judged once its end is there."""
    connection = protocols.StrictConnection(h11.SERVER)
    with pytest.raises(h11.RemoteProtocolError, match="bare LF"):  # noqa: PT012 - any of the bytes may tell
        for byte in b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n":
            connection.receive_data(bytes([byte]))
            connection.next_event()
