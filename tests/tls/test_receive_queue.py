"""The queue behind ASGI `receive`: bounded, and neither side can hang the other."""

import asyncio
from typing import Any

from mtls_as.tls.receive_queue import ReceiveQueue

GONE = {"type": "http.disconnect"}


def body(number: int) -> dict[str, Any]:
    return {"type": "http.request", "body": bytes([number]), "more_body": True}


def queue(*, limit: int = 2, waits: bool = True) -> ReceiveQueue:
    return ReceiveQueue(limit=limit, waits=waits, gone=GONE)


async def test_events_come_in_order() -> None:
    """First in, first out."""
    events = queue(limit=10)
    for number in range(5):
        await events(body(number))
    assert [(await events.get())["body"][0] for _ in range(5)] == list(range(5))


async def test_a_full_queue_waits_for_its_reader() -> None:
    """`put` returns when there is room again."""
    events = queue()
    await events(body(0))
    putting = asyncio.ensure_future(events(body(1)))
    await asyncio.sleep(0)
    assert not putting.done()
    await events.get()
    await putting


async def test_a_reader_waits_for_an_event() -> None:
    """`get` returns when there is something; a cancelled one takes nothing away."""
    events = queue()
    getting = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    getting.cancel()
    await asyncio.wait([getting])
    getting = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    await events(body(7))
    assert await getting == body(7)


async def test_the_end_of_the_application_frees_its_writer() -> None:
    """Hypercorn would wait for ever to put into the queue of an application that is over."""
    events = queue()
    await events(body(0))
    putting = asyncio.ensure_future(events(body(1)))
    await asyncio.sleep(0)
    events.end()
    await putting
    await asyncio.wait_for(events(body(2)), 1)


async def test_the_end_of_the_connection_frees_its_writer() -> None:
    """What was put stays readable; then the disconnect, again and again."""
    events = queue()
    await events(body(0))
    putting = asyncio.ensure_future(events(body(1)))
    await asyncio.sleep(0)
    events.disconnect()
    await putting
    await events(body(2))  # too late: dropped
    assert [await events.get() for _ in range(4)] == [body(0), body(1), GONE, GONE]


async def test_a_disconnect_wakes_a_waiting_reader() -> None:
    """Also when it comes as Hypercorn's event, with members of its own."""
    events = queue()
    getting = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    await events({"type": "websocket.disconnect", "code": 1000})
    assert await getting == {"type": "websocket.disconnect", "code": 1000}


async def test_credit_is_given_back_when_an_event_is_read() -> None:
    """Without waiting, the order of events and actions decides."""
    events, given = queue(waits=False), []
    for number in range(4):
        await events(body(number))
        events.on_read(lambda number=number: given.append(number))
    assert given == []
    await events.get()
    await events.get()
    assert given == [0, 1]
    events.end()
    assert given == [0, 1, 2, 3]
    events.on_read(lambda: given.append(4))
    assert given[-1] == 4
