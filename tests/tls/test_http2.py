"""HTTP/2 over TLS: many streams, large bodies, flow control, resets, and requests that Hypercorn would stumble over."""

import asyncio
from pathlib import Path
from typing import Any

import h2.errors
import h2.exceptions
import pytest

from tests.authority import Authority
from tests.programs import require_program
from tests.tls.apps import answer, count, echo, http, read_body
from tests.tls.peers import PATIENT, HTTP2Client, serving, until

CA = Authority.create("Client CA")
BIG = bytes(range(256)) * 20_000


async def test_many_concurrent_streams(tmp_path: Path) -> None:
    """A hundred requests at once, answered in whatever order they are done."""
    async with serving(count, tmp_path) as server, await HTTP2Client.open(server, CA.issue()) as http2:
        streams = [await http2.start(f"/wait/{0.1 - number / 1000}") for number in range(100)]
        answers = [await http2.answer(stream) for stream in streams]
        assert {response.status for response in answers} == {200}


async def test_many_requests_on_one_connection(tmp_path: Path) -> None:
    """Beyond Hypercorn's own limit, at which it drops the answers in the works."""
    async with serving(count, tmp_path) as server, await HTTP2Client.open(server) as http2:
        for _ in range(1100):
            assert (await http2.get()).status == 200


async def test_large_upload_and_download(tmp_path: Path) -> None:
    """Five megabytes each way, through windows of 64 KiB."""

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        await answer(send, body)

    async with serving(app, tmp_path) as server, await HTTP2Client.open(server) as http2:
        assert (await http2.post("/", BIG)).body == BIG


async def test_echo_while_the_body_is_still_coming(tmp_path: Path) -> None:
    """Both directions at once: neither waits for the other for ever."""
    async with serving(echo, tmp_path) as server, await HTTP2Client.open(server) as http2:
        async with asyncio.timeout(20):
            assert (await http2.post("/", BIG)).body == BIG


async def test_a_stream_that_is_not_read_holds_up_no_other(tmp_path: Path) -> None:
    """An upload that the application does not read leaves the connection's other requests alone."""
    release = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stuck":
            await release.wait()
        await answer(send, str(len(await read_body(receive))).encode())

    async with serving(app, tmp_path) as server, await HTTP2Client.open(server) as http2:
        stuck = await http2.start("/stuck", method="POST", end=False)
        for _ in range(40):
            http2.connection.send_data(stuck, bytes(1000))
        await http2.flush()
        for _ in range(5):
            assert (await http2.get()).status == 200
        release.set()
        http2.connection.end_stream(stuck)
        await http2.flush()
        assert (await http2.answer(stuck)).body == b"40000"


async def test_credit_returns_only_when_the_application_reads(tmp_path: Path) -> None:
    """Back-pressure: a client cannot send more than a window ahead of an application that does not read."""
    release = asyncio.Event()

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send, str(len(await read_body(receive))).encode())

    async with serving(app, tmp_path) as server, await HTTP2Client.open(server) as http2:
        stream = await http2.start("/", method="POST", end=False)
        sending = asyncio.create_task(http2.send_body(stream, BIG))
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert http2.connection.local_flow_control_window(stream) == 0
        release.set()
        await sending
        assert (await http2.answer(stream)).body == str(len(BIG)).encode()


async def test_an_early_answer_stops_the_upload(tmp_path: Path) -> None:
    """An application that answers without reading: RST_STREAM(NO_ERROR) after the answer (RFC 9113 §8.1)."""

    @http
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"no", 413)

    async with serving(refuse, tmp_path) as server, await HTTP2Client.open(server) as http2:
        stream = await http2.start("/", method="POST", end=False)
        await http2.send_body(stream, BIG)
        response = await http2.answer(stream)
        assert (response.status, response.body) == (413, b"no")
        await until_reset(http2, stream)
        assert http2.resets[stream] == h2.errors.ErrorCodes.NO_ERROR
        assert (await http2.get()).status == 413


async def until_reset(http2: HTTP2Client, stream: int) -> None:
    while stream not in http2.resets:
        assert await http2.receive()


async def test_rapid_resets_do_not_pile_up_work(tmp_path: Path) -> None:
    """CVE-2023-44487: requests that are reset at once count as long as the application works on them."""
    working = 0
    most = 0

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.3)
        working -= 1
        await answer(send, b"ok")

    async with serving(app, tmp_path) as server:
        async with await HTTP2Client.open(server) as http2:
            for _ in range(500):
                stream = await http2.start()
                http2.connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            await http2.flush()
            await asyncio.sleep(0.2)
            assert most <= 100
            await until(lambda: working == 0)
            assert (await http2.get()).status == 200
        await until(lambda: working == 0)


