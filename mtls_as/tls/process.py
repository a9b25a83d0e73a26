"""What a process that does nothing but serve sets up once."""

import gc
import resource
from typing import Final

_SPARE_FILES: Final = 128
"""Descriptors for everything but connections: listeners, databases, logs, files being read."""
_OBJECTS_BETWEEN_COLLECTIONS: Final = 20_000


def allow_connections(wanted: int) -> int:
    """Raise this process's limit of open files towards so many connections; returns how many it allows.

    Without this `accept` would fail under load, where refusing a connection is meant to be cheap.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + _SPARE_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(1, soft - _SPARE_FILES))


def settle_memory() -> None:
    """Take the garbage collector off the back of connections: call it when everything is loaded.

    Each handshake makes hundreds of objects, and collections that look through the whole program every so often were an
    eighth of the server's time. Connections free themselves without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)
