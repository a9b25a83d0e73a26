"""The direct lane answers as ASGI behind h11 does, refuses what that refuses, and keeps the same limits."""

import asyncio
import contextlib
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from mtls_as.tls import Timeouts
from tests.tls.apps import Both, Told
from tests.tls.peers import PATIENT, QUICK, Client, MemoryClient, client_context, serving, until
from tests.tls.test_smuggling import BROKEN_CHUNKS, POST, REFUSED, SMUGGLED

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CONVERSATIONS = {
    **REFUSED,
    **{name: POST + b"Transfer-Encoding: chunked\r\n\r\n" + rest + SMUGGLED for name, rest in BROKEN_CHUNKS.items()},
    "a request": POST + b"Content-Length: 5\r\n\r\nhello",
    "no body": GET,
    "pipelined": GET * 3 + POST + b"Content-Length: 5\r\n\r\nhello" + GET,
    "plain, chunked, plain": GET + POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + GET,
    "plain, elsewhere, plain": GET + b"GET /asgi HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "plain, refused, plain": GET + POST + b"Content-Length : 5\r\n\r\nhello" + GET,
    "the end asked for, and more": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET,
    "1.0": b"GET / HTTP/1.0\r\n\r\n" + GET,
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "a query": b"GET /?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a slow answer": b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "a failing application": b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    "a long body": POST + b"Content-Length: 5000\r\n\r\n" + bytes(5000) + GET,
    "a head that is too long": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    "the same field twice": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\nX: b\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET,
    "expect": POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello" + GET,
}


async def hold(folder: Path, conversation: bytes, *, direct: bool, piece: int) -> tuple[list[str], list[object], bool]:
    """Send it in pieces; the status lines, what the application was asked, and whether the server ended it."""
    app = Both()
    async with serving(app, folder, timeouts=PATIENT, direct=app if direct else None) as server:
        connection = await server.connect()
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(conversation), piece):
                await connection.send(conversation[start : start + piece])
        received, ended = await everything(connection)
        await connection.close()
    assert ("direct" in app.lanes) <= direct
    for asked in app.asked:
        assert asked.pop("client")
    lines = [line for line in received.decode("latin-1").splitlines() if line.startswith("HTTP/1.1 ")]
    return lines, list(app.asked), ended


async def everything(connection: Client) -> tuple[bytes, bool]:
    """What comes until nothing does for a while, and whether that is the end."""
    received = b""
    while True:
        try:
            data = await asyncio.wait_for(connection.reader.read(65536), 0.25)
        except TimeoutError:
            return received, False
        except ConnectionError:
            return received, True
        if not data:
            return received, True
        received += data


@pytest.mark.parametrize("piece", [100_000, 37])
@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_both_lanes_answer_the_same(tmp_path: Path, name: str, piece: int) -> None:
    """Status by status, request by request, and to the same end."""
    by_h11 = await hold(tmp_path, CONVERSATIONS[name], direct=False, piece=piece)
    directly = await hold(tmp_path, CONVERSATIONS[name], direct=True, piece=piece)
    assert directly == by_h11


@pytest.mark.parametrize("lane", ["direct", "asgi"])
async def test_an_answer_is_the_same_to_the_byte(tmp_path: Path, lane: str) -> None:
    """Status line, fields and body; `Date` among them."""
    app = Both()
    direct = app if lane == "direct" else None
    async with serving(app, tmp_path, direct=direct) as server, await server.connect() as connection:
        answer = await connection.post("/", b"hello")
    assert answer.headers.pop("date").endswith(" GMT")
    assert answer.headers == {"content-type": "application/json", "content-length": str(len(answer.body))}
    assert answer.json() == {"body": "hello"}
    assert app.lanes == [lane]


class Bare(Both):
    """Answers without a field of its own."""

    async def _answer(self, scope: Any, body: bytes) -> Told:
        return Told(status=204, headers={}, body=b"")


