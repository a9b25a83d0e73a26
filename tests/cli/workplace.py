"""A folder as an operator has it: the shipped configuration on free ports, development certificates, a database."""

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from mtls_as.cli.application import application

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Workplace:
    """A folder, and the ports in its configuration."""

    folder: Path
    port: int
    resource_port: int

    @classmethod
    def make(cls, folder: Path, *, storage: str | None = None) -> "Workplace":
        """Write the shipped `config.toml` with other ports and perhaps another database, and initialise."""
        port, resource_port = free_ports(2)
        text = (ROOT / "config.toml").read_text().replace("8443", str(port)).replace("8445", str(resource_port))
        text = text.replace("sqlite:///mtls-as.db", storage) if storage else text
        (folder / "config.toml").write_text(text)
        workplace = cls(folder, port, resource_port)
        workplace.succeed("init", "--development")
        return workplace

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def path(self, name: str) -> str:
        """A file in the folder."""
        return str(self.folder / name)

    def run(self, *arguments: str, input: str | None = None) -> Result:  # noqa: A002 - the name subprocess uses
        """Run a command in this process, as in the folder."""
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(application, arguments, input=input, prog_name="mtls-as")

    def succeed(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - the name subprocess uses
        """Run a command that must succeed, and say nothing on standard error; returns what it printed."""
        result = self.run(*arguments, input=input)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def fail(self, *arguments: str, status: int = 1, input: str | None = None) -> str:  # noqa: A002 - as above
        """Run a command that must fail with one line on standard error; returns that line."""
        result = self.run(*arguments, input=input)
        lines = result.stderr.splitlines()
        assert (result.exit_code, len(lines)) == (status, 1), result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert lines[0].startswith("mtls-as: ")
        return lines[0].removeprefix("mtls-as: ")

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file into the folder; returns its path."""
        file = self.folder / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(file)

    def edit(self, old: str, new: str) -> None:
        """Replace what stands in the configuration exactly once."""
        text = self.config.read_text()
        assert text.count(old) == 1, old
        self.config.write_text(text.replace(old, new))

    @contextlib.contextmanager
    def serving(self) -> Iterator["Process"]:
        """`mtls-as serve` in a process of its own, until SIGTERM; it must end by itself then."""
        with running("serve", cwd=self.folder) as server:
            server.wait_until_listening(self.port)
            yield server
            assert server.end(signal.SIGTERM) == 0, server.errors


@dataclass(frozen=True)
class Process:
    """The command line program in a process of its own. Its output goes into files, which never fill up as pipes do."""

    child: subprocess.Popen[bytes]
    folder: Path

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def wait(self) -> int:
        """The exit status, once there is one."""
        return self.child.wait(STOP_SECONDS)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; returns the exit status."""
        self.child.send_signal(number)
        return self.wait()

    def wait_until_listening(self, port: int) -> None:
        """Poll until the process accepts connections; an early end shows what it said."""
        for _ in range(int(START_SECONDS * 10)):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(0.1)
                raise AssertionError(self.errors)
        raise TimeoutError(f"nothing listens on {port}")


@contextlib.contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Process]:
    """Run `mtls-as`; it is ended with the block at the latest."""
    command = [sys.executable, "-m", "mtls_as.cli", *arguments]
    folder = Path(tempfile.mkdtemp(dir=cwd))
    with (folder / "output").open("wb") as output, (folder / "errors").open("wb") as errors:
        child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
    try:
        yield Process(child, folder)
    finally:
        child.kill()
        child.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
