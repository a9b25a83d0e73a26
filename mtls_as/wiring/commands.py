"""What a command did, recorded in the audit trail like what a server does."""

import os
import socket
import time
from collections.abc import Mapping

from mtls_as.observability.audit_trail import entry_maker
from mtls_as.storage import Storage


async def record_command(storage: Storage, members: Mapping[str, object]) -> None:
    """Record a command with these members; at once, since nothing runs on that could do it later.

    Raises `StorageError`.
    """
    make = entry_maker(socket.gethostname(), os.getpid())
    await storage.audit.append([make(time.time(), {"event": "command", **members})])
