"""Clients of every kind that the project has, each calling a resource server over and over, one call at a time."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from mtls_as.client import MutualTLSAuth, TokenSource
from mtls_as.client import aiohttp as by_aiohttp
from mtls_as.client import grpc as by_grpc
from mtls_as.client import grpc_aio as by_grpc_aio
from mtls_as.client import requests as by_requests

SCOPE = "reports:read"
PAUSE = 0.03
METHOD = "/example.Reports/List"


@dataclass(frozen=True)
class Target:
    """What is called: a URL by HTTP, and `host:port` by gRPC."""

    origin: str
    grpc: str


@dataclass
class Caller:
    """One client, and what became of its calls."""

    name: str
    tokens: TokenSource
    calls: int = 0
    failures: list[str] = field(default_factory=list)

    def note(self, outcome: object) -> None:
        self.calls += 1
        if outcome != "reports":
            self.failures.append(f"{self.name}: {outcome}")


@dataclass
class Load:
    """The clients at work."""

    callers: list[Caller]
    end: threading.Event = field(default_factory=threading.Event)

    def calls(self) -> int:
        return sum(caller.calls for caller in self.callers)

    def failures(self) -> list[str]:
        return [failure for caller in self.callers for failure in caller.failures]


def httpx_client(caller: Caller, target: Target, load: Load) -> None:
    with MutualTLSAuth.using(caller.tokens, scope=SCOPE).client(headers={"x-client": caller.name}, timeout=20) as http:
        repeat(caller, load, lambda: http.get(f"{target.origin}/reports").text)


def requests_session(caller: Caller, target: Target, load: Load) -> None:
    with by_requests.session(caller.tokens, scope=SCOPE) as http:
        http.headers["x-client"] = caller.name
        repeat(caller, load, lambda: http.get(f"{target.origin}/reports", timeout=20).text)


def grpc_channel(caller: Caller, target: Target, load: Load) -> None:
    with by_grpc.secure_channel(target.grpc, caller.tokens, scope=SCOPE) as channel:
        call = channel.unary_unary(METHOD)
        repeat(caller, load, lambda: call(b"", metadata=[("x-client", caller.name)], timeout=20).decode())


async def httpx_async_client(caller: Caller, target: Target, load: Load) -> None:
    auth = MutualTLSAuth.using(caller.tokens, scope=SCOPE)
    async with auth.async_client(headers={"x-client": caller.name}, timeout=20) as http:

        async def call() -> str:
            return (await http.get(f"{target.origin}/reports")).text

        await repeat_async(caller, load, call)


async def aiohttp_session(caller: Caller, target: Target, load: Load) -> None:
    headers = {"x-client": caller.name}
    async with by_aiohttp.session(caller.tokens, target.origin, scope=SCOPE, headers=headers) as http:

        async def call() -> str:
            async with http.get(f"{target.origin}/reports") as answer:
                return await answer.text()

        await repeat_async(caller, load, call)


async def grpc_aio_channel(caller: Caller, target: Target, load: Load) -> None:
    async with by_grpc_aio.secure_channel(target.grpc, caller.tokens, scope=SCOPE) as channel:
        method = channel.unary_unary(METHOD)

        async def call() -> str:
            answer: bytes = await method(b"", metadata=[("x-client", caller.name)], timeout=20)
            return answer.decode()

        await repeat_async(caller, load, call)


BLOCKING: tuple[Callable[[Caller, Target, Load], None], ...] = (httpx_client, requests_session, grpc_channel)
ASYNCHRONOUS: tuple[Callable[[Caller, Target, Load], Coroutine[Any, Any, None]], ...] = (
    httpx_async_client,
    aiohttp_session,
    grpc_aio_channel,
)


def repeat(caller: Caller, load: Load, call: Callable[[], str]) -> None:
    """Until the load ends. What fails is noted, and not tried again by the caller."""
    while not load.end.is_set():
        try:
            caller.note(call())
        except Exception as error:  # noqa: BLE001 # whatever it is, the caller would see it
            caller.note(explain(error))
        time.sleep(PAUSE)


async def repeat_async(caller: Caller, load: Load, call: Callable[[], Coroutine[Any, Any, str]]) -> None:
    """The same for an asynchronous client."""
    while not load.end.is_set():
        try:
            caller.note(await call())
        except Exception as error:  # noqa: BLE001 # as above
            caller.note(explain(error))
        await asyncio.sleep(PAUSE)


def explain(error: Exception) -> str:
    """gRPC's errors print many lines."""
    if isinstance(error, grpc.RpcError):
        return f"{error.code()} {error.details()}"
    return repr(error)


@contextlib.contextmanager
def calling(target: Target, tokens: Callable[[], TokenSource], *, of_each: int) -> Iterator[Load]:
    """So many clients of each kind, each with tokens of its own, until the block ends."""
    load = Load([])
    threads = []
    asynchronous = []
    for index in range(of_each):
        for kind in BLOCKING:
            load.callers.append(caller := Caller(f"{kind.__name__}-{index}", tokens()))
            threads.append(threading.Thread(target=kind, args=(caller, target, load), name=caller.name))
        for coroutine in ASYNCHRONOUS:
            load.callers.append(caller := Caller(f"{coroutine.__name__}-{index}", tokens()))
            asynchronous.append((coroutine, caller))

    async def all_asynchronous() -> None:
        await asyncio.gather(*(work(caller, target, load) for work, caller in asynchronous))
        await asyncio.sleep(0.1)  # TLS says goodbye

    threads.append(threading.Thread(target=lambda: asyncio.run(all_asynchronous()), name="asynchronous"))
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.end.set()
        for thread in threads:
            thread.join(30)
    assert not [thread.name for thread in threads if thread.is_alive()]
