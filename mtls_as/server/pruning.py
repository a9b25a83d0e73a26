"""Forgets what has ended, in the background."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Final, Protocol

from mtls_as.server.ports import Clock, StorageUnavailable

PRUNE_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0

_diagnostics = logging.getLogger(__name__)


class Prunable(Protocol):
    """A store of things that end."""

    async def prune(self, *, ended_before: float) -> None:
        """Forget what ended before a time in epoch seconds. Raises `StorageUnavailable`."""
        ...


@contextlib.asynccontextmanager
async def pruning(stores: Iterable[Prunable], *, clock: Clock, every: float = PRUNE_SECONDS) -> AsyncIterator[None]:
    """Prune these stores every so many seconds, and once at the beginning. What is under way at the end is ended."""
    stop = asyncio.Event()
    task = asyncio.create_task(_prune_until(stop, tuple(stores), clock, every))
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(task, _END_SECONDS)


async def prune_all(stores: Iterable[Prunable], *, at: float) -> None:
    """Prune each of these stores once. What goes wrong is logged, and keeps none of the others from its turn."""
    for store in stores:
        try:
            await store.prune(ended_before=at)
        except StorageUnavailable as error:
            _diagnostics.warning("what has ended cannot be forgotten now: %s", error)
        except Exception:  # noqa: BLE001 # whatever happens here, the next time may be better
            _diagnostics.exception("what has ended could not be forgotten")


async def _prune_until(stop: asyncio.Event, stores: tuple[Prunable, ...], clock: Clock, every: float) -> None:
    while not stop.is_set():
        await prune_all(stores, at=clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await stop.wait()
