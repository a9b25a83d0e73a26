"""Nodes in processes of their own that start quickly: forked from one that has imported the program already.

A node that is forked runs what `mtls-as serve` runs, with its own log, signals and end; only the import is spared,
which takes longer than all the rest, and a suite that kills a hundred nodes spends its time otherwise.

As a program it reads lines `CONFIGURATION LOG [MIGRATIONS]` and answers each with a process id, and `wait PID` with an
exit status.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Child:
    """One node."""

    zygote: "Zygote"
    pid: int
    log: Path
    """What it wrote to standard output and standard error."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal; it may be over already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status, once there is one; of a signal it is negative."""
        return int(self.zygote.ask(f"wait {self.pid}"))

    @property
    def runs(self) -> bool:
        """Whether it has not ended: a zombie has."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def wait_at_most(self, seconds: float) -> int:
        """As `wait`; raises `TimeoutError`."""
        until = time.monotonic() + seconds
        while self.runs:
            if time.monotonic() > until:
                raise TimeoutError(f"node {self.pid} did not end:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.01)
        return self.wait()


class Zygote:
    """The process that the nodes are forked from. To be used by one thread."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, line: str) -> str:
        stdin, stdout = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        stdin.write(line + "\n")
        stdin.flush()
        return stdout.readline().strip()

    def serve(self, config: Path, log: Path, *, migrations: Path | None = None) -> Child:
        """Start a node; it may not yet listen. With `migrations` its program is one that has these."""
        return Child(self, int(self.ask(f"{config} {log} {migrations or ''}")), log)


@contextlib.contextmanager
def running_zygote(**environment: str) -> Iterator[Zygote]:
    """At the end every node is over. The nodes have these variables, too."""
    command = [sys.executable, "-m", "tests.faults.zygote"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Zygote(process)
    finally:
        cast("IO[str]", process.stdin).close()
        process.wait(30)
        cast("IO[str]", process.stdout).close()


def main() -> None:
    """Fork what is asked for, until standard input ends; then kill what is left."""
    from mtls_as import wiring
    from mtls_as.cli.errors import explain
    from mtls_as.storage import migrate

    children: dict[int, int | None] = {}
    for line in sys.stdin:
        first, second, *newer = line.split()
        if first == "wait":
            pid = int(second)
            if children[pid] is None:
                children[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            _answer(children[pid])
            continue
        pid = os.fork()
        if pid == 0:
            _become(Path(second))
            if newer:
                migrate._MIGRATIONS = Path(newer[0])
            try:
                wiring.serve(Path(first))
            except Exception as error:  # noqa: BLE001 # as the command line does
                sys.exit(f"mtls-as: {explain(error) or repr(error)}")
            sys.exit(0)
        children[pid] = None
        _answer(pid)
    for pid, status in children.items():
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _answer(number: int | None) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(log: Path) -> None:
    """A process of its own: it keeps nothing of what the zygote talks through."""
    os.setsid()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((nothing, 0), (target, 1), (target, 2)):
        os.dup2(source, number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 # the new standard input
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 # as above
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115 # as above


if __name__ == "__main__":
    main()
