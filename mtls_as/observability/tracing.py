"""Traces by OpenTelemetry, sent by OTLP over HTTP; the only importer of its packages, imported only where it is wanted.

A server that is traced is put together from other parts: applications, repositories and what else is to have a span are
stood for by something that opens one around each call. So a server that is not traced has nothing to ask, and pays
nothing. Spans name what is done and how it ended, never what is private: no token, no key, no detail of a refusal.
"""

import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mtls_as.rfc.rfc6749_framework import OAuthError
from mtls_as.rfc.rfc8414_metadata import WELL_KNOWN
from mtls_as.server.events import Outcome, RequestEvent

Application = Callable[[Any, Any, Any], Awaitable[None]]
Headers = Callable[[], Mapping[str, str]]

EXPORT_SECONDS: Final = 5.0
CLOSING_MILLISECONDS: Final = 3_000
_PATHS: Final = frozenset({"/token", "/introspect", "/revoke", "/register", "/jwks"})
"""Those that may be a part of a span's name. Of others there may be any number."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""Likewise; the others are as OpenTelemetry's conventions for HTTP have them."""
_ATTRIBUTES: Final = (
    "endpoint",
    "client_id",
    "authentication_method",
    "trust",
    "grant_type",
    "scope",
    "resource",
    "error",
)
_SERVER_ERROR: Final = 500
_tracer: Final[ContextVar[Tracer | None]] = ContextVar("tracer", default=None)
_propagator: Final = TraceContextTextMapPropagator()

_T = TypeVar("_T")


class Tracing:
    """Makes and sends the spans of one process: of a share of the requests, 0 to 1.

    A trace that a caller began goes on here, but whether it is recorded is not the caller's choice. `outgoing` is set
    within a request to what tells the headers by which its trace goes on elsewhere.
    """

    def __init__(
        self, *, endpoint: str, ca: Path | None, service_name: str, sample: float, outgoing: ContextVar[Headers | None]
    ) -> None:
        self._outgoing = outgoing
        ratio = TraceIdRatioBased(sample)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service_name}),
            sampler=ParentBased(root=ratio, remote_parent_sampled=ratio, remote_parent_not_sampled=ratio),
            shutdown_on_exit=False,
        )
        certificate = None if ca is None else str(ca)
        exporter = OTLPSpanExporter(endpoint=endpoint, certificate_file=certificate, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mtls_as")

    def close(self) -> None:
        """Send what waits, and end. Blocks for some seconds at most."""
        self._provider.force_flush(CLOSING_MILLISECONDS)
        self._provider.shutdown()

    def application(self, app: Application, *, listener: str) -> Application:
        """An ASGI application with a span for each request."""

        async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as ASGI applications are
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            with self._request(scope, listener) as span:
                await app(scope, receive, _noting_status(send, span))

        return answer

    def note(self, event: RequestEvent) -> None:
        """An `EventSink`: what became known of the request goes into its span, and the trace into the event."""
        span = get_current_span()
        context = span.get_span_context()
        if not context.is_valid:
            return
        event.trace_id = f"{context.trace_id:032x}"
        for name in _ATTRIBUTES:
            value = getattr(event, name)
            if value is not None:
                span.set_attribute(f"mtls_as.{name}", str(value)[:256])
        span.set_attribute("mtls_as.outcome", event.outcome.value)
        if event.refusal is not None:
            span.set_attribute("mtls_as.refusal", event.refusal.value)
        if event.outcome is Outcome.FAILED:
            span.set_status(Status(StatusCode.ERROR))

    @contextlib.contextmanager
    def _request(self, scope: Mapping[str, Any], listener: str) -> Iterator[Span]:
        known = _known_path(scope["path"])
        method = scope["method"] if scope["method"] in _METHODS else None
        attributes = {"http.request.method": method or "_OTHER", "mtls_as.listener": listener}
        if known is not None:
            attributes["http.route"] = known
        if scope.get("client"):
            attributes["client.address"] = str(scope["client"][0])
        tokens = (_tracer.set(self._tracer), self._outgoing.set(_outgoing_headers))
        try:
            with self._tracer.start_as_current_span(
                " ".join(filter(None, (method or "HTTP", known))),
                context=_incoming_context(scope),
                kind=SpanKind.SERVER,
                attributes=attributes,
                record_exception=False,
            ) as span:
                yield span
        finally:
            _tracer.reset(tokens[0])
            self._outgoing.reset(tokens[1])


def _known_path(path: str) -> str | None:
    if path in _PATHS:
        return path
    return WELL_KNOWN if path.startswith(WELL_KNOWN) else None  # behind it stands the path of an issuer


def traced(target: _T, **spans: str) -> _T:
    """Something that stands for `target`: each call of these methods has a span of the name that is given for it."""
    return cast("_T", _Traced(target, {name: _with_span(getattr(target, name), span) for name, span in spans.items()}))


def traced_calls(target: _T, prefix: str) -> _T:
    """`traced` for every public coroutine method, by its name behind the prefix."""
    methods = inspect.getmembers(target, inspect.iscoroutinefunction)
    return traced(target, **{name: f"{prefix} {name}" for name, _ in methods if not name.startswith("_")})


class _Traced:
    """Has the methods with spans; everything else is asked of the target."""

    def __init__(self, target: object, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._target = target
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 # whatever the target has
        return getattr(self._target, name)


def _with_span(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def wait(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 # whatever the method takes and gives
            with spanning(name):
                return await method(*arguments, **named)

        return wait

    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 # whatever the method takes and gives
        with spanning(name):
            return method(*arguments, **named)

    return call


@contextlib.contextmanager
def spanning(name: str) -> Iterator[None]:
    """A span within that of the request; none where there is no request, as in the background."""
    tracer = _tracer.get()
    if tracer is None:
        yield
        return
    # What an exception says may quote what a client sent: only its kind is told.
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield
        except Exception as error:
            reason = error.refusal.value if isinstance(error, OAuthError) else type(error).__name__
            span.set_status(Status(StatusCode.ERROR, reason))
            raise


def _incoming_context(scope: Mapping[str, Any]) -> Context:
    """The trace that the caller says it is in (W3C Trace Context), if it says so once."""
    headers: dict[str, str] = {}
    for header, value in scope["headers"]:
        name = header.decode("latin-1")
        if name in ("traceparent", "tracestate"):
            if name in headers:
                return Context()
            headers[name] = value.decode("latin-1")
    return _propagator.extract(headers, context=Context())


def _outgoing_headers() -> Mapping[str, str]:
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


def _noting_status(send: Any, span: Span) -> Any:  # noqa: ANN401 # as ASGI applications are
    async def noting(message: Any) -> None:  # noqa: ANN401 # as ASGI applications are
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return noting
