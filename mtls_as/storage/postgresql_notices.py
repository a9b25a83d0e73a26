"""Hears on a connection of its own what other nodes write (LISTEN), and makes it anew when it is lost."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mtls_as.storage.errors import DatabaseUnavailable

CHANNEL: Final = "mtls_as"

_RETRY_SECONDS: Final = 1.0
_CHECK_SECONDS: Final = 15.0
"""How often a silent connection is asked whether it is still there."""
_GATHER_SECONDS: Final = 0.02
"""What is written in such a moment is told at once, so that many writes cost few looks at the database."""

_diagnostics = logging.getLogger(__name__)


class PostgreSQLNotices:
    """The notices of one database. To be used on one event loop; it begins to listen with the first wait."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        """`connect` gives a connection of the driver, or raises `DatabaseUnavailable`."""
        self._connect = connect
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> bool:
        """Whoever hears nothing must look all the same: a lost connection tells nothing."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(_GATHER_SECONDS)
        self._changed.clear()
        return True

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except DatabaseUnavailable:
                pass  # whoever polls the database says so
            except Exception:  # noqa: BLE001 # the next connection may do better
                _diagnostics.exception("notices of changes cannot be heard: an unforeseen error")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen_once(self) -> None:
        """Until the connection is lost."""
        connection = await self._connect()
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, self._hear)
            self._changed.set()  # whatever was written while nobody listened
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await lost.wait()
                if not lost.is_set():
                    await connection.execute("")
        finally:
            connection.terminate()

    def _hear(self, *_notice: object) -> None:
        self._changed.set()
