"""A real PostgreSQL server for tests, in a temporary folder of its own: `postgresql` is one for the whole test process.

    def test_something(postgresql):
        with postgresql.database() as url:
            upgrade(url)

A test that stops or kills the server makes its own: `with running_postgresql() as server:`.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from tests.programs import require_program

ROLE: Final = "mtls_as"
"""Owns every database that is handed out; it is no superuser."""
PASSWORD: Final = "only/for:tests@loopback"
_SUPERUSER: Final = "postgres"
_START_SECONDS: Final = 30.0
_ATTEMPTS: Final = 5
_SETTINGS: Final = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


class PostgreSQL:
    """A server on loopback and on a unix socket in its folder; every connection needs its role's password."""

    def __init__(self, folder: Path, *, fsync: bool = True, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        """Of the server: `data`, the unix socket, and its log."""
        self.port = 0
        self._settings = _SETTINGS | {"fsync": "on" if fsync else "off"} | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._names = (f"test_{os.getpid()}_{number}" for number in count(1))

    @contextlib.contextmanager
    def database(self, *, template: str | None = None) -> Iterator[str]:
        """The URL of a fresh database: empty, or a copy of that of another URL, which nobody may be using."""
        name = next(self._names)
        copied = f" TEMPLATE {template.rpartition('/')[2]}" if template else " TEMPLATE template0"
        self.execute(f"CREATE DATABASE {name} OWNER {ROLE}{copied}")
        try:
            yield self.url(name)
        finally:
            if self.runs:
                self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, database: str, *, role: str = ROLE, password: str = PASSWORD) -> str:
        """A URL as it stands in a configuration, with the password."""
        quoted = password.replace("/", "%2F").replace(":", "%3A").replace("@", "%40")
        return f"postgresql://{role}:{quoted}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement as the superuser; what `psql` prints of its result."""
        address = f"host={self.folder} port={self.port} user={_SUPERUSER} dbname={database}"
        command = [_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, address]
        done = subprocess.run(command, env=os.environ | {"PGPASSWORD": PASSWORD}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Shut down in order; open connections are ended."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End every process of the server at once, as a power failure would."""
        self._end(signal.SIGKILL)

    def start(self) -> None:
        """Start again, on the same port, with the same data."""
        if not self._try_start():
            raise AssertionError(f"PostgreSQL did not start:\n{self.log[-2000:]}")

    def create(self) -> None:
        """Make the data, and start for the first time."""
        self._initialise()
        self._start_on_a_free_port()
        self.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{PASSWORD}'")

    def _initialise(self) -> None:
        (self.folder / "log").touch()
        passwords = self.folder / "password"
        passwords.write_text(PASSWORD)
        self._own()
        self._run(
            *("initdb", "--pgdata", str(self.folder / "data"), "--username", _SUPERUSER, "--pwfile", str(passwords)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        passwords.unlink()

    def _own(self) -> None:
        """Give the folder to the user that the server runs as."""
        if os.geteuid() == 0:
            user = pwd.getpwnam(_user())
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **_as_user())
        assert done.returncode == 0, done.stdout + done.stderr

    def _start_on_a_free_port(self) -> None:
        # Another process may take the port in the moment between.
        for _ in range(_ATTEMPTS):
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            if self._try_start():
                return
        raise AssertionError(f"PostgreSQL did not start:\n{self.log[-2000:]}")

    def _try_start(self) -> bool:
        settings = self._settings | {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
        }
        options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", str(self.folder / "data"), *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the terminal is for the tests
                **_as_user(),
            )
        # Ends the server when this process ends, however it does: its standard input is closed then.
        guard = ["sh", "-c", 'read -r _; kill -INT "$0"', str(self._process.pid)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
        until = time.monotonic() + _START_SECONDS
        while self.runs and time.monotonic() < until:
            if self._answers():
                return True
            time.sleep(0.05)
        self._end(signal.SIGKILL)
        return False

    def _answers(self) -> bool:
        command = [_program("pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port), "-t", "1"]
        return subprocess.run(command).returncode == 0

    def _end(self, how: signal.Signals) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._process is not None:
            children = _children(self._process.pid)
            self._process.send_signal(how)
            if how is signal.SIGKILL:
                for child in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
            self._process.wait(_START_SECONDS)
            self._process = None


@contextlib.contextmanager
def running_postgresql(
    *, fsync: bool = True, settings: dict[str, str] | None = None, within: Path | None = None
) -> Iterator[PostgreSQL]:
    """A server of one's own, with further settings of `postgresql.conf`; it is gone at the end, with its data.

    `fsync=False` is faster, and survives a kill too, only not a failure of the machine. `within` is the folder for its
    folder, of a short path: that of a unix socket has 107 bytes at most.
    """
    _program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=within))
    server = PostgreSQL(folder, fsync=fsync, settings=settings)
    try:
        server.create()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The server of this test process; it is shared, so only its databases are a test's own."""
    with running_postgresql(fsync=False) as server:
        yield server


def _program(name: str) -> str:
    return require_program(name, folders="usr/lib/postgresql/*/bin")


def _user() -> str:
    """PostgreSQL refuses to run as root."""
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(_user())
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
