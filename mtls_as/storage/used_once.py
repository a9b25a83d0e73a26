"""What may be used once: client assertions, and the like. A use is there for every node once its transaction is."""

import hashlib
from typing import Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import used_once
from mtls_as.storage.transactions import Transactions

MAX_USES: Final = 2_000_000
"""How many are remembered, some 200 MB; beyond that nothing more is let in until the first of them end."""
_BATCH: Final = 5_000
"""How many are forgotten in one transaction, so that no use waits long for it."""


@limited
class UsedOnceRepository:
    """The `ReplayStore` of a database. Every method raises `DatabaseUnavailable`.

    Nothing here moves the revision: no node keeps a use in memory.
    """

    def __init__(self, transactions: Transactions, *, max_uses: int = MAX_USES) -> None:
        self._transactions = transactions
        self._max_uses = max_uses
        self._is_full = False

    async def use(self, key: str, until: float) -> bool:
        """Note a use until a time in epoch seconds; False if it is noted already. Any key takes the same room.

        The database decides: of any number of nodes that note one key at the same time, the primary key lets one win.
        """
        if self._is_full:
            raise DatabaseUnavailable(f"more than {self._max_uses} uses are remembered, and there is room for no more")
        try:
            async with self._transactions.write_quietly() as connection:
                await connection.execute(insert(used_once).values(key_hash=_hash(key), until=until))
        except IntegrityError:
            return False
        return True

    async def prune(self, *, ended_before: float) -> None:
        """Forget uses that ended before a time in epoch seconds, and see whether there is room."""
        ended = select(used_once.c.key_hash).where(used_once.c.until < ended_before).limit(_BATCH)
        deleted = _BATCH
        while deleted == _BATCH:
            async with self._transactions.write_quietly() as connection:
                result = await connection.execute(delete(used_once).where(used_once.c.key_hash.in_(ended)))
                deleted = result.rowcount
        async with self._transactions.read() as connection:
            count = await connection.scalar(select(func.count()).select_from(used_once)) or 0
        self._is_full = count >= self._max_uses


def _hash(key: str) -> str:
    return encode_base64url(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest())
