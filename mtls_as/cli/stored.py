"""The storage of a configuration, opened for the length of one command, and what the command did noted there."""

import contextlib
import os
import pwd
import time
from collections.abc import AsyncIterator
from typing import Final

import click

from mtls_as.config import Settings
from mtls_as.storage import Storage, open_storage, read_encryption_key

_NOTED: Final = frozenset(
    {"client_id", "algorithm", "now", "leaked", "label", "name", "file", "thumbprint", "token_id", "before", "scope"}
)
"""The parameters of commands that are noted: names, and nothing that might be a secret."""


@contextlib.asynccontextmanager
async def opened_storage(settings: Settings) -> AsyncIterator[Storage]:
    """Open the database and close it again. A command that changed something is recorded in the audit trail.

    Raises `StorageError`, also if it changed something and that cannot be recorded.
    """
    key = read_encryption_key(settings.storage.encryption_key_file)
    url, database = settings.storage.url, settings.storage.database
    storage = open_storage(url, encryption_key=key, clock=time.time, settings=database)
    try:
        yield storage
        if storage.activity.writes and settings.audit.enabled:
            await _record_command(storage)
    finally:
        await storage.close()


async def _record_command(storage: Storage) -> None:
    from mtls_as.wiring.commands import record_command

    context = click.get_current_context(silent=True)
    members: dict[str, object] = {"user": _user()}
    if context is not None:
        members["command"] = context.command_path.partition(" ")[2]
        members |= {name: value for name, value in context.params.items() if name in _NOTED and value}
    await record_command(storage, members)


def _user() -> str:
    """Whom the operating system runs this command for."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
