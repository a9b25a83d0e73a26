"""The storage as a whole: what a server opens when it starts, and closes when it ends."""

from collections.abc import Callable

from mtls_as.storage.audit import AuditRepository
from mtls_as.storage.changes import Changes, changes_since
from mtls_as.storage.clients import ClientRepository
from mtls_as.storage.encryption import EncryptionKey
from mtls_as.storage.engine import BUSY_TIMEOUT, Database
from mtls_as.storage.migrate import require_current_schema
from mtls_as.storage.opaque_tokens import OpaqueTokenRepository
from mtls_as.storage.registrations import RegistrationRepository
from mtls_as.storage.revocations import RevocationRepository
from mtls_as.storage.seen_certificates import SeenCertificateRepository
from mtls_as.storage.signing_keys import SigningKeyRepository
from mtls_as.storage.transactions import Transactions
from mtls_as.storage.used_once import UsedOnceRepository


class Storage:
    """An open database. Use it on one event loop, and close it there."""

    def __init__(self, transactions: Transactions, encryption_key: EncryptionKey, clock: Callable[[], float]) -> None:
        self._transactions = transactions
        self.clients = ClientRepository(transactions, clock)
        self.signing_keys = SigningKeyRepository(transactions, encryption_key)
        self.seen_certificates = SeenCertificateRepository(transactions)
        self.used_once = UsedOnceRepository(transactions)
        self.revocations = RevocationRepository(transactions)
        self.opaque_tokens = OpaqueTokenRepository(transactions)
        self.registrations = RegistrationRepository(transactions, clock)
        self.audit = AuditRepository(transactions, encryption_key)

    async def revision(self) -> int:
        """A number that grows with every change, by whichever process. Raises `DatabaseUnavailable`."""
        return await self._transactions.limit.run(self._transactions.revision())

    async def changes(self, since: int) -> Changes:
        """What has changed since a revision, by whichever process. Raises `DatabaseUnavailable`."""
        return await self._transactions.limit.run(changes_since(self._transactions, since))

    async def close(self) -> None:
        """Close every connection."""
        await self._transactions.close()


def open_storage(
    url: str,
    *,
    encryption_key: EncryptionKey,
    clock: Callable[[], float],
    busy_timeout: float = BUSY_TIMEOUT,
    seconds: float | None = None,
) -> Storage:
    """Open the database at `sqlite:///FILE`; `clock` gives seconds since the epoch.

    `busy_timeout` is how many seconds a call waits for another process that writes, `seconds` how many it may take in
    all; None for as many as it takes.

    Raises `DatabaseUnavailable` unless the database is there, answers, and has the schema of this program.
    """
    database = Database.at(url, busy_timeout=busy_timeout)
    require_current_schema(database)
    return Storage(Transactions(database, seconds=seconds), encryption_key, clock)
