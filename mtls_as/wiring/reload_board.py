"""Where worker processes meet for a reload that one of them was asked for: a folder that ends with the server.

    PID.alive     locked by that worker as long as it lives
    PID.asked     why it has asked all others to reload, the last time
    PID.told      its own last reload, and when it began

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
        self._seen = self._questions()

    def ask(self, cause: str) -> float:
        """Ask all others to reload; the time from which theirs count."""
        since = time.monotonic()
        self._write(f"{self.process}.asked", cause)
        return since

    def asked(self) -> str | None:
        """The cause, if another worker has asked since the last look."""
        found = self._questions()
        new = [file for file, state in found.items() if self._seen.get(file) != state]
        self._seen = found
        return new[0].read_text() if new else None

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

    def _questions(self) -> dict[Path, tuple[int, int]]:
        """What the others have asked, each in a file of its own: nobody's question takes the place of another's."""
        files = sorted(self._folder.glob("*.asked"))
        states = {file: file.stat() for file in files if file.stem != str(self.process)}
        return {file: (status.st_mtime_ns, status.st_ino) for file, status in states.items()}

    def _write(self, name: str, text: str) -> None:
        """Whole, or not at all, for whoever reads it meanwhile."""
        new = self._folder / f"{name}.{self.process}"
        new.write_text(text)
        new.rename(self._folder / name)