async def test_a_reset_stream_is_heard_of(tmp_path: Path) -> None:
    """The application gets `http.disconnect`, and one that is sending is not left waiting."""
    heard: list[str] = []

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            await read_body(receive)
            heard.append((await receive())["type"])
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(50):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        heard.append("sent")

    async with serving(app, tmp_path) as server, await HTTP2Client.open(server) as http2:
        http2.reads = False
        for path in ("/wait", "/download"):
            stream = await http2.start(path)
            await asyncio.sleep(0.1)
            http2.connection.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            await http2.flush()
        await until(lambda: sorted(heard) == ["http.disconnect", "sent"])


async def test_a_client_that_leaves_while_it_is_sent_to(tmp_path: Path) -> None:
    """Applications that wait for room in a connection that is gone go on, and end."""
    ended = 0

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(50):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        ended += 1

    async with serving(app, tmp_path) as server:
        http2 = await HTTP2Client.open(server)
        http2.reads = False
        for _ in range(5):
            await http2.start()
        await asyncio.sleep(0.1)
        http2.client.writer.transport.abort()
        await until(lambda: ended == 5)


@pytest.mark.parametrize(
    "fields",
    [
        [(b":path", b"/\xff")],
        [(b":path", b"foo")],
        [(b":path", b"*")],
        [(b":path", b"https://other.example/")],
        [(b":method", b"G\xcbT")],
        [(b":method", b"CONNECT")],
    ],
)
async def test_strange_pseudo_headers_end_one_stream_at_most(tmp_path: Path, fields: list[tuple[bytes, bytes]]) -> None:
    """Paths and methods that are no HTTP: that request fails, and the server goes on."""
    usual = {b":method": b"GET", b":path": b"/", b":scheme": b"https", b":authority": b"localhost"}
    async with serving(count, tmp_path) as server:
        async with await HTTP2Client.open(server) as http2:
            http2.connection.config.validate_outbound_headers = False
            http2.connection.config.normalize_outbound_headers = False
            http2.connection.config.header_encoding = None
            http2.connection.send_headers(1, list((usual | dict(fields)).items()), end_stream=True)
            await http2.flush()
            while 1 not in http2.resets and 1 not in http2.ended and await http2.receive():
                pass
            assert 1 not in http2.answers
        async with await HTTP2Client.open(server) as http2:
            assert (await http2.get()).status == 200


@pytest.mark.parametrize(
    "frames",
    [
        b"\x00\x00\x05\x02\x00\x00\x00\x00\x03\x00\x00\x00\x03\x10",  # PRIORITY of a stream on itself
        b"\x00\x00\x08\x06\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",  # PING on a stream
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # WINDOW_UPDATE of nothing
        b"\x00\x40\x01\x00\x00\x00\x00\x00\x01" + bytes(0x4001),  # DATA larger than the frame size, on an idle stream
        b"\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82",  # CONTINUATION out of nowhere
        b"\x00\x00\x04\x03\x00\x00\x00\x00\x63\x00\x00\x00\x00",  # RST_STREAM of an idle stream
        b"".join(b"\x00\x00\x05\x02\x00" + n.to_bytes(4, "big") + b"\x00\x00\x00\x00\x10" for n in range(1, 6001, 2)),
    ],
)
async def test_broken_frames_end_one_connection(tmp_path: Path, frames: bytes) -> None:
    """Protocol errors are answered with GOAWAY or the end; a neighbour does not notice."""
    async with serving(count, tmp_path) as server, await HTTP2Client.open(server) as neighbour:
        async with await HTTP2Client.open(server) as http2:
            await http2.client.send(frames)
            async with asyncio.timeout(5):
                while await http2.receive():
                    pass
        assert (await neighbour.get()).status == 200


async def test_pings_are_answered(tmp_path: Path) -> None:
    """A client that keeps its connection alive by PING gets its acknowledgements."""
    async with serving(count, tmp_path, timeouts=PATIENT) as server, await HTTP2Client.open(server) as http2:
        for _ in range(20):
            http2.connection.ping(b"12345678")
            await http2.flush()
            await http2.receive()
        assert (await http2.get()).status == 200


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
async def test_curl(tmp_path: Path, protocol: str) -> None:
    """Real curl with a certificate, up and down, over both protocols."""
    curl = require_program("curl")
    certificate, key = CA.issue("c1").write(tmp_path, "c1")
    (tmp_path / "big").write_bytes(BIG)
    async with serving(echo, tmp_path) as server:
        (tmp_path / "ca.pem").write_text(server.authority.pem)
        program = await asyncio.create_subprocess_exec(
            curl, "-sS", protocol, "--fail", "--cacert", "ca.pem", "--cert", str(certificate), "--key", str(key),
            "--data-binary", "@big", "-o", "back", "-w", "%{http_version}", f"https://localhost:{server.port}/",
            cwd=tmp_path, stdout=-1,
        )  # fmt: skip
        version, _ = await asyncio.wait_for(program.communicate(), 20)
    assert program.returncode == 0
    assert version == {"--http1.1": b"1.1", "--http2": b"2"}[protocol]
    assert (tmp_path / "back").read_bytes() == BIG
