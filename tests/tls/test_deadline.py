"""The deadline of a connection: called once it is reached, however often it was put off."""

import asyncio
import gc
import weakref

import pytest

from mtls_as.tls.deadline import Deadline


@pytest.fixture
def called() -> list[float]:
    """When it was called, in seconds of the loop."""
    return []


@pytest.fixture
async def deadline(called: list[float]) -> Deadline:
    loop = asyncio.get_running_loop()
    return Deadline(loop, lambda: called.append(loop.time()))


async def test_it_is_called_once_and_not_before(deadline: Deadline, called: list[float]) -> None:
    begin = asyncio.get_running_loop().time()
    deadline.set(0.02)
    await asyncio.sleep(0.06)
    assert len(called) == 1
    assert called[0] - begin > 0.019


async def test_it_can_be_put_off(deadline: Deadline, called: list[float]) -> None:
    for _ in range(4):
        deadline.set(0.03)
        await asyncio.sleep(0.015)
    assert not called
    await asyncio.sleep(0.05)
    assert len(called) == 1


async def test_it_can_be_sooner(deadline: Deadline, called: list[float]) -> None:
    deadline.set(60)
    deadline.set(0.01)
    await asyncio.sleep(0.04)
    assert len(called) == 1


async def test_sooner_and_then_put_off(deadline: Deadline, called: list[float]) -> None:
    deadline.set(60)
    deadline.set(0.01)
    deadline.set(0.05)
    await asyncio.sleep(0.03)
    assert not called
    await asyncio.sleep(0.05)
    assert len(called) == 1


async def test_what_is_called_may_set_the_next() -> None:
    times: list[float] = []

    def again() -> None:
        times.append(0.01)
        if len(times) < 3:
            deadline.set(0.01)

    deadline = Deadline(asyncio.get_running_loop(), again)
    deadline.set(0.01)
    await asyncio.sleep(0.1)
    assert len(times) == 3


async def test_after_the_end_nothing_is_called_or_kept_alive(called: list[float]) -> None:
    """Without the garbage collector: whom to call holds its deadline, too."""

    class Holder:
        def __init__(self) -> None:
            self.deadline = Deadline(asyncio.get_running_loop(), self.reached)

        def reached(self) -> None:
            called.append(0)

    gc.disable()
    try:
        holder = Holder()
        holder.deadline.set(0.01)
        holder.deadline.end()
        holder.deadline.set(0.01)
        known = weakref.ref(holder)
        del holder
        assert known() is None
    finally:
        gc.enable()
    await asyncio.sleep(0.03)
    assert not called