async def test_an_answer_without_fields_has_one_end(tmp_path: Path) -> None:
    """An empty line ends the head, and what stands behind it would be another answer's."""
    app = Bare()
    async with serving(app, tmp_path, direct=app) as server:
        connection = await server.connect()
        await connection.send(GET + GET)
        received, _ = await everything(connection)
        await connection.close()
    first, second, rest = received.split(b"\r\n\r\n")
    for head in (first, second):
        status, date = head.split(b"\r\n")
        assert status.startswith(b"HTTP/1.1 204")
        assert date.startswith(b"date: ")
    assert rest == b""


async def test_lanes_alternate_on_one_connection(tmp_path: Path) -> None:
    """A request that h11 has to read does not cost the ones behind it the direct lane."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server, await server.connect() as connection:
        for _ in range(3):
            assert (await connection.post("/", b"a")).status == 200
            await connection.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n")
            assert (await connection.answer()).json() == {"body": "b"}
    assert app.lanes == ["direct", "asgi"] * 3


async def test_a_body_behind_its_head(tmp_path: Path) -> None:
    """As many clients send it: the head in one record, the body in another, or byte by byte."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server, await server.connect() as connection:
        await connection.send(POST + b"Content-Length: 5\r\n\r\n")
        for byte in b"hello":
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.01)
        assert (await connection.answer()).json() == {"body": "hello"}
    assert app.lanes == ["direct"]


async def test_a_body_that_does_not_come(tmp_path: Path) -> None:
    """The application hears of it after its own time, answers, and the connection ends; a trickle changes nothing."""
    app = Both(body_timeout=0.3)
    async with serving(app, tmp_path, direct=app) as server, await server.connect() as connection:
        await connection.send(POST + b"Content-Length: 100\r\n\r\n")
        for _ in range(4):
            with contextlib.suppress(ConnectionError):
                await connection.send(b"x")
            await asyncio.sleep(0.1)
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await connection.closed() == b""


async def test_a_stalled_body_is_given_up_with_the_connection(tmp_path: Path) -> None:
    """The time for a client that sends nothing holds here too."""
    app = Both(body_timeout=30)
    async with serving(app, tmp_path, timeouts=QUICK, direct=app) as server, await server.connect() as connection:
        await connection.send(POST + b"Content-Length: 100\r\n\r\nabc")
        assert await connection.closed(QUICK.idle + 1) == b""


async def test_a_head_that_drips_has_its_time_alone(tmp_path: Path) -> None:
    """On a kept-alive connection the time for a head runs from its first byte."""
    app = Both()
    timeouts = Timeouts(handshake=2, request_head=0.4, idle=5, shutdown=1)
    async with serving(app, tmp_path, timeouts=timeouts, direct=app) as server, await server.connect() as connection:
        assert (await connection.get()).status == 200
        for byte in GET[:10]:
            with contextlib.suppress(ConnectionError):
                await connection.send(bytes([byte]))
            await asyncio.sleep(0.05)
        assert await connection.closed(1.0) == b""


async def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    """After the idle time, counted from the last answer."""
    app = Both()
    async with serving(app, tmp_path, timeouts=QUICK, direct=app) as server, await server.connect() as connection:
        for _ in range(3):
            assert (await connection.get()).status == 200
            await asyncio.sleep(QUICK.idle / 2)
        assert await connection.closed(QUICK.idle + 0.5) == b""


async def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    """Pipelined requests are not answered on and on while nobody takes the answers."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server, await server.connect() as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined] # every transport of streams has it
        request = POST + b"Content-Length: 1000\r\n\r\n" + bytes(range(250)) * 4
        connection.writer.write(request * 20_000)
        seen = -1
        while seen != len(app.asked):
            seen = len(app.asked)
            await asyncio.sleep(0.3)
        assert seen < 12_000
        connection.writer.transport.abort()


async def test_pipelined_requests_of_a_client_that_left_are_not_begun(tmp_path: Path) -> None:
    """What was queued behind a request in the works dies with the connection, and the one in the works ends."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server:
        connection = await server.connect()
        await connection.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        await until(lambda: len(app.asked) == 1)
        connection.writer.transport.abort()
        await asyncio.sleep(0.3)
    assert len(app.asked) == 1


