"""A bound on the time that a call of the storage takes, whatever the database and its driver do.

A driver that is told to stop may have to wait for the database to do so, and a database that hangs would hold up the
request after all. So each call is a task of its own, which is left to end by itself when its time is over.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from mtls_as.storage.errors import DatabaseUnavailable

_LEAVE_SECONDS: Final = 2.0
"""How long the end of a storage waits for what was left behind."""

_T = TypeVar("_T")
_Repository = TypeVar("_Repository")


class TimeLimit:
    """Gives each call so many seconds; None for as long as it takes, as commands do."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._left: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of a call. Raises what it raises, and `DatabaseUnavailable` when its time is over.

        Whether it took effect is not known then.
        """
        if self._seconds is None:
            return await work
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task}, timeout=self._seconds)
        finally:
            if not task.done():
                task.cancel()
                self._left.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            raise DatabaseUnavailable(f"the database does not answer within {self._seconds:g} seconds")
        return task.result()

    async def wait_for_the_rest(self) -> None:
        """Give what was left behind a moment to end."""
        if self._left:
            await asyncio.wait(self._left, timeout=_LEAVE_SECONDS)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # has been told as a time-out


class _Limited(Protocol):
    limit: TimeLimit

    async def repeated(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T: ...


def limited(repository: type[_Repository]) -> type[_Repository]:
    """Let every public coroutine method of a repository keep to the time limit of its `_transactions`.

    A method that was undone since another transaction was in the way begins anew.
    """
    for name, method in list(vars(repository).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(repository, name, _limited(method))
    return repository


def _limited(method: Callable[..., Coroutine[Any, Any, _T]]) -> Callable[..., Awaitable[_T]]:
    @functools.wraps(method)
    async def call(self: Any, *arguments: object, **named: object) -> _T:  # noqa: ANN401 - any repository
        transactions: _Limited = self._transactions
        work = functools.partial(method, self, *arguments, **named)
        return await transactions.limit.run(transactions.repeated(work))

    return call
