"""The event log: one line for each event, whatever is in it, and no request waits for its reader."""

import io
import json
import logging
import os
import re
import select
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mtls_as.observability.diagnostics import JSONFormatter
from mtls_as.observability.event_lines import LOGGED, MAX_TEXT_LENGTH, event_line
from mtls_as.observability.event_log import EventLog
from mtls_as.observability.event_outputs import FileOutput, StreamOutput
from mtls_as.server.events import ReloadEvent, RequestEvent


def lines_of(*events: RequestEvent) -> list[str]:
    stream = io.BytesIO()
    log = EventLog(StreamOutput(stream), clock=lambda: 1_795_000_000.0)
    with log.writing():
        for event in events:
            log(event)
    return stream.getvalue().decode("ascii").splitlines()


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


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\x1b[31mred", "\u2028", '"}\n{"endpoint":"forged"}', "\0", "\x7f", "\ud800", "Zoë"]
)
def test_no_input_forges_a_line(text: str) -> None:
    """CR, LF, ANSI sequences and quotes are escaped (the log-forging row of the threats)."""
    (line,) = lines_of(RequestEvent(endpoint="token", unverified_client_id=text, detail=text))
    assert line.isprintable()
    assert json.loads(line)["detail"] == text


def test_long_text_is_cut() -> None:
    (line,) = lines_of(RequestEvent(endpoint="token", detail="x" * 1_000_000))
    assert len(line) < MAX_TEXT_LENGTH + 300
    assert "(1000000 characters)" in line


@pytest.mark.parametrize(
    "detail",
    ["x", "x" * 400, "x" * 401, "\x7f", "Zoë", "\ud800", "\n", 5, ["x"]],
    ids=[
        "short",
        "as long as it may be",
        "too long",
        "delete",
        "not ASCII",
        "lone surrogate",
        "newline",
        "int",
        "list",
    ],
)
def test_a_plain_request_is_written_like_any_other(detail: Any) -> None:
    """By the short way, which most go, as by the long one; what is no text, too."""
    members = {"endpoint": "token", "outcome": "answered", "detail": detail, "latency_seconds": 0.001235}
    event = RequestEvent(endpoint="token", detail=detail, latency_seconds=0.00123456)
    assert event_line(1_700_000_000.25, event) == event_line(1_700_000_000.25, members)


def test_a_request_has_one_line_for_all_who_write_it_down() -> None:
    """Event log and audit trail say the same, with the time of whoever came first; the work is done once."""
    event = RequestEvent(endpoint="token", client_id="c1")
    first = event_line(1_700_000_000.25, event)
    assert json.loads(first)["time"] == "2023-11-14T22:13:20.250+00:00"
    assert event_line(1_700_000_001.0, event) is first
    assert event_line(1_700_000_001.0, RequestEvent(endpoint="token", client_id="c1")) != first


def test_a_reader_that_stalls_delays_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A pipe that is full: events wait, then are lost and counted; every call returns at once."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "wb")
    log = EventLog(StreamOutput(stream), clock=time.time, capacity=10)
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
    stream = io.BytesIO()
    stream.close()
    log = EventLog(StreamOutput(stream), clock=time.time)
    with log.writing():
        log(RequestEvent(endpoint="token"))
    assert "cannot be written" in caplog.text


def written_by(output: FileOutput | StreamOutput, *endpoints: str) -> EventLog:
    log = EventLog(output, clock=time.time)
    with log.writing():
        for endpoint in endpoints:
            log(RequestEvent(endpoint=endpoint))
    return log


def endpoints_in(file: Path) -> list[str]:
    return [json.loads(line)["endpoint"] for line in file.read_text().splitlines()]


def test_a_file_is_appended_to_and_read_by_its_group_alone(tmp_path: Path) -> None:
    """A second process, or the next start, goes on behind the first."""
    file = tmp_path / "events.jsonl"
    written_by(FileOutput(file), "first", "second")
    written_by(FileOutput(file), "third")
    assert endpoints_in(file) == ["first", "second", "third"]
    assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0


@pytest.mark.parametrize("made_anew", [False, True], ids=["nothing in its place", "an empty file in its place"])
def test_a_file_that_logrotate_moved_away_is_made_anew(tmp_path: Path, made_anew: bool) -> None:
    """Without a signal: the log looks for its file under its name."""
    file, moved = tmp_path / "events.jsonl", tmp_path / "events.jsonl-20261121"
    output = FileOutput(file)
    output.write([b'{"endpoint": "before"}'])
    file.rename(moved)
    if made_anew:
        file.touch()
    output._look_at = 0.0
    output.write([b'{"endpoint": "after"}'])
    output.close()
    assert endpoints_in(moved) == ["before"]
    assert endpoints_in(file) == ["after"]


