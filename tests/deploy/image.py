"""A machine as the image of the Dockerfile has it, without a container engine: the kernel's part of it is real.

The root file system is read-only and has the program and what it needs; the user is not root and can become nobody
else; only declared places can be written to. It needs root to be set up.
"""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.workplace import ROOT
from tests.programs import require_program

USER: Final = 65532
START_SECONDS: Final = 60.0
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET
_LINKS: Final = ("bin", "sbin", "lib", "lib64")


def require_root() -> None:
    """Skip the test, or fail it in CI, where file systems cannot be mounted."""
    require_program("setpriv")
    tried = subprocess.run([require_program("unshare"), "--mount", "--net", "true"], capture_output=True)
    if os.geteuid() != 0 or tried.returncode != 0:
        reason = "needs root with CAP_SYS_ADMIN, to mount file systems and to become another user"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def require_tool(name: str) -> str:
    """A program that a package of PyPI brings, beside the interpreter of these tests."""
    return require_program(name, folders=str(Path(sys.prefix, "bin").relative_to("/")))


@contextlib.contextmanager
def own_network(addresses: Iterable[str] = ()) -> Iterator[None]:
    """A network of this thread and all that it starts: a loopback interface, with these addresses too."""
    require_root()
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run([require_program("ip"), "link", "set", "lo", "up"], check=True)
        for address in addresses:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        yield
    finally:
        libc.setns(before, _NEW_NETWORK)
        os.close(before)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where programs run: a root of its own in `folder`."""

    folder: Path
    environment: Mapping[str, str]
    files: Mapping[str, Path] = field(default_factory=dict)
    """Folders that are there, read-only, by where: such as `/etc/mtls-as`."""
    written: Mapping[str, Path] = field(default_factory=dict)
    """The only places that can be written to, by where."""
    venv: Path = Path(sys.prefix)
    user: int = USER
    etc: Mapping[str, str] = field(default_factory=dict)
    """Further files in `/etc`, such as `hosts`, with what is in them."""
    groups: tuple[int, ...] = ()
    """Of the user, beside the one with his number."""
    wrapper: tuple[str, ...] = ()
    """What runs the command, such as `strace`."""

    def command(self, *arguments: str) -> list[str]:
        """What runs a command there, by the user."""
        root = self.folder / "root"
        root.mkdir(exist_ok=True)
        shown = {Path("/usr"), Path(sys.base_prefix), self.venv, ROOT / "mtls_as"}
        # What is written comes first: the program may lie below it, in a virtual environment in /tmp.
        mounts = [(path, Path(where), "rw") for where, path in self.written.items()]
        mounts += [(path, path, "ro") for path in sorted(shown)]
        mounts += [(path, Path(where), "ro") for where, path in self.files.items()]
        script = ["set -e", "umask 022", f"mount -t tmpfs none {root}", f"mkdir -p {root}/etc {root}/proc {root}/dev"]
        script += [f"cp -a /{link} {root}/{link}" for link in _LINKS if Path("/", link).is_symlink()]
        script += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev")]
        etc = {"hosts": "127.0.0.1 localhost\n"} | dict(self.etc)
        script += [f"printf %s {shlex.quote(text)} >{root}/etc/{name}" for name, text in etc.items()]
        for source, where, mode in mounts:
            inside = shlex.quote(f"{root}{where}")
            script += [f"mkdir -p {inside}", f"mount --bind {shlex.quote(str(source))} {inside}"]
            script += [f"mount -o remount,bind,ro {inside}"] if mode == "ro" else []
        script += [f"mount -o remount,ro {root}"]
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        privileges = f"--reuid={self.user} --regid={self.user} {groups} --no-new-privs --bounding-set=-all"
        environment = " ".join(shlex.quote(f"{name}={value}") for name, value in self.environment.items())
        script += [f'exec chroot {root} setpriv {privileges} env -i {environment} {shlex.join(self.wrapper)} "$@"']
        return ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh", *arguments]

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=60, **options)

    @contextlib.contextmanager
    def running(self, *arguments: str, **options: Any) -> Iterator["Program"]:
        """Run a command in the background; it is killed with the block, if it still runs."""
        log = self.folder / f"log-{time.monotonic_ns()}"
        log.touch()
        log.chmod(0o666)  # programs open /dev/stderr anew, as whom they run
        with log.open("ab") as output:
            child = subprocess.Popen(
                self.command(*arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
            )
        try:
            yield Program(child, log)
        finally:
            child.kill()
            child.wait()


@dataclass(frozen=True)
class Program:
    """One that runs; what it says goes into a file."""

    child: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, condition: Any) -> None:
        """Poll until it is true; an early end shows what was said."""
        until = time.monotonic() + START_SECONDS
        while not condition():
            if self.child.poll() is not None or time.monotonic() > until:
                raise AssertionError(self.log.read_text()[-4000:])
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self.child.send_signal(number)
        return self.child.wait(START_SECONDS)


def owned(folder: Path, *, mode: int = 0o700, user: int = USER) -> Path:
    """A folder of the user."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, user, user)
    folder.chmod(mode)
    return folder


def hand_over(files: Sequence[Path], *, mode: int = 0o440, group: int = USER) -> None:
    """Files of root that the user may read by its group, as secrets are mounted."""
    for file in files:
        os.chown(file, 0, group)
        file.chmod(mode)
