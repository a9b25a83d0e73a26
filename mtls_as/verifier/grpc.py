"""gRPC: server interceptors that let a call through only with a token which its sender proves to be bound to.

The token comes in the metadata `authorization`, the certificate from the handshake (`PeerCertificate`). A refused call
ends with UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT or UNAVAILABLE, and the challenge as trailing metadata.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio

from mtls_as.verifier.blocking import SyncGuard
from mtls_as.verifier.certificates import Certificate, direct_certificate
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.request import UNKNOWN_PEER, Refusal, ResourceRequest
from mtls_as.verifier.verifier import VerifiedToken

access_token: Final[ContextVar[VerifiedToken]] = ContextVar("access_token")
"""The `VerifiedToken` of the call, for its handler: `access_token.get()`."""

Scopes = Mapping[str, Iterable[str]]
Handler = Any  # of grpc.RpcMethodHandler, whose behaviours are typed by the messages of each service

_SECURE: Final = frozenset({b"ssl", b"tls"})
_STATUS: Final = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
        HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
        HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
        HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    }
)
_KINDS: Final = MappingProxyType(
    {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """The certificate of the handshake, as gRPC reports it in `auth_context()`.

    The server's credentials must ask for one: `ssl_server_credentials(…, root_certificates, require_client_auth=True)`.
    """

    ignore_certificate_headers: bool = False
    """As in `TLSExtension`."""

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """As `CertificateSource`."""
        certificates: Iterable[bytes] = request.connection.get("x509_pem_cert", ())
        return direct_certificate(request, next(iter(certificates), None), ignore=self.ignore_certificate_headers)


class _NotAborted(Exception):  # noqa: N818 # never seen: `abort` raises
    """A call was refused and went on; it ends here."""


class RequireBoundToken(grpc.aio.ServerInterceptor):
    """For `grpc.aio.server(interceptors=[…])`. `scopes` are what single methods (`/package.Service/Method`) need.

    They are needed beside those of the guard. Handlers must be asynchronous; a call of another one fails.
    """

    def __init__(self, guard: ResourceGuard, *, scopes: Scopes = MappingProxyType({})) -> None:
        self._guard = guard
        self._scopes = _read_scopes(scopes)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """As grpc calls it."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = _text(handler_call_details.method)

        async def admit(context: Any) -> None:  # noqa: ANN401 # as grpc's handlers
            checked = await self._guard.check(_describe(method, context), scopes=self._scopes.get(method, ()))
            if isinstance(checked, VerifiedToken):
                access_token.set(checked)  # each call has a context of its own
                return
            await context.abort(_STATUS[HTTPStatus(checked.status)], checked.description or "", _challenges(checked))
            raise _NotAborted

        return _replace(handler, lambda behaviour: _asynchronous(behaviour, admit))


class RequireBoundTokenSync(grpc.ServerInterceptor):
    """The same for `grpc.server(…, interceptors=[…])`."""

    def __init__(self, guard: ResourceGuard, *, scopes: Scopes = MappingProxyType({})) -> None:
        self._guard = SyncGuard(guard)
        self._scopes = _read_scopes(scopes)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """As grpc calls it."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = _text(handler_call_details.method)

        def admit(context: Any) -> VerifiedToken:  # noqa: ANN401 # as grpc's handlers
            checked = self._guard.check(_describe(method, context), scopes=self._scopes.get(method, ()))
            if isinstance(checked, VerifiedToken):
                return checked
            context.set_trailing_metadata(_challenges(checked))
            context.abort(_STATUS[HTTPStatus(checked.status)], checked.description or "")
            raise _NotAborted

        return _replace(handler, lambda behaviour: _synchronous(behaviour, admit, streams=handler.response_streaming))


def _asynchronous(behaviour: Any, admit: Callable[[Any], Awaitable[None]]) -> Any:  # noqa: ANN401 # as grpc's handlers
    if inspect.isasyncgenfunction(behaviour):

        async def streamed(message: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401 # as grpc's handlers
            await admit(context)
            async for answer in behaviour(message, context):
                yield answer

        return streamed
    if not inspect.iscoroutinefunction(behaviour):
        raise TypeError("handlers behind RequireBoundToken are asynchronous; RequireBoundTokenSync is for others")

    async def answered(message: Any, context: Any) -> Any:  # noqa: ANN401 # as grpc's handlers
        await admit(context)
        return await behaviour(message, context)

    return answered


def _synchronous(behaviour: Any, admit: Callable[[Any], VerifiedToken], *, streams: bool) -> Any:  # noqa: ANN401 # as grpc's handlers
    """In a context of its own: the thread serves other calls afterwards."""

    def answered(message: Any, context: Any) -> Any:  # noqa: ANN401 # as grpc's handlers
        own = copy_context()
        own.run(access_token.set, admit(context))
        return own.run(behaviour, message, context)

    def streamed(message: Any, context: Any) -> Iterator[Any]:  # noqa: ANN401 # as grpc's handlers
        own = copy_context()
        own.run(access_token.set, admit(context))
        answers = iter(own.run(behaviour, message, context))
        end = object()
        while (answer := own.run(next, answers, end)) is not end:
            yield answer

    return streamed if streams else answered


def _replace(handler: Handler, protect: Callable[[Any], Any]) -> Handler:
    name, make = _KINDS[handler.request_streaming, handler.response_streaming]
    return make(
        protect(getattr(handler, name)),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _describe(method: str, context: Any) -> ResourceRequest:  # noqa: ANN401 # both kinds of context
    """A call as the HTTP request that it is: a POST to the path of its method."""
    connection = {_text(name): value for name, value in context.auth_context().items()}
    return ResourceRequest(
        method="POST",
        path=method,
        headers=[(_bytes(name), _bytes(value)) for name, value in context.invocation_metadata() or ()],
        secure=not _SECURE.isdisjoint(connection.get("transport_security_type", ())),
        peer=_peer(context.peer()),
        connection=connection,
    )


def _peer(text: str) -> str | None:
    """From gRPC's `ipv4:127.0.0.1:1234`, `ipv6:%5B::1%5D:1234` or `unix:…`."""
    kind, _, address = unquote(text).partition(":")
    if kind in {"unix", "unix-abstract"}:
        return None
    return address.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else UNKNOWN_PEER


def _challenges(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in refusal.headers if name == "www-authenticate")


def _read_scopes(scopes: Scopes) -> dict[str, tuple[str, ...]]:
    """Raises `ValueError` for what no method is called, which would protect nothing."""
    if any(not method.startswith("/") or isinstance(needed, str) for method, needed in scopes.items()):
        raise ValueError("scopes maps methods, as /package.Service/Method, to lists of texts")
    return {method: tuple(needed) for method, needed in scopes.items()}


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1", "replace") if isinstance(value, str) else value
