"""Certificates that authenticated a client. Nothing here moves the revision: no node has to notice a use."""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Row, bindparam, case, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.server.certificate_use import CertificateUse, SeenCertificate
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import seen_certificates as seen
from mtls_as.storage.transactions import Transactions

_STATEMENT_ROWS: Final = 200
"""Uses for each statement, well below the number of parameters that any database takes."""


@limited
class SeenCertificateRepository:
    """The certificates that were used, one row for each certificate and client. All raise `DatabaseUnavailable`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def record(self, uses: Sequence[CertificateUse]) -> None:
        """Add uses to those that are remembered: all of them, or none."""
        once = _merged(uses)
        async with self._transactions.write_quietly(turn=seen.name) as connection:
            for start in range(0, len(once), _STATEMENT_ROWS):
                await _record(connection, once[start : start + _STATEMENT_ROWS])

    async def list(self) -> tuple[SeenCertificate, ...]:
        """All of them, the soonest to end first."""
        order = (seen.c.not_after, seen.c.client_id, seen.c.x5t_s256)
        async with self._transactions.read() as connection:
            rows = (await connection.execute(select(seen, _replaced().label("replaced")).order_by(*order))).all()
        return tuple(SeenCertificate(use=_use(row), replaced=row.replaced) for row in rows)

    async def last_uses(self, x5t_s256: str) -> dict[str, CertificateUse]:
        """What is remembered of one certificate, by client."""
        async with self._transactions.read() as connection:
            rows = (await connection.execute(select(seen).where(seen.c.x5t_s256 == x5t_s256))).all()
        return {row.client_id: _use(row) for row in rows}

    async def soonest_by_client(self, limit: int) -> tuple[tuple[str, float], ...]:
        """Clients with the time at which the first of their certificates ends, the most urgent first.

        A certificate that was replaced does not count.
        """
        soonest = func.min(seen.c.not_after)
        statement = select(seen.c.client_id, soonest).where(~_replaced()).group_by(seen.c.client_id)
        async with self._transactions.read() as connection:
            rows = (await connection.execute(statement.order_by(soonest, seen.c.client_id).limit(limit))).all()
        return tuple((row[0], row[1]) for row in rows)

    async def prune(self, *, ended_before: float, replaced_before: float, keep: int) -> int:
        """Forget certificates that ended before a time, or before another and are replaced, and what is too much.

        That is, beyond `keep`, the least recently used. Returns how many it forgot.
        """
        replaced = (seen.c.not_after < replaced_before) & _replaced()
        async with self._transactions.write_quietly(turn=seen.name) as connection:
            ended = await connection.execute(delete(seen).where((seen.c.not_after < ended_before) | replaced))
            too_many = (await connection.scalar(select(func.count()).select_from(seen)) or 0) - keep
            if too_many <= 0:
                return ended.rowcount
            oldest = select(seen.c.last_used_at).order_by(seen.c.last_used_at).offset(too_many - 1).limit(1)
            crowded = await connection.execute(delete(seen).where(seen.c.last_used_at <= oldest.scalar_subquery()))
            return ended.rowcount + crowded.rowcount


async def _record(connection: AsyncConnection, uses: Sequence[CertificateUse]) -> None:
    thumbprints = {use.x5t_s256 for use in uses}
    known = select(seen.c.x5t_s256, seen.c.client_id).where(seen.c.x5t_s256.in_(thumbprints))
    there = {(row[0], row[1]) for row in await connection.execute(known)}
    new = [use for use in uses if (use.x5t_s256, use.client_id) not in there]
    again = [use for use in uses if (use.x5t_s256, use.client_id) in there]
    if new:
        await connection.execute(insert(seen), [_columns(use) for use in new])
    if again:
        await connection.execute(
            _UPDATE, [{f"new_{name}": value for name, value in _columns(use).items()} for use in again]
        )


# Workers write in any order: what one of them knows must not set the last use back.
_UPDATE: Final = (
    update(seen)
    .where(seen.c.x5t_s256 == bindparam("new_x5t_s256"), seen.c.client_id == bindparam("new_client_id"))
    .values(
        authentication_method=bindparam("new_authentication_method"),
        trust=bindparam("new_trust"),
        first_used_at=case(
            (seen.c.first_used_at < bindparam("new_first_used_at"), seen.c.first_used_at),
            else_=bindparam("new_first_used_at"),
        ),
        last_used_at=case(
            (seen.c.last_used_at > bindparam("new_last_used_at"), seen.c.last_used_at),
            else_=bindparam("new_last_used_at"),
        ),
        count=seen.c.count + bindparam("new_count"),
    )
)


def _replaced() -> ColumnElement[bool]:
    """The client came with one that ends later, after this one was used for the last time.

    Several instances of a client may each have their own: one that is still in use is not replaced by a neighbour's.
    """
    later = seen.alias("later")
    return exists().where(
        later.c.client_id == seen.c.client_id,
        later.c.not_after > seen.c.not_after,
        later.c.first_used_at > seen.c.last_used_at,
    )


def _merged(uses: Iterable[CertificateUse]) -> list[CertificateUse]:
    merged: dict[tuple[str, str], CertificateUse] = {}
    for use in uses:
        key = (use.x5t_s256, use.client_id)
        merged[key] = merged[key].and_then(use) if key in merged else use
    return list(merged.values())


def _columns(use: CertificateUse) -> dict[str, object]:
    return {column.name: getattr(use, column.name) for column in seen.columns}


def _use(row: Row[tuple[object, ...]]) -> CertificateUse:
    return CertificateUse(**{column.name: getattr(row, column.name) for column in seen.columns})
