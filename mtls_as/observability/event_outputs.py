"""Where lines of events go: a stream, or a file that is rotated by its size or by somebody else."""

import contextlib
import fcntl
import os
import select
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

_LOOK_SECONDS: Final = 1.0
"""How often a file is looked for under its name: logrotate may have moved it away."""


class Output(Protocol):
    """Takes lines, from one thread. Both methods may block, and raise `OSError` or `ValueError`."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Write these lines; each gets its end here."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class StreamOutput:
    """A stream, such as standard output. Several processes may share a pipe: no write is longer than is atomic."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._limit = _atomic_bytes(stream)

    def write(self, lines: Sequence[bytes]) -> None:
        """Write these lines and flush."""
        for chunk in _chunks(lines, self._limit):
            self._stream.write(chunk)
            self._stream.flush()

    def close(self) -> None:
        """The stream belongs to somebody else."""


class FileOutput:
    """A file of mode 0640, appended to by any number of processes; made anew whenever it is not where its name says.

    Beyond `max_bytes` it is renamed to `NAME.1`, that to `NAME.2` and so on, and `keep` of them are kept; 0 leaves that
    to others. Raises `OSError` if it cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int = 0, keep: int = 1) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._look_at = 0.0
        self._file = self._open()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append these lines, in one piece where the file system can."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._follow()
        data = memoryview(b"".join(_ended(lines)))
        while data:
            data = data[os.write(self._file, data) :]
        if self._max_bytes and os.fstat(self._file).st_size >= self._max_bytes:
            self._rotate()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _follow(self) -> None:
        """Open the file again if another one, or none, has its name."""
        if not self._is_current():
            opened, before = self._open(), self._file
            self._file = opened
            os.close(before)

    def _is_current(self) -> bool:
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._file))

    def _rotate(self) -> None:
        """Of the processes that find the file full, the one that locks it first renames it; the others only follow."""
        with self._locked():
            if self._is_current():
                for number in range(self._keep - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number).rename(self._numbered(number + 1))
                self._path.rename(self._numbered(1))
        self._follow()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _atomic_bytes(stream: BinaryIO) -> int | None:
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # a stream in memory has no descriptor
        return None
    return select.PIPE_BUF if is_pipe else None


def open_output(file: Path | None, *, max_bytes: int, keep: int) -> Output:
    """Standard output, or a file that is rotated beyond `max_bytes`. Raises `OSError` if it cannot be written."""
    return StreamOutput(sys.stdout.buffer) if file is None else FileOutput(file, max_bytes=max_bytes, keep=keep)


def _chunks(lines: Sequence[bytes], limit: int | None) -> Iterator[bytes]:
    """The lines, joined up to the limit; one that is longer by itself goes alone."""
    chunk = bytearray()
    for line in _ended(lines):
        if limit is not None and chunk and len(chunk) + len(line) > limit:
            yield bytes(chunk)
            chunk.clear()
        chunk += line
    if chunk:
        yield bytes(chunk)


def _ended(lines: Sequence[bytes]) -> Iterator[bytes]:
    return (line + b"\n" for line in lines)
