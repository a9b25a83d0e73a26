"""What goes wrong with the storage, in words for the operator. No message holds a key, a password or a statement."""

from mtls_as.server import ports
from mtls_as.server.ports import StorageUnavailable


class StorageError(Exception):
    """The storage did not do what was asked; nothing was changed."""


class DatabaseUnavailable(StorageError, StorageUnavailable):  # noqa: N818 - a kind of StorageUnavailable
    """The database cannot be used now: missing, locked, damaged, full, or its schema is not this program's."""


class DatabaseConflict(DatabaseUnavailable):
    """Another transaction was in the way, and this one is undone: it can be tried again."""


class EncryptionKeyError(StorageError, StorageUnavailable):
    """The key that private keys are encrypted with is missing, malformed, not secret, or not the right one."""


class ClientExists(StorageError, ports.ClientExists):  # noqa: N818 - it says what is the case
    """A client of this name is stored already."""


class ClientHasNoSecrets(StorageError, ports.ClientHasNoSecrets):  # noqa: N818 - it says what is the case
    """The client authenticates otherwise."""


class ClientNotFound(StorageError, ports.ClientNotFound):  # noqa: N818 - it says what is the case
    """No client of this name is stored."""


class ClientChanged(StorageError, ports.ClientChanged):  # noqa: N818 - it says what is the case
    """The client is not any longer what it was taken for."""
