"""What all connections of one listener share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from OpenSSL import SSL

from mtls_as.tls.context import build_context
from mtls_as.tls.credentials import ServerCredentials, TLSConfigurationError
from mtls_as.tls.eager_start import EagerStart
from mtls_as.tls.listeners import Listener
from mtls_as.tls.plain_layer import PlainLayer
from mtls_as.tls.population import Population
from mtls_as.tls.record_layer import RecordLayer, Scratch

HandshakeFailureHook = Callable[[str, str], None]
"""Called with a short stable reason and the peer's `host:port`."""

HandshakeHook = Callable[[float], None]
"""Called with the seconds that a handshake took which is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. No trickle of bytes extends the time for a handshake, for a head, or between requests."""

    handshake: float = 10.0
    """From the accepted connection to the end of the handshake."""
    request_head: float = 10.0
    """From the end of the handshake, or the first byte of a further request, to the end of the request's head."""
    idle: float = 60.0
    """Between requests. Within a request, how long a client may neither send what it announced nor take its answer."""
    shutdown: float = 10.0
    """For requests in the works when the server stops."""
    drain: float = 0.0
    """From the signal to stop until the listeners are closed. Requests are answered as ever, and connections end with
    their answers: clients connect anew, and a load balancer that has noticed by then sends them elsewhere."""


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """A listener at work. `use` replaces its certificate for connections to come."""

    listener: Listener
    loop: asyncio.AbstractEventLoop
    config: Config
    worker_context: WorkerContext
    lifespan_state: dict[str, Any]
    timeouts: Timeouts
    population: Population
    on_handshake_failure: HandshakeFailureHook | None
    on_handshake: HandshakeHook | None
    scratch: Scratch = field(default_factory=Scratch)
    starter: EagerStart = field(init=False)
    """Starts what answers directly."""
    context: SSL.Context = field(init=False)
    server_cert: str = field(init=False, default="")
    draining: bool = False
    """The server is about to stop: every connection ends with the answer that it is on, or waits for."""
    stopping: bool = False

    def __post_init__(self) -> None:
        self.starter = EagerStart(self.loop)

    def is_draining(self) -> bool:
        """As the attribute, for those who ask at each answer."""
        return self.draining

    def is_stopping(self) -> bool:
        """As the attribute, for those who ask at each request."""
        return self.stopping

    def begin(self, credentials: ServerCredentials | None) -> None:
        """Serve with these; a listener without TLS needs none. Raises `TLSConfigurationError`."""
        if credentials is not None:
            self.use(*self.prepare(credentials))
        elif self.listener.tls:
            raise TLSConfigurationError(f"listener {self.listener.name}: there is no certificate to speak TLS with")

    def use(self, context: SSL.Context, server_cert: str) -> None:
        """Serve further connections with this context; those that stand keep theirs."""
        self.context = context
        self.server_cert = server_cert

    def prepare(self, credentials: ServerCredentials) -> tuple[SSL.Context, str]:
        """The arguments of `use` for these credentials. Raises `TLSConfigurationError`."""
        context = build_context(credentials, request_certificate=self.listener.request_certificate)
        return context, credentials.server_cert

    def open_layer(self) -> RecordLayer | PlainLayer:
        """What stands between the transport and HTTP on a new connection."""
        return RecordLayer(self.context, self.scratch) if self.listener.tls else PlainLayer()

    def handshake_completed(self, seconds: float) -> None:
        """Tell whoever counts them."""
        if self.on_handshake is not None:
            self.on_handshake(seconds)

    def handshake_failed(self, reason: str, peer: str) -> None:
        """Tell the operator, if he wants to know."""
        if self.on_handshake_failure is not None:
            self.on_handshake_failure(reason, peer)
