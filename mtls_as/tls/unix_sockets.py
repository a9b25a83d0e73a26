"""Listening on a unix socket: the file's mode says who may connect."""

import contextlib
import errno
import shutil
import socket
import stat
from pathlib import Path
from typing import Final

from mtls_as.tls.credentials import TLSConfigurationError

PREFIX: Final = "unix:"
_OWNER: Final = 0o600
_OWNER_AND_GROUP: Final = 0o660
_PROBE_SECONDS: Final = 1.0


def bind_unix_socket(place: str, path: Path, *, group: str | None, backlog: int) -> socket.socket:
    """A listening socket at `path`, which its owner may connect to, and with `group` that group, and nobody else.

    A file that a server left behind when it ended is replaced. Raises `TLSConfigurationError`, which begins with
    `place`.
    """
    bound = socket.socket(socket.AF_UNIX)
    try:
        _remove_left_behind(path)
        bound.bind(str(path))
        try:
            _restrict(path, group)  # before it listens: until then nobody can connect
            bound.listen(backlog)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except (OSError, LookupError) as error:
        bound.close()
        raise TLSConfigurationError(f"{place} {_reason(error)}") from None
    bound.settimeout(0)
    return bound


def is_private(path: Path) -> bool:
    """Whether only its owner and its group may connect to the socket at this path."""
    try:
        return not stat.S_IMODE(path.lstat().st_mode) & stat.S_IRWXO
    except OSError:
        return False


def _restrict(path: Path, group: str | None) -> None:
    path.chmod(_OWNER)
    if group is not None:
        shutil.chown(path, group=group)
        path.chmod(_OWNER_AND_GROUP)


def _remove_left_behind(path: Path) -> None:
    """Remove the socket of a server that is no more. Raises `OSError` if one answers, or it is not a socket."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise OSError(errno.EADDRINUSE, "answers")


def _reason(error: OSError | LookupError) -> str:
    if isinstance(error, LookupError):
        return f"cannot be bound: {error.args[0] if error.args else 'there is no such group'}"
    match error.errno:
        case errno.EADDRINUSE | errno.EAGAIN:
            return "is in use by another program"
        case errno.EEXIST:
            return "is a file that is not a socket"
        case errno.ENOENT:
            return "is in a folder that does not exist"
        case errno.EPERM:
            return "cannot be given to the group: this process is not a member of it"
    return f"cannot be bound: {error.strerror or error}"
