"""The units in deploy/systemd: verified by systemd, and the server under what they impose."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from mtls_as.cli.application import application
from mtls_as.config import load_settings
from tests.authority import Authority, Identity, dns
from tests.cli.workplace import ROOT
from tests.deploy.documented import shell_blocks
from tests.deploy.image import Machine, Program, own_network, owned
from tests.programs import require_program

FOLDER = ROOT / "deploy" / "systemd"
SERVICE, SOCKET = FOLDER / "mtls-as.service", FOLDER / "mtls-as.socket"
CONFIG = FOLDER / "config.toml"
PROGRAM = "/opt/mtls-as/bin/mtls-as"
WORST_EXPOSURE = 15  # of 100: 1.5 in the words of `systemd-analyze security`
USER = 61_184  # of those that systemd takes for DynamicUser


def settings(unit: Path, key: str) -> list[str]:
    """The values of each line with this key."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [require_program("systemd-analyze"), "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Without a word; only the program is elsewhere here."""
    for unit in (SERVICE, SOCKET):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/mtls-as/bin/", f"{sys.prefix}/bin/"))
    checked = systemd_analyze("verify", tmp_path / SERVICE.name, tmp_path / SOCKET.name)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_finds_little_to_expose() -> None:
    checked = systemd_analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE}", SERVICE)
    assert checked.returncode == 0, checked.stdout


def test_the_command_lines_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLS_AS_CONFIG", environment()["MTLS_AS_CONFIG"])
    for key in ("ExecStartPre", "ExecStart"):
        for line in settings(SERVICE, key):
            program, *arguments = shlex.split(line.lstrip("-"))
            assert program == PROGRAM
            _, command, rest = application.resolve_command(click.Context(application), arguments)
            assert command is not None
            assert command.make_context(key, rest).params["config"] == Path("/etc/mtls-as/config.toml")


def test_the_units_and_the_configuration_fit_each_other() -> None:
    """Credentials that it names are loaded, the socket has the name of a listener, and there is time to end."""
    named = set(re.findall(r"/run/credentials/mtls-as\.service/([\w.-]+)", CONFIG.read_text()))
    assert named == {value.partition(":")[0] for value in settings(SERVICE, "LoadCredential")}
    assert settings(SOCKET, "FileDescriptorName") == ["mtls"]
    loaded = load_settings(CONFIG)
    assert loaded.listeners.mtls.bind.rpartition(":")[2] == settings(SOCKET, "ListenStream")[0]
    [seconds] = settings(SERVICE, "TimeoutStopSec")
    assert int(seconds) >= loaded.timeouts.drain + loaded.timeouts.shutdown + 10


def environment() -> dict[str, str]:
    [line] = settings(SERVICE, "Environment")
    return dict(pair.split("=", 1) for pair in shlex.split(line)) | {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def client() -> tuple[Authority, Identity]:
    authority = Authority.create("Client CA")
    return authority, authority.issue("reports", san=[dns("reports.example")])


@pytest.fixture
def machine(tmp_path: Path, client: tuple[Authority, Identity]) -> Machine:
    """What systemd makes of the unit: a user who was nobody before, credentials that are his, one folder to write to.

    The files are made by the documented commands.
    """
    tmp_path.chmod(0o755)
    [block] = shell_blocks("operations.md", "systemd", containing="storage.key")
    authority = Authority.create("Server CA")
    authority.write(tmp_path, "ca")
    authority.issue_server("as.example").write(tmp_path, "server")
    client[0].write(tmp_path, "client-ca")
    etc = tmp_path / "etc" / "mtls-as"
    script = block.replace("/etc/ssl/", f"{tmp_path}/").replace("/etc/mtls-as", str(etc))
    subprocess.run(["bash", "-ec", script], cwd=ROOT, check=True, capture_output=True)
    credentials = owned(tmp_path / "credentials", mode=0o500, user=USER)
    for value in settings(SERVICE, "LoadCredential"):
        name, _, source = value.partition(":")
        copy = credentials / name
        copy.write_bytes(Path(source.replace("/etc/mtls-as", str(etc))).read_bytes())
        os.chown(copy, USER, USER)
        copy.chmod(0o400)
    return Machine(
        folder=tmp_path,
        environment=environment(),
        files={"/etc/mtls-as": etc, "/run/credentials/mtls-as.service": credentials, "/opt/mtls-as": Path(sys.prefix)},
        written={
            "/var/lib/mtls-as": owned(tmp_path / "state", user=USER),
            "/tmp": owned(tmp_path / "private-tmp", user=USER),
        },
        user=USER,
    )


def activated(machine: Machine, listening: socket.socket, notified: str, *around: str) -> Machine:
    """With the socket that systemd would hand over, and the one by which it listens for words of the service."""
    said = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=mtls"
    hand_over = ("bash", "-c", f'exec 3<&{listening.fileno()}; export {said}; exec "$@"', "bash")
    return replace(
        machine, wrapper=(*around, *hand_over), environment=dict(machine.environment) | {"NOTIFY_SOCKET": notified}
    )


@contextlib.contextmanager
def started(machine: Machine, *around: str) -> Iterator[tuple[Program, socket.socket, socket.socket]]:
    """The service as systemd starts it: the process, the socket of the listener, and what systemd would hear."""
    with (
        own_network(),
        socket.create_server(("127.0.0.1", 8443)) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing,
    ):
        hearing.bind("\0mtls-as-test")
        hearing.settimeout(0.1)
        [before], [start] = settings(SERVICE, "ExecStartPre"), settings(SERVICE, "ExecStart")
        done = replace(machine, wrapper=around).run(*shlex.split(before.lstrip("-")))
        assert done.returncode == 0, done.stderr
        there = activated(machine, listening, "@mtls-as-test", *around)
        with there.running(*shlex.split(start), pass_fds=(listening.fileno(),)) as service:
            service.wait_for(lambda: b"READY=1" in heard(hearing))
            yield service, listening, hearing


def heard(hearing: socket.socket) -> bytes:
    with contextlib.suppress(TimeoutError):
        return hearing.recv(4096)
    return b""


def token(machine: Machine, client: Identity) -> str:
    """A token by curl; its answer, or its error."""
    certificate, key = client.write(machine.folder, "client")
    command = [require_program("curl"), "-sS", "--max-time", "20", "--cacert", str(machine.folder / "ca.pem")]
    command += ["--cert", str(certificate), "--key", str(key), "--resolve", "as.example:8443:127.0.0.1"]
    command += ["-d", "grant_type=client_credentials&client_id=reports", "https://as.example:8443/token"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_service_starts_reloads_and_stops_as_systemd_wants_it(
    machine: Machine, client: tuple[Authority, Identity]
) -> None:
    """It serves the socket that it was handed and says so. The socket outlives it: who connects meanwhile is served."""
    with started(machine) as (service, listening, hearing):
        assert "access_token" in token(machine, client[1])
        [reload] = settings(SERVICE, "ExecReload")
        subprocess.run(shlex.split(reload.replace("$MAINPID", str(service.child.pid))), check=True)
        service.wait_for(lambda: '"cause":"signal"' in service.log.read_text())
        assert service.end(signal.SIGTERM) == 0
        assert b"STOPPING=1" in heard(hearing)
        waiting = subprocess.Popen(
            ["timeout", "20", "openssl", "s_client", "-connect", "127.0.0.1:8443"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        again = activated(machine, listening, "@mtls-as-test")
        [start] = settings(SERVICE, "ExecStart")
        with again.running(*shlex.split(start), pass_fds=(listening.fileno(),)) as second:
            second.wait_for(lambda: b"READY=1" in heard(hearing))
            output, _ = waiting.communicate(timeout=30)
            assert b"CN = as.example" in output or b"CN=as.example" in output
            assert second.end() == 0


def filtered_calls() -> set[str]:
    """The system calls that SystemCallFilter lets through, by systemd's own lists."""
    allowed = set[str]()
    for line in settings(SERVICE, "SystemCallFilter"):
        names = {name for group in line.lstrip("~").split() for name in group_members(group)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def group_members(group: str) -> set[str]:
    listed = systemd_analyze("syscall-filter", group).stdout.splitlines()[1:]
    names = {line.strip() for line in listed if line.strip() and not line.strip().startswith("#")}
    return {each for name in names for each in (group_members(name) if name.startswith("@") else {name})}


@pytest.mark.slow
def test_the_service_needs_no_system_call_that_is_filtered(
    machine: Machine, client: tuple[Authority, Identity]
) -> None:
    """Seen by strace, from its preparation to its end; and what the filter takes away is a lot."""
    require_program("strace")
    allowed = filtered_calls()
    assert {"accept4", "openat", "clone3"} <= allowed
    assert not allowed & {"mount", "chown", "setuid", "ptrace", "init_module", "reboot", "bpf"}
    calls = machine.written["/tmp"] / "calls"
    around = ("strace", "-f", "-qq", "-A", "-o", "/tmp/calls")
    with started(machine, *around) as (service, _, _):
        assert "access_token" in token(machine, client[1])
        # strace passes no signal on, so its child gets it.
        [child] = Path(f"/proc/{service.child.pid}/task/{service.child.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert service.child.wait(60) == 0
    text = calls.read_text()
    used = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    assert len(used) > 30
    assert used - allowed == set()
    families = set(re.findall(r"^\d+ +socket\((AF_\w+)", text, re.MULTILINE))
    assert {"AF_UNIX"} <= families <= set(settings(SERVICE, "RestrictAddressFamilies")[0].split())
    # ProcSubset=pid shows nothing of /proc but processes. prometheus_client does without the other file, and without it
    # tells no time of the start.
    read = set(re.findall(r"\"(/proc/(?!self|\d|thread-self)[^\"]*)\".* = \d+$", text, re.MULTILINE))
    assert read == {"/proc/stat"}
