"""The scripts of a fresh clone: the exchange from beginning to end, and what they say when something is missing."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.workplace import ROOT, STOP_SECONDS, Workplace

EXCHANGE = [sys.executable, str(ROOT / "scripts" / "exchange.py")]
SECONDS = 60.0


def exchange(workplace: Workplace, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*EXCHANGE, "--config", str(workplace.config), *options]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS)


def test_every_step_goes_as_printed(workplace: Workplace) -> None:
    """The whole exchange: a bound token, its use, its theft, and strangers; the log alone says why."""
    done = exchange(workplace, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("   $ ") == 8
    assert done.stdout.rstrip().endswith("Every step went as expected.")
    for reason in ("subject_mismatch", "untrusted_issuer", "no_certificate"):
        assert reason in done.stderr
        assert reason not in done.stdout


def test_a_step_that_goes_otherwise_is_named(workplace: Workplace) -> None:
    """The client reports, whose certificate now names somebody else."""
    workplace.edit('tls_client_auth_san_dns = "reports.example"', 'tls_client_auth_san_dns = "other.example"')
    done = exchange(workplace, "--check")
    assert done.returncode == 1
    assert "NOT AS EXPECTED: step 2 should have answered 200 with access_token" in done.stdout


def test_a_busy_port_is_named(workplace: Workplace) -> None:
    with workplace.serving():
        done = exchange(workplace, "--check")
    assert done.returncode == 1
    assert f"scripts/run: 127.0.0.1:{workplace.port} is in use by another program" in done.stderr


def test_a_server_that_does_not_start_shows_its_reason(workplace: Workplace) -> None:
    (workplace.folder / "certs" / "server-key.pem").write_text("junk")
    done = exchange(workplace, "--check")
    assert done.returncode == 1
    assert "mtls-as: " in done.stderr
    assert "server-key.pem: no private key" in done.stderr
    assert "Traceback" not in done.stderr


@contextlib.contextmanager
def serving(workplace: Workplace) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The exchange without --check, in a process group of its own, once it keeps serving."""
    log = workplace.folder / "exchange.log"
    command = [*EXCHANGE, "--config", str(workplace.config)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell ignore it
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
    signal.signal(signal.SIGINT, before)
    try:
        for _ in range(int(SECONDS * 10)):
            if "keep serving" in log.read_text():
                break
            assert child.poll() is None, log.read_text()
            threading.Event().wait(0.1)
        yield child, log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.parametrize(("number", "to_all", "status"), [(signal.SIGINT, True, 0), (signal.SIGTERM, False, 143)])
def test_a_signal_ends_both_servers(workplace: Workplace, number: signal.Signals, to_all: bool, status: int) -> None:
    """Ctrl-C goes to every process of the terminal, SIGTERM to the script alone; no server is left behind."""
    with serving(workplace) as (child, log):
        if to_all:
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
        assert child.wait(2 * STOP_SECONDS) == status, log.read_text()
        with pytest.raises(ProcessLookupError):
            os.killpg(child.pid, 0)
        assert "Traceback" not in log.read_text()


def environment(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Set up with some other Python, in an environment that does not exist."""
    command = [str(ROOT / "scripts" / "run"), "--check"]
    variables = {"PATH": os.environ["PATH"], "PYTHON": python, "MTLS_AS_VENV": str(tmp_path / "venv")}
    return subprocess.run(command, env=variables, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS)


def stub(tmp_path: Path, script: str) -> str:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    done = environment(tmp_path, stub(tmp_path, "exit 1"))
    assert done.returncode == 1
    assert "No Python 3.11 or newer was found" in done.stderr


def test_a_python_without_ensurepip_names_the_package(tmp_path: Path) -> None:
    """As Debian ships it."""
    script = f'case "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"'
    done = environment(tmp_path, stub(tmp_path, script))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert f"apt-get install python{version}-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_broken_environment_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    done = environment(tmp_path, sys.executable)
    assert done.returncode == 1
    assert f"{tmp_path}/venv is not a working virtual environment. Delete it" in done.stderr


def test_nothing_is_installed_twice(tmp_path: Path) -> None:
    """With the mark of an earlier installation, pip is asked for nothing, and works without a network."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    fake = venv / "bin" / "python"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *install*) exit 9 ;; esac\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    state = subprocess.run(
        ["sh", "-c", f'root={ROOT}; MTLS_AS_VENV={venv}; . "$root/scripts/environment.sh"; project_state'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (venv / ".mtls-as-server").write_text(state)
    done = subprocess.run(
        [str(ROOT / "scripts" / "run"), "--help"],
        env={"PATH": os.environ["PATH"], "MTLS_AS_VENV": str(venv)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--check" in done.stdout
