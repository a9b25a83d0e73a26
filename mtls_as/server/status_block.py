"""Blocks of indices into status lists, and what is remembered of the tokens that have them.

A node leases blocks, gives the indices of one to tokens in turn, and writes down aside which token has which: as much
as it takes to know which tokens a revocation ends, and no more.
"""

import hashlib
import re
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

BLOCK_SIZE: Final = 8_192
BLOCKS_IN_LIST: Final = 16
LIST_SIZE: Final = BLOCK_SIZE * BLOCKS_IN_LIST
"""Statuses in a list: 16 KiB before compression."""
BLOCK_SECONDS: Final = 3_600.0
"""For how long a node gives indices of a block; its tokens are issued in this time."""

_NAME_BYTES: Final = 8
_RECORD: Final = struct.Struct(f">{_NAME_BYTES}s{_NAME_BYTES}sI")
_NO_NAME: Final = bytes(_NAME_BYTES)
_TOKEN_ID: Final = re.compile(r"[A-Za-z0-9_-]+\.([1-9][0-9]{0,14}|0)\.([1-9][0-9]{0,3}|0)")


class StatusIndex(NamedTuple):
    """Where the status of a token stands: at an `offset` in a block, and with that at a `place` in a list."""

    block: int
    offset: int

    @property
    def list_number(self) -> int:
        return self.block // BLOCKS_IN_LIST

    @property
    def place(self) -> int:
        """The index in the list."""
        return self.block % BLOCKS_IN_LIST * BLOCK_SIZE + self.offset

    def token_id(self, unguessable: str) -> str:
        """A `jti` that says the place: whoever revokes a token by it needs nothing else to find the place."""
        return f"{unguessable}.{self.block}.{self.offset}"

    @classmethod
    def of_token_id(cls, token_id: str) -> "StatusIndex | None":
        """The place that a `jti` says, if it is one of those."""
        match = _TOKEN_ID.fullmatch(token_id)
        if match is None or int(match[2]) >= BLOCK_SIZE:
            return None
        return cls(int(match[1]), int(match[2]))


class IssuedRecord(NamedTuple):
    """What is remembered of a token; `issued_at` and `expires_at` are whole epoch seconds."""

    client_id: str
    thumbprint: str | None
    """Of the certificate that it is bound to (`x5t#S256`)."""
    issued_at: int
    expires_at: int


def pack(records: Iterable[IssuedRecord]) -> bytes:
    """20 bytes for each: when it was issued, and short hashes of the names.

    That two names share a hash, by one chance in 2^64, would end a token too many, and never one too few.
    """
    return b"".join(
        _RECORD.pack(
            short_name(record.client_id),
            _NO_NAME if record.thumbprint is None else short_name(record.thumbprint),
            record.issued_at,
        )
        for record in records
    )


def unpack(records: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """The short names of client and certificate, and the time of issue, of each."""
    return _RECORD.iter_unpack(records)


@lru_cache(maxsize=4_096)
def short_name(name: str) -> bytes:
    """The short hash of a `client_id` or a thumbprint."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:_NAME_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusBlock:
    """A block as the storage knows it. Times are epoch seconds."""

    number: int
    leased_at: float
    """No token of which nothing is known was issued before."""
    used: int | None
    """How many indices of it were given out; None while its node may give out more, or has died."""
    records: bytes = field(repr=False)
    """Of the first tokens, in the order of their offsets, as `pack` makes them."""

    @property
    def recorded(self) -> int:
        """Of how many tokens it is known what they are."""
        return len(self.records) // _RECORD.size

    @property
    def unexplained(self) -> range:
        """The offsets that may have been given out, and of which nothing is known."""
        return range(self.recorded, BLOCK_SIZE if self.used is None else self.used)


class StatusBlockStore(Protocol):
    """The blocks of all nodes. Every method raises `StorageUnavailable`."""

    async def lease(self, *, at: float) -> int:
        """The number of a block that nobody ever had, to be used from a time in epoch seconds on."""
        ...

    async def record(self, block: int, *, first: int, records: bytes, ends_at: float, used: int | None) -> None:
        """Remember the tokens from an offset on, in place of what is known from there.

        `ends_at` is when the last token of the whole block ends. With `used` no more will follow.
        """
        ...

    async def blocks(self, numbers: range, *, without_records: Collection[int] = ()) -> tuple[StatusBlock, ...]:
        """Those of these numbers that are there; some of them as if no token were recorded."""
        ...

    async def numbers(self) -> tuple[int, ...]:
        """Of all blocks that are there."""
        ...
