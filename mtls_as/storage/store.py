"""The storage as a whole: what a server opens when it starts, and closes when it ends."""

import dataclasses
from collections.abc import Callable
from typing import Final

from mtls_as.storage.accepted_paths import AcceptedPathRepository
from mtls_as.storage.audit import AuditRepository
from mtls_as.storage.changes import Changes, changes_since
from mtls_as.storage.clients import ClientRepository
from mtls_as.storage.encryption import EncryptionKey
from mtls_as.storage.engine import Database
from mtls_as.storage.migrate import require_current_schema
from mtls_as.storage.opaque_tokens import OpaqueTokenRepository
from mtls_as.storage.penalties import PenaltyRepository
from mtls_as.storage.registrations import RegistrationRepository
from mtls_as.storage.revocations import RevocationRepository
from mtls_as.storage.seen_certificates import SeenCertificateRepository
from mtls_as.storage.settings import DatabaseSettings
from mtls_as.storage.signing_keys import SigningKeyRepository
from mtls_as.storage.status_blocks import StatusBlockRepository
from mtls_as.storage.transactions import Transactions
from mtls_as.storage.used_once import UsedOnceRepository

_DEFAULTS: Final = DatabaseSettings()


class Storage:
    """An open database. Use it on one event loop, and close it there."""

    def __init__(self, transactions: Transactions, encryption_key: EncryptionKey, clock: Callable[[], float]) -> None:
        self._transactions = transactions
        self.clients = ClientRepository(transactions, clock)
        self.signing_keys = SigningKeyRepository(transactions, encryption_key)
        self.accepted_paths = AcceptedPathRepository(transactions)
        self.penalties = PenaltyRepository(transactions)
        self.seen_certificates = SeenCertificateRepository(transactions)
        self.used_once = UsedOnceRepository(transactions)
        self.revocations = RevocationRepository(transactions)
        self.opaque_tokens = OpaqueTokenRepository(transactions)
        self.status_blocks = StatusBlockRepository(transactions)
        self.registrations = RegistrationRepository(transactions, clock)
        self.audit = AuditRepository(transactions, encryption_key)
        self.activity = transactions.activity

    async def revision(self) -> int:
        """A number that grows with every change, by whichever process. Raises `DatabaseUnavailable`."""
        return await self._transactions.limit.run(self._transactions.revision())

    async def changes(self, since: int) -> Changes:
        """What has changed since a revision, by whichever process. Raises `DatabaseUnavailable`."""
        return await self._transactions.limit.run(changes_since(self._transactions, since))

    async def wait_for_change(self, seconds: float) -> bool:
        """Wait for word of a change, so long at most; say whether there was one.

        Whether anything changed is still to be asked, with or without word: not every kind of database sends it, and
        some may be lost.
        """
        return await self._transactions.wait_for_change(seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._transactions.close()


def open_storage(
    url: str,
    *,
    encryption_key: EncryptionKey,
    clock: Callable[[], float],
    settings: DatabaseSettings = _DEFAULTS,
    busy_timeout: float | None = None,
    seconds: float | None = None,
) -> Storage:
    """Open the database at `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`; `clock` gives epoch seconds.

    `busy_timeout` is how many seconds a call waits for another process that writes, if not those of the settings;
    `seconds` how many it may take in all, None for as many as it takes.

    Raises `DatabaseUnavailable` unless the database is there, answers, and has the schema of this program.
    """
    if busy_timeout is not None:
        settings = dataclasses.replace(settings, lock_timeout=busy_timeout)
    database = Database.at(url, settings)
    require_current_schema(database)
    return Storage(Transactions(database, seconds=seconds), encryption_key, clock)
