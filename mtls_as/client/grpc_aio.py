"""gRPC with asyncio: channels whose calls carry tokens bound to the channel's certificate."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import grpc
import grpc.aio

from mtls_as.client.credentials import Credentials
from mtls_as.client.grpc import bearing, challenges, channel_credentials
from mtls_as.client.refusals import calls_token_invalid
from mtls_as.client.token_source import BoundToken, TokenSource

_LINGER: Final = 30.0  # seconds: a call that waits for its token may still begin on the channel that it chose
_GRACE: Final = 86400.0  # seconds for calls under way
_HTTP_UNAUTHORIZED: Final = 401


def secure_channel(
    target: str,
    tokens: TokenSource,
    *,
    scope: str | None = None,
    resource: str | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> "BoundChannel":
    """As `mtls_as.client.grpc.secure_channel`, for `grpc.aio`."""
    return BoundChannel(target, tokens, scope=scope, resource=resource, options=options)


class BoundChannel(grpc.aio.Channel):
    """What `secure_channel` gives."""

    def __init__(
        self,
        target: str,
        tokens: TokenSource,
        *,
        scope: str | None = None,
        resource: str | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._target = target
        self._tokens = tokens
        self._wanted = {"scope": scope, "resource": resource}
        self._options = options
        self._made: tuple[Credentials, grpc.aio.Channel] | None = None
        self._retiring: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def channel(self) -> grpc.aio.Channel:
        """The channel with the certificate of the moment. That of another one closes with its last call."""
        credentials = self._tokens.credentials()
        if self._made is None or self._made[0] is not credentials:
            if self._made is not None:
                task = asyncio.create_task(_retire(self._made[1]))
                self._retiring[task] = self._made[1]
                task.add_done_callback(self._retiring.pop)
            self._made = credentials, self._new(credentials)
        return self._made[1]

    def unary_unary(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.aio.Channel
        """As `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.unary_unary(*method, **options))

    def unary_stream(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.aio.Channel
        """As `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.unary_stream(*method, **options))

    def stream_unary(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.aio.Channel
        """As `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.stream_unary(*method, **options))

    def stream_stream(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.aio.Channel
        """As `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.stream_stream(*method, **options))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 # as grpc.aio.Channel
        """As `grpc.aio.Channel`, of the connection of the moment."""
        return self.channel().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As `grpc.aio.Channel`."""
        await self.channel().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As `grpc.aio.Channel`."""
        await self.channel().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """As `grpc.aio.Channel`, those of before a renewal included."""
        retiring, made, self._made = dict(self._retiring), self._made, None
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for channel in (*retiring.values(), *([made[1]] if made else [])):
            await channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close(None)

    def _new(self, credentials: Credentials) -> grpc.aio.Channel:
        kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
        bearer = _Bearer(self._tokens, {**self._wanted, "credentials": credentials})
        return grpc.aio.secure_channel(
            self._target,
            channel_credentials(credentials),
            options=self._options,
            interceptors=[kind(bearer) for kind in kinds],
        )


class _Method:
    """A method of a service, called over the channel of the moment."""

    def __init__(self, channel: BoundChannel, make: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._make = make
        self._made: tuple[grpc.aio.Channel, Any] | None = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 # as gRPC's own callables
        channel = self._channel.channel()
        if self._made is None or self._made[0] is not channel:
            self._made = channel, self._make(channel)
        return self._made[1](*arguments, **options)


class _Bearer:
    """Puts tokens into calls of a channel: those that are bound to its certificate."""

    def __init__(self, tokens: TokenSource, wanted: dict[str, Any]) -> None:
        self._tokens = tokens
        self._wanted = wanted

    async def token(self, *, rejected: BoundToken | None = None) -> BoundToken:
        return await self._tokens.bound_async(**self._wanted, rejected=rejected.token if rejected else None)

    async def begin(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401 # as gRPC's interceptors
        """Make a call that is not repeated; if its token is called invalid, the next one has another."""
        bound = await self.token()
        call = await continuation(_with(details, bound), request)

        async def watch() -> None:
            if await _is_refused(call):
                self._tokens.reject(bound.token)

        watching = asyncio.create_task(watch())
        call.add_done_callback(lambda _: watching)  # which keeps the task as long as the call
        return call


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, bearer: _Bearer) -> None:
        self._bearer = bearer

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:  # noqa: ANN401 # as gRPC's interceptors
        """With one request and one answer, a call can be made once more."""
        bound = await self._bearer.token()
        call = await continuation(_with(client_call_details, bound), request)
        if await _is_refused(call):
            bound = await self._bearer.token(rejected=bound)
            call = await continuation(_with(client_call_details, bound), request)
        return call


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, bearer: _Bearer) -> None:
        self._bearer = bearer

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:  # noqa: ANN401 # as gRPC's interceptors
        return await self._bearer.begin(continuation, client_call_details, request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, bearer: _Bearer) -> None:
        self._bearer = bearer

    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:  # noqa: ANN401 # as gRPC's interceptors
        return await self._bearer.begin(continuation, client_call_details, request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, bearer: _Bearer) -> None:
        self._bearer = bearer

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:  # noqa: ANN401 # as gRPC's interceptors
        return await self._bearer.begin(continuation, client_call_details, request_iterator)


def _with(details: Any, bound: BoundToken) -> Any:  # noqa: ANN401 # gRPC's details of a call
    return details._replace(metadata=grpc.aio.Metadata(*bearing(details.metadata, bound)))


async def _is_refused(call: Any) -> bool:  # noqa: ANN401 # of gRPC's calls
    return await call.code() is grpc.StatusCode.UNAUTHENTICATED and calls_token_invalid(
        _HTTP_UNAUTHORIZED, challenges(await call.trailing_metadata())
    )


async def _retire(channel: grpc.aio.Channel) -> None:
    await asyncio.sleep(_LINGER)
    await channel.close(_GRACE)
