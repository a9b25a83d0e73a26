"""Where worker processes meet for a reload that one of them was asked for: a folder that ends with the server.

    asked         why the last reload was asked for, of all
    PID.alive     locked by that worker as long as it lives
    PID.told      its last reload, and when it began

A worker that is to answer for all reloads first, asks, and waits until each of its fellows has told of a reload that
began after that. Times are those of the one clock of the machine that nobody sets, which all processes share.
"""

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mtls_as.server.events import ReloadOutcome
from mtls_as.server.reloading import ProcessReload

_FileState = tuple[int, int] | None


@contextlib.contextmanager
def reload_folder() -> Iterator[Path]:
    """A folder for the workers of one server, which only their user can enter."""
    with tempfile.TemporaryDirectory(prefix="mtls-as-reloads-") as folder:
        yield Path(folder)


class ReloadBoard:
    """The folder, as one worker has it. It counts as alive from here on, until its process ends."""

    def __init__(self, folder: Path, *, process: int | None = None) -> None:
        self.process = os.getpid() if process is None else process
        self.joined_at = time.monotonic()
        self._folder = folder
        self._take_place()
        self._seen = self._asked_state()

    def ask(self, cause: str) -> float:
        """Ask all others to reload; the time from which theirs count."""
        since = time.monotonic()
        self._write("asked", cause)
        self._seen = self._asked_state()
        return since

    def asked(self) -> str | None:
        """The cause, if another worker has asked since the last look."""
        state = self._asked_state()
        if state == self._seen:
            return None
        self._seen = state
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / "asked").read_text()
        return None

    def tell(self, reload: ProcessReload, *, began: float) -> None:
        """Tell the others of a reload here, or of the start."""
        members = {
            "began": began,
            "outcome": reload.outcome.value,
            "generation": reload.generation,
            "problems": list(reload.problems),
        }
        self._write(f"{self.process}.told", json.dumps(members))

    def others(self, *, since: float) -> tuple[ProcessReload, ...]:
        """The last reload of every other worker that lives; `INCOMPLETE` for one whose last began before `since`."""
        living = sorted(int(file.stem) for file in self._folder.glob("*.alive") if self._is_alive(file))
        return tuple(self._reload_of(process, since) for process in living if process != self.process)

    def _reload_of(self, process: int, since: float) -> ProcessReload:
        try:
            told = json.loads((self._folder / f"{process}.told").read_text())
        except FileNotFoundError:
            told = {"began": float("-inf")}
        if told["began"] < since:
            return ProcessReload(process=process, outcome=ReloadOutcome.INCOMPLETE, generation=None)
        return ProcessReload(
            process=process,
            outcome=ReloadOutcome(told["outcome"]),
            generation=told["generation"],
            problems=tuple(told["problems"]),
        )

    def _take_place(self) -> None:
        """Locked before it has the name that others look for, so that nobody takes it for one that was left.

        The descriptor is kept by nobody and closed by the end of the process alone, as the lock is to last.
        """
        new = self._folder / f"{self.process}.new"
        fcntl.flock(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), fcntl.LOCK_EX)
        new.rename(self._folder / f"{self.process}.alive")

    def _is_alive(self, file: Path) -> bool:
        """Whether its worker still holds the lock; what a dead one left is removed."""
        if file.stem == str(self.process):
            return True
        with contextlib.suppress(FileNotFoundError), file.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            file.unlink()
        return False

    def _asked_state(self) -> _FileState:
        try:
            status = (self._folder / "asked").stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _write(self, name: str, text: str) -> None:
        """Whole, or not at all, for whoever reads it meanwhile."""
        new = self._folder / f"{name}.{self.process}"
        new.write_text(text)
        new.rename(self._folder / name)
