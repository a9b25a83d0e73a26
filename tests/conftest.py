"""What every test shares: no socket leaves the machine."""

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.postgresql import postgresql
from tests.programs import HTTP1_VARIABLE

__all__ = ["postgresql"]  # a fixture for every folder of tests

# What an example costs says nothing on machines that others share.
settings.register_profile("mtls-as", deadline=None)
settings.load_profile("mtls-as")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else "localhost"
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise AssertionError(f"a test tried to reach {host}")
    _connect(self, address)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--http1=h11` has whole servers read HTTP/1.1 by h11 alone, to show that their answers are the same."""
    parser.addoption("--http1", choices=["direct", "h11"], default="direct", help="the setting server.http1 of servers")


def pytest_configure(config: pytest.Config) -> None:
    """Hand the option to `tests.running`."""
    os.environ[HTTP1_VARIABLE] = config.getoption("--http1")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Tests talk to this machine alone."""
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _loopback_only)
    yield
    patch.undo()


@pytest.fixture
def unprivileged_folder() -> Iterator[Path]:
    """A folder of its own; the test runs as a user for whom file modes hold, which they do not for root."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """In CI nothing may be left untested unseen."""
    if os.environ.get("CI") == "true" and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("CI=true: a skipped test counts as a failure", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With CI=true a skip is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and exitstatus == 0 and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
