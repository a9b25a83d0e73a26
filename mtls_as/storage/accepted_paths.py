"""Verified paths of certificates that may have live tokens. Nothing here moves the revision."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, or_, select, tuple_

from mtls_as.server.accepted_path import StoredPath
from mtls_as.server.revocation import LONGEST_LIFE
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import accepted_paths
from mtls_as.storage.transactions import Transactions

FORGET_AFTER: Final = 2 * LONGEST_LIFE
"""Seconds after which no token of a path that was not used again lives on, by far."""


@limited
class AcceptedPathRepository:
    """The `AcceptedPathStore` of a database. Every method raises `DatabaseUnavailable`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def record(self, paths: Sequence[StoredPath]) -> None:
        """Store these, in place of what is there of the same certificates."""
        if not paths:
            return
        rows = [{column.name: getattr(path, column.name) for column in accepted_paths.columns} for path in paths]
        key = tuple_(accepted_paths.c.trust, accepted_paths.c.x5t_s256)
        async with self._transactions.write_quietly(turn=accepted_paths.name) as connection:
            names = [(path.trust, path.x5t_s256) for path in paths]
            await connection.execute(delete(accepted_paths).where(key.in_(names)))
            await connection.execute(insert(accepted_paths), rows)

    async def stored_since(
        self, trust: str, since: float, *, before: StoredPath | None, limit: int
    ) -> tuple[StoredPath, ...]:
        """Those of a domain that were stored from a time on, the latest first; the next ones after `before`."""
        stored_at, thumbprint = accepted_paths.c.stored_at, accepted_paths.c.x5t_s256
        statement = select(accepted_paths).where(accepted_paths.c.trust == trust, stored_at >= since)
        if before is not None:
            same = (stored_at == before.stored_at) & (thumbprint < before.x5t_s256)
            statement = statement.where(or_(stored_at < before.stored_at, same))
        statement = statement.order_by(stored_at.desc(), thumbprint.desc()).limit(limit)
        async with self._transactions.read() as connection:
            rows = (await connection.execute(statement)).all()
        return tuple(
            StoredPath(
                trust=row.trust,
                x5t_s256=row.x5t_s256,
                path=row.path,
                last_used_at=row.last_used_at,
                stored_at=row.stored_at,
            )
            for row in rows
        )

    async def prune(self, *, ended_before: float) -> None:
        """Forget paths that were not stored again for so long that none of their tokens lives at this time."""
        ended = accepted_paths.c.stored_at < ended_before - FORGET_AFTER
        async with self._transactions.write_quietly() as connection:
            await connection.execute(delete(accepted_paths).where(ended))
