"""Gives tokens their indices in status lists: from memory, with what they are written down in the background."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, Confirmation
from mtls_as.rfc.status_list import StatusReference
from mtls_as.server.ports import Clock, StorageUnavailable
from mtls_as.server.status_block import (
    BLOCK_SECONDS,
    BLOCK_SIZE,
    IssuedRecord,
    StatusBlockStore,
    StatusIndex,
    pack,
)

FLUSH_SECONDS: Final = 1.0
_LAST_FLUSH_SECONDS: Final = 5.0
_HALF: Final = 0.5

_diagnostics = logging.getLogger(__name__)


@dataclass(slots=True)
class _Block:
    """A block of ours. `pending` are tokens that the storage does not know."""

    number: int
    leased_at: float
    recorded: int = 0
    pending: list[IssuedRecord] = field(default_factory=list)
    ends_at: float = 0.0

    @property
    def used(self) -> int:
        return self.recorded + len(self.pending)


class StatusIndices:
    """The indices that one process gives out. To be used on one event loop.

    `broad_changes` counts the revocations of more than one token that this process has heard of. After each, the blocks
    in use are closed, which says of which indices they speak, and tokens get those of new blocks: so that whoever makes
    lists may take what is not explained for revoked, and hits nobody but the tokens of a process that has died.
    """

    def __init__(self, store: StatusBlockStore, *, broad_changes: Callable[[], int], clock: Clock) -> None:
        self._store = store
        self._broad_changes = broad_changes
        self._seen_changes = 0
        self._clock = clock
        self._current: _Block | None = None
        self._spare: _Block | None = None
        self._closing: list[_Block] = []
        self._leasing = asyncio.Lock()
        self._writing = asyncio.Lock()

    async def take(self, record: IssuedRecord) -> StatusIndex:
        """The index of a new token. In the steady state nothing is waited for.

        Raises `OAuthError` `temporarily_unavailable`: no token goes out that could not be revoked.
        """
        block = self._current
        if block is None or not self._is_usable(block):
            block = await self._next()
        offset = block.used
        block.pending.append(record)
        block.ends_at = max(block.ends_at, record.expires_at)
        if record.issued_at < block.leased_at:
            # Of a token that is lost it must at least be known that it is no older than its block.
            try:
                await self._record(block, used=None)
            except StorageUnavailable as error:
                raise _unavailable(error) from None
        return StatusIndex(block.number, offset)

    @contextlib.asynccontextmanager
    async def recording(self, *, every: float = FLUSH_SECONDS) -> AsyncIterator[None]:
        """Write down what was given out every few moments, and at the end all of it."""
        task = asyncio.create_task(self._follow(every))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with contextlib.suppress(TimeoutError, StorageUnavailable):
                async with asyncio.timeout(_LAST_FLUSH_SECONDS):
                    await self.close()

    async def close(self) -> None:
        """Give no more out of the blocks in use, and write down what was. Raises `StorageUnavailable`."""
        self._retire()
        await self.flush()

    async def flush(self) -> None:
        """Write down what was given out so far. Raises `StorageUnavailable`: then it is kept for the next time."""
        for block in list(self._closing):
            await self._record(block, used=block.used)
            self._closing.remove(block)
        if self._current is not None and self._current.pending:
            await self._record(self._current, used=None)

    async def upkeep(self) -> None:
        """`flush`, with new blocks after a broad revocation, and before one runs out. Raises `StorageUnavailable`."""
        changes = self._broad_changes()
        if changes != self._seen_changes:
            if self._current is not None:
                fresh = await self._lease()
                await asyncio.sleep(min(1.0, max(0.0, fresh.leased_at - self._clock())))
                self._retire()
                self._current = fresh
            self._seen_changes = changes
        await self.flush()
        if self._current is not None and self._spare is None and self._is_half_used(self._current):
            self._spare = await self._lease()

    async def _follow(self, every: float) -> None:
        is_failing = False
        while True:
            await asyncio.sleep(every)
            try:
                await self.upkeep()
                is_failing = False
            except StorageUnavailable as error:
                if not is_failing:
                    _diagnostics.warning("the indices of tokens cannot be written down now, and are kept: %s", error)
                is_failing = True
            except Exception:  # noqa: BLE001 # whatever happens here, later tokens are to be written down all the same
                _diagnostics.exception("the indices of tokens could not be written down")

    async def _next(self) -> _Block:
        async with self._leasing:
            if self._current is not None and self._is_usable(self._current):
                return self._current  # somebody else has waited for it
            spare, self._spare = self._spare, None
            if spare is None or not self._is_usable(spare):
                try:
                    fresh = await self._lease()
                except StorageUnavailable as error:
                    self._spare = spare
                    raise _unavailable(error) from None
                self._spare, spare = spare, fresh
                self._retire()
            elif self._current is not None:
                self._closing.append(self._current)
            self._current = spare
            return spare

    def _retire(self) -> None:
        self._closing += [block for block in (self._current, self._spare) if block is not None]
        self._current = self._spare = None

    async def _lease(self) -> _Block:
        # Tokens say when they were issued in whole seconds. From the next one on, none seems older than its block.
        at = float(int(self._clock()) + 1)
        return _Block(await self._store.lease(at=at), leased_at=at)

    async def _record(self, block: _Block, *, used: int | None) -> None:
        async with self._writing:
            pending = tuple(block.pending)
            await self._store.record(
                block.number, first=block.recorded, records=pack(pending), ends_at=block.ends_at, used=used
            )
            del block.pending[: len(pending)]
            block.recorded += len(pending)

    def _is_usable(self, block: _Block) -> bool:
        return block.used < BLOCK_SIZE and -1 <= self._clock() - block.leased_at < BLOCK_SECONDS

    def _is_half_used(self, block: _Block) -> bool:
        return block.used > BLOCK_SIZE * _HALF or self._clock() - block.leased_at > BLOCK_SECONDS * _HALF


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPlaces:
    """What the tokens of one issuer say of their status: their places in the lists below `url`."""

    indices: StatusIndices
    url: str

    async def take(
        self, token_id: str, client_id: str, confirmation: Confirmation | None, *, issued_at: int, expires_at: int
    ) -> tuple[str, dict[str, object]]:
        """The `jti` of a new token, which says its place, and its further claims. Raises `OAuthError`."""
        thumbprint = confirmation.thumbprint if isinstance(confirmation, CertificateBinding) else None
        index = await self.indices.take(IssuedRecord(client_id, thumbprint, issued_at, expires_at))
        reference = StatusReference(f"{self.url}/{index.list_number}", index.place)
        return index.token_id(token_id), {"status": reference.claim()}


def _unavailable(error: StorageUnavailable) -> OAuthError:
    detail = f"the index of a token in its status list: {error}"
    return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, detail)
