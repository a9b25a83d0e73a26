"""gRPC: channels whose calls carry tokens bound to the channel's certificate. `mtls_as.client.grpc_aio` is for asyncio.

`secure_channel` does it all. `channel_credentials` and `call_credentials` are for programs that make their channels
themselves: those keep the certificate that they began with, as every channel of gRPC does.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self

import grpc

from mtls_as.client.credentials import Credentials
from mtls_as.client.refusals import calls_token_invalid, require_https
from mtls_as.client.token_source import BoundToken, TokenSource

_HTTP_UNAUTHORIZED: Final = 401

Metadata = Iterable[tuple[str, str | bytes]]


def secure_channel(
    target: str,
    tokens: TokenSource,
    *,
    scope: str | None = None,
    resource: str | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> "BoundChannel":
    """A channel for stubs, as `grpc.secure_channel`, whose calls carry tokens for a scope and a resource.

    When the certificate is renewed, new calls go over a new connection, and those under way end on the old one. A call
    with one request and one answer is made once more if its token is called invalid; after any other call, the next
    one has another token. Calls raise `TokenRequestError` and `AuthorizationServerError` beside `grpc.RpcError`.
    """
    return BoundChannel(target, tokens, scope=scope, resource=resource, options=options)


def channel_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    """gRPC's credentials for a channel that presents the certificate, as `TokenSource.credentials()` gives it."""
    return grpc.ssl_channel_credentials(credentials.ca_pem, credentials.private_key_pem, credentials.chain_pem)


def call_credentials(
    tokens: TokenSource, credentials: Credentials, *, scope: str | None = None, resource: str | None = None
) -> grpc.CallCredentials:
    """Tokens for the calls of a channel that was made with the same credentials, and is to be made anew with others.

    For `grpc.composite_channel_credentials`; gRPC itself sends them over TLS only.
    """
    return grpc.metadata_call_credentials(TokenPlugin(tokens, credentials, scope=scope, resource=resource))