async def test_half_close_still_gets_its_answers(tmp_path: Path) -> None:
    """A close_notify behind requests in the works: they are answered, then comes the end."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server:
        connection = await server.connect()
        connection.writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await until(lambda: bool(app.asked))
        received, ended = await everything(connection)
        assert received.count(b"HTTP/1.1 200") == 2
        assert not ended
        await connection.close()


async def test_an_application_that_fails_ends_one_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A 500 without the reason, which the log has."""
    app = Both()
    async with (
        serving(app, tmp_path, direct=app) as server,
        await server.connect() as connection,
        await server.connect() as neighbour,
    ):
        with caplog.at_level(logging.ERROR, "mtls_as.tls"):
            response = await connection.get("/broken")
        assert (response.status, response.body) == (500, b"")
        assert await connection.closed() == b""
        assert (await neighbour.get()).status == 200
    assert [record.message for record in caplog.records] == ["error in the application"]


async def test_the_last_answers_of_a_server_that_stops(tmp_path: Path) -> None:
    """A request in the works is answered with the word that the connection ends; idle ones are closed."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server:
        busy, idle = await server.connect(), await server.connect()
        assert (await idle.get()).status == 200
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        await until(lambda: len(app.asked) == 2)
        server.shutdown.set()
        answer = await busy.answer()
        assert answer.status == 200
        assert await busy.closed() == b""
        assert await idle.closed() == b""
        await busy.close()
        await idle.close()
    assert len(app.asked) == 2


async def test_many_requests_wait_at_once(tmp_path: Path) -> None:
    """Each answer that waits has a task of its own, in which time-outs work, and none is left at the end."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server:
        connections = [await server.connect() for _ in range(20)]
        before = len(asyncio.all_tasks())
        for connection in connections:
            await connection.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = await asyncio.gather(*(connection.answer() for connection in connections))
        assert [answer.status for answer in answers] == [200] * 20
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= before + 1  # the spare one
        for connection in connections:
            await connection.close()
    assert app.lanes == ["direct"] * 20


async def test_pipelined_requests_leave_others_their_turn(tmp_path: Path) -> None:
    """However many come in one piece: else one client would have the event loop for seconds."""
    app, turns = Both(), [0]
    number = 500

    async def count_turns() -> None:
        while len(app.asked) < number:
            turns.append(len(app.asked))
            await asyncio.sleep(0)
        turns.append(number)

    async with serving(app, tmp_path, direct=app) as server, await server.connect() as connection:
        counting = asyncio.create_task(count_turns())
        await connection.send(GET * number)
        answers = [await connection.answer() for _ in range(number)]
        await counting
    assert {answer.status for answer in answers} == {200}
    assert app.lanes == ["direct"] * number
    assert max(after - before for before, after in itertools.pairwise(turns)) < 50


async def test_the_end_behind_pipelined_requests_waits_for_their_turn(tmp_path: Path) -> None:
    """A client that says at once that it sends nothing more gets all its answers, and then the end."""
    app = Both()
    async with serving(app, tmp_path, direct=app) as server:
        client = MemoryClient(client_context())
        await client.open(server)
        await client.run(client.connection.do_handshake)
        client.connection.sendall(GET * 100)
        client.connection.shutdown()
        await client.flush()
        received = b""
        with contextlib.suppress(SSL.ZeroReturnError):
            while True:
                received += await client.run(lambda: client.connection.recv(65536))
        await client.close()
    assert received.count(b"HTTP/1.1 200 ") == 100
