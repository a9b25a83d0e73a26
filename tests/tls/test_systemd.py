"""Sockets that systemd opened, and the words that it waits for."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtls_as.tls import Listener, TLSConfigurationError, bind_listeners, notify


async def _app(scope: object, receive: object, send: object) -> None: ...


def _listener(name: str = "mtls", *, tls: bool = True, bind: str = "127.0.0.1:0") -> Listener:
    return Listener(name=name, bind=bind, app=_app, request_certificate=tls, tls=tls)


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    """A listening socket on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


_PROGRAM = """
import json, os, socket, sys
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else "1"
from mtls_as.tls import TLSConfigurationError, inherited_sockets
try:
    found = inherited_sockets()
    facts = {n: [list(s.getsockname()), s.get_inheritable()] for n, s in found.items()}
except TLSConfigurationError as error:
    facts = str(error)
print(json.dumps([facts, [n for n in os.environ if n.startswith("LISTEN_")]]))
"""


def _in_a_service(*sockets: socket.socket, names: str, pid: str = "ours") -> tuple[object, list[str]]:
    """What a process finds that systemd would have started so: the sockets are its descriptors 3, 4 and so on."""

    def arrange() -> None:
        for offset, moved in enumerate([os.dup(each.fileno()) for each in sockets]):
            os.dup2(moved, 3 + offset)

    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, pid],
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names},
        preexec_fn=arrange,
        close_fds=False,
        capture_output=True,
        text=True,
        check=True,
    )
    found, left = json.loads(result.stdout)
    return found, left


def test_sockets_are_found_by_name(tcp: socket.socket) -> None:
    """Each under the name of its unit, not inheritable any more, and the variables are gone."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        found, left = _in_a_service(tcp, other, names="mtls:admin")
        assert found == {"mtls": [list(tcp.getsockname()), False], "admin": [list(other.getsockname()), False]}
        assert left == []


def test_sockets_for_another_process_are_left_alone(tcp: socket.socket) -> None:
    """A parent's variables that reached a child by accident mean nothing there."""
    assert _in_a_service(tcp, names="mtls", pid="another") == ({}, [])


@pytest.mark.parametrize(("names", "said"), [("mtls:mtls", "two sockets of the name 'mtls'"), ("mtls", "and 1 names")])
def test_names_that_do_not_fit_are_refused(tcp: socket.socket, names: str, said: str) -> None:
    found, _ = _in_a_service(tcp, tcp, names=names)
    assert said in str(found)


def test_what_does_not_listen_is_refused() -> None:
    """A connected socket is no listener (Accept=yes in the unit)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found, _ = _in_a_service(ours, names="mtls")
    assert "not a listening stream socket" in str(found)


def test_a_listener_takes_its_inherited_socket(tcp: socket.socket) -> None:
    """And the others bind their own."""
    first, second = bind_listeners([_listener("mtls"), _listener("public")], inherited={"mtls": tcp})
    with second:
        assert first is tcp
        assert second.getsockname() != tcp.getsockname()


def test_a_socket_without_listener_is_refused(tcp: socket.socket) -> None:
    """It would take connections that nobody answers."""
    with pytest.raises(TLSConfigurationError, match="no listener 'mlts' for the inherited socket"):
        bind_listeners([_listener("mtls")], inherited={"mlts": tcp})


def test_plain_http_stays_on_this_machine() -> None:
    """A listener without TLS does not take an inherited socket that the network reaches."""
    with (
        socket.create_server(("0.0.0.0", 0)) as reachable,
        pytest.raises(TLSConfigurationError, match="only loopback addresses and unix sockets are"),
    ):
        bind_listeners([_listener("proxy", tls=False)], inherited={"proxy": reachable})


@pytest.mark.parametrize(("mode", "taken"), [(0o660, True), (0o666, False)])
def test_a_unix_socket_must_be_private(tmp_path: Path, mode: int, *, taken: bool) -> None:
    """systemd makes them for everybody by default, and who can connect is taken for the proxy."""
    place = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(place))
        place.chmod(mode)
        opened.listen()
        assert stat.S_ISSOCK(place.lstat().st_mode)
        listener = _listener("proxy", tls=False, bind=f"unix:{place}")
        if taken:
            assert bind_listeners([listener], inherited={"proxy": opened}) == [opened]
        else:
            with pytest.raises(TLSConfigurationError, match="SocketMode=0660"):
                bind_listeners([listener], inherited={"proxy": opened})


def test_systemd_hears_what_it_asked_for(tmp_path: Path) -> None:
    """One datagram of lines; no value can forge a line of its own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        notify({"READY": "1", "STATUS": "serves\nSTOPPING=1"}, {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert listening.recv(1024) == b"READY=1\nSTATUS=serves STOPPING=1"


@pytest.mark.parametrize("place", ["", "relative", "/nowhere/at/all", "@nobody-listens-there"])
def test_without_systemd_nothing_happens(place: str) -> None:
    notify({"READY": "1"}, {"NOTIFY_SOCKET": place})
