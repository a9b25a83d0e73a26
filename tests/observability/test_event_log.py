"""The event log: one line for each event, whatever is in it, and no request waits for its reader."""

import io
import json
import os
import time

import pytest

from mtls_as.observability.event_log import MAX_TEXT_LENGTH, EventLog
from mtls_as.server.events import RequestEvent


def lines_of(*events: RequestEvent) -> list[str]:
    stream = io.StringIO()
    log = EventLog(stream, clock=lambda: 1_795_000_000.0)
    with log.writing():
        for event in events:
            log(event)
    return stream.getvalue().splitlines()


def test_one_event_is_one_line_of_json() -> None:
    lines = lines_of(RequestEvent(endpoint="token", client_id="c1", latency_seconds=0.00123456))
    assert [json.loads(line) for line in lines] == [
        {
            "time": "2026-11-18T11:06:40.000+00:00",
            "endpoint": "token",
            "client_id": "c1",
            "outcome": "answered",
            "latency_seconds": 0.001235,
        }
    ]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[31mred", "\u2028", '"}\n{"endpoint":"forged"}', "\0"])
def test_no_input_forges_a_line(text: str) -> None:
    """CR, LF, ANSI sequences and quotes are escaped (the log-forging row of the threats)."""
    (line,) = lines_of(RequestEvent(endpoint="token", unverified_client_id=text, detail=text))
    assert line.isprintable()
    assert json.loads(line)["detail"] == text


def test_long_text_is_cut() -> None:
    (line,) = lines_of(RequestEvent(endpoint="token", detail="x" * 1_000_000))
    assert len(line) < MAX_TEXT_LENGTH + 300
    assert "(1000000 characters)" in line


def test_a_reader_that_stalls_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A pipe that is full: events wait, then are lost and counted; every call returns at once."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    log = EventLog(stream, clock=time.time, capacity=10)
    with log.writing():
        for _ in range(2_000):
            log(RequestEvent(endpoint="token", detail="x" * 300))  # far more than a pipe holds
        os.set_blocking(reading, False)
        deadline = time.monotonic() + 10
        received = b""
        while b"last" not in received and time.monotonic() < deadline:
            try:
                received += os.read(reading, 1 << 20)
            except BlockingIOError:
                log(RequestEvent(endpoint="last"))
                time.sleep(0.01)
    os.close(reading)
    stream.close()
    assert b"last" in received
    assert "events were lost" in caplog.text


def test_a_stream_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    stream.close()
    log = EventLog(stream, clock=time.time)
    with log.writing():
        log(RequestEvent(endpoint="token"))
    assert "cannot be written" in caplog.text
