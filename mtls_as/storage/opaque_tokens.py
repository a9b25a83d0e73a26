"""Opaque access tokens: their claims, by the hash of the token. Whoever reads the database alone has no token."""

import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import delete, insert, select

from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import opaque_tokens
from mtls_as.storage.transactions import Transactions

_BATCH: Final = 5_000
"""How many are forgotten in one transaction, so that no new token waits long for it."""


@limited
class OpaqueTokenRepository:
    """The `OpaqueTokenStore` of a database. Every method raises `DatabaseUnavailable`.

    Nothing here moves the revision: no node keeps a token in memory.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, token_hash: str, claims: Mapping[str, object], *, expires_at: float) -> None:
        """Store a new token."""
        values = {"token_hash": token_hash, "claims": json.dumps(claims), "expires_at": expires_at}
        async with self._transactions.write_quietly() as connection:
            await connection.execute(insert(opaque_tokens).values(values))

    async def find(self, token_hash: str) -> Mapping[str, object] | None:
        """The claims of a token, or None if there is none of this hash."""
        statement = select(opaque_tokens.c.claims).where(opaque_tokens.c.token_hash == token_hash)
        async with self._transactions.read() as connection:
            text = await connection.scalar(statement)
        if text is None:
            return None
        claims: dict[str, object] = json.loads(text)
        return claims

    async def prune(self, *, ended_before: float) -> None:
        """Forget tokens that ended before this time."""
        ended = select(opaque_tokens.c.token_hash).where(opaque_tokens.c.expires_at < ended_before).limit(_BATCH)
        deleted = _BATCH
        while deleted == _BATCH:
            async with self._transactions.write_quietly() as connection:
                result = await connection.execute(delete(opaque_tokens).where(opaque_tokens.c.token_hash.in_(ended)))
                deleted = result.rowcount
