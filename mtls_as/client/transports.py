"""Connections for httpx that follow a renewed certificate: those of the old one end when their requests are done."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import httpx

from mtls_as.client.credentials import Credentials
from mtls_as.client.token_source import TokenSource

CREDENTIALS: Final = "mtls_as.credentials"
"""The extension of a request that says over whose connections it must go."""

_T = TypeVar("_T", httpx.HTTPTransport, httpx.AsyncHTTPTransport)


class _Connections(Generic[_T]):
    """Those that present one certificate."""

    def __init__(self, credentials: Credentials, transport: _T) -> None:
        self.credentials = credentials
        self.transport: _T = transport
        self.requests = 0
        """Under way, up to the end of their answers."""


class _Generations(Generic[_T]):
    """The connections of the newest certificate, and those before it whose requests are not done yet."""

    def __init__(self, tokens: TokenSource, make: Callable[[Credentials], _T]) -> None:
        self._tokens = tokens
        self._make: Callable[[Credentials], _T] = make
        self._lock = threading.Lock()
        self._all: list[_Connections[_T]] = []

    def enter(self, request: httpx.Request) -> tuple[_Connections[_T], list[_T]]:
        """The connections for a request, which is now under way, and what can be closed."""
        newest = self._tokens.credentials()
        credentials = request.extensions.get(CREDENTIALS, newest)
        with self._lock:
            found = next((each for each in self._all if each.credentials is credentials), None)
            if found is None:
                found = _Connections(credentials, self._make(credentials))
                self._all.append(found)
            found.requests += 1
            return found, self._drop(newest)

    def leave(self, connections: _Connections[_T]) -> list[_T]:
        """A request is done; returns what can be closed."""
        newest = self._tokens.credentials()
        with self._lock:
            connections.requests -= 1
            return self._drop(newest)

    def close(self) -> list[_T]:
        """All there are, to be closed."""
        with self._lock:
            closing, self._all = [each.transport for each in self._all], []
            return closing

    def _drop(self, newest: Credentials) -> list[_T]:
        done = [each for each in self._all if each.credentials is not newest and not each.requests]
        self._all = [each for each in self._all if each not in done]
        return [each.transport for each in done]


class RenewedTransport(httpx.BaseTransport):
    """For `httpx.Client(transport=…)`; `options` are those of `httpx.HTTPTransport`, but for `verify` and `cert`."""

    def __init__(self, tokens: TokenSource, **options: Any) -> None:  # noqa: ANN401 # as httpx.HTTPTransport
        options = {"trust_env": False} | options
        self._generations: _Generations[httpx.HTTPTransport] = _Generations(
            tokens, lambda credentials: httpx.HTTPTransport(verify=credentials.tls_context(), **options)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx calls it."""
        connections, closing = self._generations.enter(request)
        try:
            _close(closing)
            response: httpx.Response = connections.transport.handle_request(request)
        except BaseException:
            _close(self._generations.leave(connections))
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 # for the type checker
        response.stream = _Stream(response.stream, lambda: _close(self._generations.leave(connections)))
        return response

    def close(self) -> None:
        """Close all connections."""
        _close(self._generations.close())


class AsyncRenewedTransport(httpx.AsyncBaseTransport):
    """The same for `httpx.AsyncClient(transport=…)`, with the options of `httpx.AsyncHTTPTransport`."""

    def __init__(self, tokens: TokenSource, **options: Any) -> None:  # noqa: ANN401 # as httpx.AsyncHTTPTransport
        options = {"trust_env": False} | options
        self._generations: _Generations[httpx.AsyncHTTPTransport] = _Generations(
            tokens, lambda credentials: httpx.AsyncHTTPTransport(verify=credentials.tls_context(), **options)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx calls it."""
        connections, closing = self._generations.enter(request)
        try:
            await _aclose(closing)
            response: httpx.Response = await connections.transport.handle_async_request(request)
        except BaseException:
            await _aclose(self._generations.leave(connections))
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 # for the type checker
        response.stream = _AsyncStream(response.stream, lambda: self._generations.leave(connections))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await _aclose(self._generations.close())


class _Stream(httpx.SyncByteStream):
    """An answer's body, with something to do at its end."""

    def __init__(self, stream: httpx.SyncByteStream, done: Callable[[], None]) -> None:
        self._stream = stream
        self._done: Callable[[], None] | None = done

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        done, self._done = self._done, None
        try:
            self._stream.close()
        finally:
            if done is not None:
                done()


class _AsyncStream(httpx.AsyncByteStream):
    """The same, asynchronous; `done` returns what is then to be closed."""

    def __init__(self, stream: httpx.AsyncByteStream, done: Callable[[], list[httpx.AsyncHTTPTransport]]) -> None:
        self._stream = stream
        self._done: Callable[[], list[httpx.AsyncHTTPTransport]] | None = done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        done, self._done = self._done, None
        try:
            await self._stream.aclose()
        finally:
            await _aclose(done() if done is not None else [])


def _close(transports: list[httpx.HTTPTransport]) -> None:
    for transport in transports:
        transport.close()


async def _aclose(transports: list[httpx.AsyncHTTPTransport]) -> None:
    for transport in transports:
        await transport.aclose()
