"""Blocks of indices into status lists, and which tokens have them. Nothing here moves the revision."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, func, insert, select, update

from mtls_as.server.revocation import LONGEST_LIFE
from mtls_as.server.status_block import BLOCK_SECONDS, StatusBlock
from mtls_as.storage.errors import DatabaseUnavailable
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import status_blocks, status_records
from mtls_as.storage.transactions import Transactions

_OPEN_LIFE: Final = BLOCK_SECONDS + LONGEST_LIFE
"""Seconds after which no token of a block lives on, whatever happened to its node."""
_LEEWAY: Final = 3_600.0
"""What clocks of nodes may differ by."""


_HIGHEST: Final = select(func.max(status_blocks.c.number))


@limited
class StatusBlockRepository:
    """The `StatusBlockStore` of a database. Every method raises `DatabaseUnavailable`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def lease(self, *, at: float) -> int:
        """A new block. Its number never comes twice: the highest one is not forgotten, and nodes take turns."""
        async with self._transactions.write_quietly(turn="status blocks") as connection:
            highest = await connection.scalar(_HIGHEST)
            number = 0 if highest is None else int(highest) + 1
            values = {"number": number, "leased_at": at, "used": None, "ends_at": at + _OPEN_LIFE}
            await connection.execute(insert(status_blocks).values(values))
        return number

    async def record(self, block: int, *, first: int, records: bytes, ends_at: float, used: int | None) -> None:
        """Store what follows from an offset on; with `used` the block ends when its last token does."""
        async with self._transactions.write_quietly() as connection:
            if used is not None:
                values = {"used": used, "ends_at": ends_at}
                result = await connection.execute(
                    update(status_blocks).where(status_blocks.c.number == block).values(values)
                )
                if result.rowcount != 1:
                    raise DatabaseUnavailable(f"the block {block} of status indices is gone")
            await connection.execute(
                delete(status_records).where(status_records.c.block == block, status_records.c.first >= first)
            )
            if records:
                row = {"block": block, "first": first, "records": records}
                await connection.execute(insert(status_records).values(row))

    async def blocks(self, numbers: range, *, without_records: Collection[int] = ()) -> tuple[StatusBlock, ...]:
        """Those that are there, with what is known of their tokens, unless that is not wanted."""
        chosen = status_blocks.c.number.between(numbers.start, numbers.stop - 1)
        parts = select(status_records).where(status_records.c.block.in_(set(numbers).difference(without_records)))
        async with self._transactions.read() as connection:
            found = (
                await connection.execute(select(status_blocks).where(chosen).order_by(status_blocks.c.number))
            ).all()
            rows = (await connection.execute(parts.order_by(status_records.c.block, status_records.c.first))).all()
        known: defaultdict[int, list[bytes]] = defaultdict(list)
        for row in rows:
            known[row.block].append(row.records)
        return tuple(
            StatusBlock(number=row.number, leased_at=row.leased_at, used=row.used, records=b"".join(known[row.number]))
            for row in found
        )

    async def numbers(self) -> tuple[int, ...]:
        """Of all blocks."""
        async with self._transactions.read() as connection:
            return tuple(
                (await connection.scalars(select(status_blocks.c.number).order_by(status_blocks.c.number))).all()
            )

    async def prune(self, *, ended_before: float) -> None:
        """Forget blocks whose last token ended before this time."""
        ended = status_blocks.c.ends_at < ended_before - _LEEWAY
        async with self._transactions.write_quietly() as connection:
            highest = await connection.scalar(_HIGHEST)
            if highest is not None:
                await connection.execute(delete(status_blocks).where(ended, status_blocks.c.number < highest))