class TokenPlugin(grpc.AuthMetadataPlugin):
    """What `call_credentials` are made of."""

    def __init__(
        self, tokens: TokenSource, credentials: Credentials, *, scope: str | None = None, resource: str | None = None
    ) -> None:
        self._tokens = tokens
        self._wanted = {"scope": scope, "resource": resource, "credentials": credentials}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="token")

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        """As gRPC calls it, in a thread that must not be held up."""
        self._executor.submit(self._give, context, callback)

    def _give(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            require_https(context.service_url.partition(":")[0], "a service")
            bound = self._tokens.bound(**self._wanted)  # type: ignore[arg-type] # each by its name
        except Exception as error:  # noqa: BLE001 # it becomes the error of the call
            callback((), error)
        else:
            callback((("authorization", bound.header),), None)


class BoundChannel(grpc.Channel):
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
        self._scope = scope
        self._resource = resource
        self._options = options
        self._lock = threading.Lock()
        self._made: tuple[Credentials, grpc.Channel] | None = None
        self._callbacks: list[tuple[Callable[..., Any], bool]] = []

    def token(self, *, rejected: BoundToken | None = None) -> BoundToken:
        """The token for a call, and its credentials."""
        return self._tokens.bound(
            scope=self._scope, resource=self._resource, rejected=rejected.token if rejected else None
        )

    def forget(self, bound: BoundToken) -> None:
        """A token was called invalid."""
        self._tokens.reject(bound.token)

    def channel(self, credentials: Credentials) -> grpc.Channel:
        """The channel with a certificate. That of another one is let go, and lasts as long as its calls."""
        with self._lock:
            if self._made is None or self._made[0] is not credentials:
                made = grpc.secure_channel(self._target, channel_credentials(credentials), options=self._options)
                for callback, try_to_connect in self._callbacks:
                    made.subscribe(callback, try_to_connect)
                self._made = credentials, made
            return self._made[1]

    def subscribe(self, callback: Callable[..., Any], try_to_connect: bool = False) -> None:  # noqa: FBT001, FBT002 # as grpc.Channel
        """As `grpc.Channel`."""
        self._callbacks.append((callback, try_to_connect))
        self.channel(self._tokens.credentials()).subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[..., Any]) -> None:
        """As `grpc.Channel`."""
        self._callbacks = [each for each in self._callbacks if each[0] is not callback]
        self.channel(self._tokens.credentials()).unsubscribe(callback)

    def unary_unary(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.Channel
        """As `grpc.Channel`."""
        return _OneAnswer(self, lambda channel: channel.unary_unary(*method, **options), repeatable=True)

    def unary_stream(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.Channel
        """As `grpc.Channel`."""
        return _ManyAnswers(self, lambda channel: channel.unary_stream(*method, **options))

    def stream_unary(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.Channel
        """As `grpc.Channel`."""
        return _OneAnswer(self, lambda channel: channel.stream_unary(*method, **options), repeatable=False)

    def stream_stream(self, *method: Any, **options: Any) -> Any:  # noqa: ANN401 # as grpc.Channel
        """As `grpc.Channel`."""
        return _ManyAnswers(self, lambda channel: channel.stream_stream(*method, **options))

    def close(self) -> None:
        """As `grpc.Channel`; a channel of before a renewal closes with its last call."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Method:
    """A method of a service, called over the channel of the token's certificate."""

    def __init__(self, channel: BoundChannel, make: Callable[[grpc.Channel], Any]) -> None:
        self._channel = channel
        self._make = make
        self._made: tuple[grpc.Channel, Any] | None = None

    def _on(self, credentials: Credentials) -> Any:  # noqa: ANN401 # gRPC's own callables
        channel = self._channel.channel(credentials)
        made = self._made
        if made is None or made[0] is not channel:
            made = self._made = channel, self._make(channel)
        return made[1]

    def _watch(self, call: Any, bound: BoundToken) -> Any:  # noqa: ANN401 # of gRPC's calls
        """Forget the token if this call shows that it is invalid."""

        def done() -> None:
            if is_refused(call):
                self._channel.forget(bound)

        if not call.add_callback(done):
            done()
        return call


class _OneAnswer(_Method):
    def __init__(self, channel: BoundChannel, make: Callable[[grpc.Channel], Any], *, repeatable: bool) -> None:
        super().__init__(channel, make)
        self._repeatable = repeatable

    def __call__(self, request: Any, timeout: Any = None, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 # gRPC's options, all of which are handed on
        return self.with_call(request, timeout, metadata, **options)[0]

    def with_call(self, request: Any, timeout: Any = None, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 # gRPC's options, all of which are handed on
        bound = self._channel.token()
        try:
            return self._on(bound.credentials).with_call(request, timeout, bearing(metadata, bound), **options)
        except grpc.RpcError as error:
            if not is_refused(error):
                raise
            if not self._repeatable:
                self._channel.forget(bound)
                raise
        bound = self._channel.token(rejected=bound)
        return self._on(bound.credentials).with_call(request, timeout, bearing(metadata, bound), **options)

    def future(self, request: Any, timeout: Any = None, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 # gRPC's options, all of which are handed on
        bound = self._channel.token()
        call = self._on(bound.credentials).future(request, timeout, bearing(metadata, bound), **options)
        return self._watch(call, bound)


class _ManyAnswers(_Method):
    def __call__(self, request: Any, timeout: Any = None, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 # gRPC's options, all of which are handed on
        bound = self._channel.token()
        call = self._on(bound.credentials)(request, timeout, bearing(metadata, bound), **options)
        return self._watch(call, bound)


def bearing(metadata: Metadata | None, bound: BoundToken) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata of a call, with its token."""
    return *(metadata or ()), ("authorization", bound.header)


def is_refused(call: Any) -> bool:  # noqa: ANN401 # of gRPC's calls and errors
    """Whether a call ended because its token is called invalid: UNAUTHENTICATED, with the challenge of RFC 6750."""
    return call.code() is grpc.StatusCode.UNAUTHENTICATED and calls_token_invalid(
        _HTTP_UNAUTHORIZED, challenges(call.trailing_metadata())
    )


def challenges(metadata: Metadata | None) -> Iterator[str]:
    """The challenges in the metadata at the end of a call."""
    for name, value in metadata or ():
        if name == "www-authenticate":
            yield value if isinstance(value, str) else value.decode("latin-1")
