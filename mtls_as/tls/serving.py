"""One call to serve an ASGI application under mutual TLS."""

import asyncio
import sys
from pathlib import Path

from mtls_as.tls.credentials import ServerCredentials
from mtls_as.tls.endpoint import HandshakeFailureHook, Timeouts
from mtls_as.tls.listeners import ASGIApplication, Listener, bind_listeners, format_address
from mtls_as.tls.process import settle_memory
from mtls_as.tls.server import serve_listeners
from mtls_as.tls.workers import shutdown_on_signals


def serve(
    app: ASGIApplication,
    *,
    bind: str,
    certificate: str | Path,
    private_key: str | Path,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    on_handshake_failure: HandshakeFailureHook | None = None,
) -> None:
    """Serve `app` at `bind` (`host:port`) until SIGTERM or SIGINT, asking clients for a certificate; blocks.

    Prints one line, where it listens. SIGHUP reads `certificate` and `private_key` (PEM files) again. Which client
    certificates are good enough is for the application to decide: see `mtls_as.verifier.asgi`.

    Raises `TLSConfigurationError`.
    """
    listener = Listener(name="mtls", bind=bind, app=app, request_certificate=True)

    def load() -> ServerCredentials:
        return ServerCredentials.load(Path(certificate), Path(private_key))

    credentials = load()
    sockets = bind_listeners([listener])

    def announce() -> None:
        sys.stdout.write(f"listening on https://{format_address(sockets[0])}\n")
        sys.stdout.flush()
        settle_memory()

    async def run() -> None:
        await serve_listeners(
            [listener],
            sockets,
            credentials,
            timeouts=timeouts,
            shutdown=shutdown_on_signals(),
            reload=load,
            on_handshake_failure=on_handshake_failure,
            started=announce,
        )

    asyncio.run(run())
