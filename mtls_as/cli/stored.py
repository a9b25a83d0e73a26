"""The storage of a configuration, opened for the length of one command."""

import contextlib
import time
from collections.abc import AsyncIterator

from mtls_as.config import Settings
from mtls_as.storage import Storage, open_storage, read_encryption_key


@contextlib.asynccontextmanager
async def opened_storage(settings: Settings) -> AsyncIterator[Storage]:
    """Open the database and close it again. Raises `StorageError`."""
    key = read_encryption_key(settings.storage.encryption_key_file)
    url, database = settings.storage.url, settings.storage.database
    storage = open_storage(url, encryption_key=key, clock=time.time, settings=database)
    try:
        yield storage
    finally:
        await storage.close()
