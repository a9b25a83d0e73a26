"""Starting a coroutine in the caller's own step: it costs a task only if it has to wait.

Most answers need nothing that is not in memory. A task for each of them is another turn of the event loop; without a
task there is no `asyncio.current_task`, which time-outs and some libraries ask for. So one spare task is kept waiting:
it is the current task while a coroutine takes its first step, and the coroutine stays in it from its first wait on.
That is what `asyncio.eager_task_factory` of Python 3.12 does, by functions that asyncio documents for such purposes.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Coroutine, Generator
from typing import Any, Final

_enter_task: Final = asyncio.tasks._enter_task  # noqa: SLF001 - documented under "Extending"
_leave_task: Final = asyncio.tasks._leave_task  # noqa: SLF001 - documented under "Extending"


class EagerStart:
    """Starts coroutines on one event loop, from its callbacks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._spare: _Spare | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run to the end, or to the first wait, and the rest in the task that is returned. Raises what it raises."""
        spare = self._spare
        if spare is None or spare.task.done():
            spare = self._spare = _Spare(self._loop)
        _enter_task(self._loop, spare.task)
        try:
            waits_for = spare.context.run(coroutine.send, None)
        except StopIteration:
            return None
        finally:
            _leave_task(self._loop, spare.task)
        self._spare = None
        spare.take_over(coroutine, waits_for)
        return spare.task

    def close(self) -> None:
        """Let go of the spare task."""
        if self._spare is not None:
            self._spare.task.cancel()
            self._spare = None


class _Spare:
    """A task that waits for a coroutine that has begun, to go on with it."""

    __slots__ = ("_begun", "_coroutine", "_waits_for", "context", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun: asyncio.Future[None] = loop.create_future()
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._waits_for: object = None
        self.context = contextvars.copy_context()
        self.task = loop.create_task(self._go_on(), context=self.context)

    def take_over(self, coroutine: Coroutine[Any, Any, None], waits_for: object) -> None:
        """Go on with a coroutine that has yielded what it waits for."""
        self._coroutine, self._waits_for = coroutine, waits_for
        if not self._begun.done():
            self._begun.set_result(None)

    async def _go_on(self) -> None:
        await self

    def __await__(self) -> Generator[Any, None, None]:
        """Take the coroutine's place: yield what it waits for, pass on what the task is woken or ended with."""
        yield from self._begun.__await__()
        waits_for, coroutine = self._waits_for, self._coroutine
        if coroutine is None:
            return
        with contextlib.suppress(StopIteration):
            while True:
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the coroutine
                    waits_for = coroutine.throw(error)
                else:
                    waits_for = coroutine.send(None)
