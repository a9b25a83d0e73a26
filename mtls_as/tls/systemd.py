"""What systemd hands to a service, and what it wants to hear from it: sd_listen_fds(3) and sd_notify(3)."""

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Final

from mtls_as.tls.credentials import TLSConfigurationError

_FIRST_DESCRIPTOR: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> dict[str, socket.socket]:
    """The listening sockets that systemd opened for this process, by their `FileDescriptorName`; none without it.

    The variables that say so are taken out of the environment, so that no child believes that they are for it.

    Raises `TLSConfigurationError` for a name that stands twice, and for what is not a listening stream socket.
    """
    pid, count, names = (environment.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, socket.socket] = {}
    for offset, name in enumerate(_names(names, int(count))):
        inherited = _listening_socket(_FIRST_DESCRIPTOR + offset, name)
        if name in found:
            raise TLSConfigurationError(f"systemd hands over two sockets of the name {name!r}: give each its own unit")
        found[name] = inherited
    return found


def notify(state: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> None:
    """Tell systemd, if it asks for it, in the words of sd_notify(3): `{"READY": "1", "STATUS": "…"}`.

    It is for its eyes only: whatever goes wrong, the service goes on.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    address = "\0" + address[1:] if address.startswith("@") else address  # a name in the abstract namespace
    message = "\n".join(f"{name}={' '.join(value.split())}" for name, value in state.items())
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.settimeout(0)
        sending.sendto(message.encode(), address)


def _names(names: str, count: int) -> Sequence[str]:
    given = names.split(":") if names else []
    if len(given) != count:
        raise TLSConfigurationError(
            f"systemd hands over {count} sockets and {len(given)} names: set FileDescriptorName= in each socket unit"
        )
    return given


def _listening_socket(descriptor: int, name: str) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - the function takes it by position alone
    try:
        inherited = socket.socket(fileno=descriptor)
        listens = inherited.type == socket.SOCK_STREAM and inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listens = 0
    if not listens:
        raise TLSConfigurationError(f"systemd hands over {name!r}, which is not a listening stream socket")
    inherited.settimeout(0)
    return inherited
