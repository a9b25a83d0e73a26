"""Where the server remembers: SQLAlchemy Core statements behind the ports of `mtls_as.server`."""

from mtls_as.storage.backup import BackupImpossible
from mtls_as.storage.encryption import ENVIRONMENT_VARIABLE, EncryptionKey, create_key_file, read_encryption_key
from mtls_as.storage.engine import Database
from mtls_as.storage.errors import (
    ClientExists,
    ClientHasNoSecrets,
    ClientNotFound,
    DatabaseUnavailable,
    EncryptionKeyError,
    StorageError,
)
from mtls_as.storage.migrate import current, downgrade, upgrade
from mtls_as.storage.store import Storage, open_storage

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "BackupImpossible",
    "ClientExists",
    "ClientHasNoSecrets",
    "ClientNotFound",
    "Database",
    "DatabaseUnavailable",
    "EncryptionKey",
    "EncryptionKeyError",
    "Storage",
    "StorageError",
    "create_key_file",
    "current",
    "downgrade",
    "open_storage",
    "read_encryption_key",
    "upgrade",
]
