"""Binding: all or none, and the address is named when it cannot be."""

import socket

import pytest

from mtls_as.tls import Listener, TLSConfigurationError, bind_listeners, format_address
from tests.tls.apps import count


def listener(bind: str, name: str = "mtls") -> Listener:
    return Listener(name=name, bind=bind, app=count, request_certificate=True)


def test_ipv4_and_ipv6() -> None:
    """Numeric addresses of both families; port 0 is any free one."""
    sockets = bind_listeners([listener("127.0.0.1:0"), listener("[::1]:0"), listener("localhost:0")])
    addresses = [format_address(bound) for bound in sockets]
    for bound in sockets:
        bound.close()
    assert addresses[0].startswith("127.0.0.1:")
    assert addresses[1].startswith("[::1]:")
    assert addresses[2].startswith("127.0.0.1:")


def test_connections_do_not_wait_for_acknowledgements() -> None:
    """TCP_NODELAY: without it an answer in two pieces takes 40 ms."""
    [bound] = bind_listeners([listener("127.0.0.1:0")])
    with socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.close()
    bound.close()


def refused(*listeners: Listener) -> str:
    with pytest.raises(TLSConfigurationError) as caught:
        bind_listeners(listeners)
    return str(caught.value)


def test_a_busy_port_is_named_and_nothing_stays_bound() -> None:
    """All or none: the first listener's port is free again when the second one's is busy."""
    with socket.create_server(("127.0.0.1", 0)) as busy, socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
        probe.close()
        taken = f"127.0.0.1:{busy.getsockname()[1]}"
        message = refused(listener(f"127.0.0.1:{free}"), listener(taken, "public"))
        assert message == f"listener public: '{taken}' is in use by another program"
        socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.usefixtures("unprivileged_folder")
def test_a_privileged_port() -> None:
    """Named as such, for a user that is not root."""
    assert "needs a privilege" in refused(listener("127.0.0.1:1"))


@pytest.mark.parametrize(
    ("bind", "problem"),
    [
        ("", "is not of the form"),
        ("8443", "is not of the form"),
        (":8443", "is not of the form"),
        ("::1:8443", "is not of the form"),
        ("127.0.0.1", "is not of the form"),
        ("unix:/run/mtls-as.sock", "has no port"),
        ("fd://3", "has no port"),
        ("127.0.0.1:http", "has no port"),
        ("127.0.0.1:-1", "has no port"),
        ("127.0.0.1:65536", "has no port"),
        ("127.0.0.1:", "has no port"),
        ("127.0.0.1:٨", "has no port"),
        ("192.0.2.1:8443", "is not an address of this machine"),
        ("[2001:db8::1]:8443", "is not an address of this machine"),
        ("[::g]:8443", "cannot be resolved"),
        ("no-such-host.invalid:8443", "cannot be resolved"),
    ],
)
def test_bad_addresses(bind: str, problem: str) -> None:
    """Each is quoted with what is wrong."""
    message = refused(listener(bind))
    assert message.startswith(f"listener mtls: {bind!r} ")
    assert problem in message