def test_a_file_that_was_cut_to_nothing_goes_on_at_its_beginning(tmp_path: Path) -> None:
    """As logrotate's copytruncate does."""
    file = tmp_path / "events.jsonl"
    output = FileOutput(file)
    output.write([b'{"endpoint": "before"}'])
    os.truncate(file, 0)
    output.write([b'{"endpoint": "after"}'])
    output.close()
    assert endpoints_in(file) == ["after"]


def test_a_file_is_rotated_by_its_size_and_so_many_are_kept(tmp_path: Path) -> None:
    """Two processes write the same one: no line is lost but those of the oldest file, none stands there twice."""
    file = tmp_path / "events.jsonl"
    outputs = [FileOutput(file, max_bytes=200, keep=3) for _ in range(2)]
    for number in range(60):
        outputs[number % 2]._look_at = 0.0
        outputs[number % 2].write([json.dumps({"endpoint": f"{number:03}"}).encode()])
    for output in outputs:
        output.close()
    files = sorted(tmp_path.iterdir(), key=lambda found: found.name)
    assert [found.name for found in files] == [
        "events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.3",
    ]  # fmt: skip
    newest_last = [endpoint for found in [files[3], files[2], files[1], files[0]] for endpoint in endpoints_in(found)]
    assert newest_last == [f"{number:03}" for number in range(60 - len(newest_last), 60)]
    assert all(found.stat().st_size < 300 for found in files)


def test_processes_that_share_a_pipe_break_no_line_of_each_other() -> None:
    """POSIX promises that for writes of so many bytes only."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        output, sizes = StreamOutput(stream), []
        counted = CountingStream(stream, sizes)
        output._stream = counted  # type: ignore[assignment] # it has what is used
        written_by(output, *(f"endpoint-{number}" for number in range(300)))
    with os.fdopen(reading, "rb") as received:
        assert len(received.read().splitlines()) == 300
    assert max(sizes) <= select.PIPE_BUF
    assert len(sizes) < 60


class CountingStream:
    """Notes the size of each write."""

    def __init__(self, stream: BinaryIO, sizes: list[int]) -> None:
        self._stream, self._sizes = stream, sizes

    def write(self, data: bytes) -> None:
        self._sizes.append(len(data))
        self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


def test_a_full_disk_is_told_once_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """Events are lost and counted meanwhile; no request notices."""

    class Disk:
        full = True
        lines = 0

        def write(self, lines: Sequence[bytes]) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            self.lines += len(lines)

        def close(self) -> None:
            pass

    caplog.set_level("INFO", "mtls_as")
    disk = Disk()
    log = EventLog(disk, clock=time.time)
    with log.writing():
        for _ in range(3):
            before = log.lost
            log(RequestEvent(endpoint="token"))
            while log.lost == before:
                time.sleep(0.005)
        disk.full = False
        log(RequestEvent(endpoint="token"))
    assert (log.lost, disk.lines) == (3, 1)
    assert caplog.text.count("No space left") == 1
    assert "3 events were lost for good" in caplog.text


def test_what_comes_while_lines_are_written_is_gathered_first() -> None:
    """Writes under load are not as small as what comes during one; at the end nothing is left."""

    class Output:
        lines = 0
        writes = 0

        def write(self, lines: Sequence[bytes]) -> None:
            self.lines += len(lines)
            self.writes += 1
            if self.writes < 3:
                for _ in range(5):
                    log(RequestEvent(endpoint="token"))

        def close(self) -> None:
            pass

    output = Output()
    log = EventLog(output, clock=time.time)
    log(RequestEvent(endpoint="token"))
    log._empty()
    assert (output.lines, log.depth) == (1, 5)
    with log.writing():
        while output.writes < 3:
            time.sleep(0.005)
    assert (output.lines, log.depth, log.lost) == (11, 0, 0)


def test_diagnostics_can_be_json_too() -> None:
    """One line each, with the traceback in it; escaped like an event."""
    try:
        int("a\nb\x1b[31m")
    except ValueError:
        record = logging.LogRecord("mtls_as.tls", logging.ERROR, "x.py", 1, "lost %s", ("a\nb",), sys.exc_info())
    line = JSONFormatter().format(record)
    assert line.isprintable()
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "mtls_as.tls", "lost a\nb")
    assert told["traceback"][0].startswith("Traceback")


def test_the_document_lists_every_member_of_an_event() -> None:
    """And none that there is not."""
    text = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    section = text.split("\n## Event log\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert listed == ["time", *LOGGED[RequestEvent]]
    reload = re.search(r'"event": "reload"` with (.*?)\.\n', section, re.DOTALL)
    assert reload is not None
    assert ["event", *re.findall(r"`(\w+)`", reload[1])] == list(LOGGED[ReloadEvent])
