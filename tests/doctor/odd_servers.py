"""An authorization server of few lines, each of whose parts can be bent, and sockets that are no servers at all."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from tests.authority import Authority, Identity
from tests.doctor.scene import CLIENT_CA, REPORTS, Diagnosis, OddServer, diagnose
from tests.remote.https_server import Request, answer
from tests.verifier.issuer import AUDIENCE, Issuer

WELL_KNOWN = "/.well-known/oauth-authorization-server"
Bend = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class OddIssuer:
    """Metadata, keys and tokens as they should be, but for what a test replaces."""

    folder: Path
    tls: dict[str, Any] = field(default_factory=dict)
    """Of `OddServer`."""
    metadata: dict[str, object] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)
    jwks: object = None
    clock_ahead: float = 0.0
    issuer: Issuer = field(default_factory=Issuer)
    server: OddServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = OddServer(self._answer, **{"client_authority": CLIENT_CA} | self.tls)

    @contextlib.contextmanager
    def running(self) -> Iterator["OddIssuer"]:
        with self.server:
            yield self

    def diagnose(self, *more: str, identity: Identity | None = REPORTS, ca: Authority | None = None) -> Diagnosis:
        """What the doctor says of it, to a client that trusts its CA, or another."""
        file = self.folder / "ca.pem"
        file.write_text((ca or self.server.authority).pem)
        options = ["--ca", str(file), *more]
        if identity is not None:
            options += client_options(self.folder, identity)
        return diagnose(self.server.url, *options)

    def _answer(self, request: Request) -> bytes:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=self.clock_ahead), usegmt=True)
        return answer(self._document(request), Date=date)

    def _document(self, request: Request) -> object:
        url = self.server.url
        if request.path == WELL_KNOWN:
            usual = {
                "issuer": url,
                "token_endpoint": f"{url}/token",
                "jwks_uri": f"{url}/jwks",
                "token_endpoint_auth_methods_supported": ["tls_client_auth"],
                "tls_client_certificate_bound_access_tokens": True,
            }
            return usual | self.metadata
        if request.path == "/jwks":
            return self.jwks or self.issuer.jwks
        now = int(time.time())
        claims = {"iss": url, "aud": AUDIENCE, "iat": now, "exp": now + 300} | self.claims
        token = self.issuer.token(request.certificate, **claims)
        return {"access_token": token, "token_type": "Bearer", "expires_in": 300}


def client_options(folder: Path, identity: Identity, ca: Authority | None = None) -> list[str]:
    """Those of the client `reports`."""
    certificate, key = identity.write(folder, "client")
    options = ["--client-id", "reports", "--cert", str(certificate), "--key", str(key)]
    if ca is None:
        return options
    file = folder / "ca.pem"
    file.write_text(ca.pem)
    return [*options, "--ca", str(file)]


@contextlib.contextmanager
def strict_server(folder: Path, authority: Authority, *, maximum: int = SSL.TLS1_3_VERSION) -> Iterator[str]:
    """Demands a certificate of the client CA, which it names, and sends an alert without one; yields its URL."""
    certificate, key = authority.issue_server("localhost").write(folder, "strict")
    (folder / "client-ca.pem").write_text(CLIENT_CA.pem)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(maximum)
    context.use_certificate_chain_file(str(certificate))
    context.use_privatekey_file(str(key))
    context.load_verify_locations(str(folder / "client-ca.pem"))
    context.load_client_ca(str(folder / "client-ca.pem").encode())
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)

    def answer_one(connection: socket.socket) -> None:
        tls = SSL.Connection(context, connection)
        tls.set_accept_state()
        with contextlib.suppress(SSL.Error):
            tls.recv(4096)
            tls.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            tls.shutdown()
        with contextlib.suppress(OSError):  # read to its end, so that the alert arrives however late it is read
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        connection.close()

    with _accepting(answer_one) as port:
        yield f"https://localhost:{port}"


@contextlib.contextmanager
def silent_socket(*, greeting: bytes = b"", closes: bool = False) -> Iterator[int]:
    """Accepts connections, says this, and then nothing, or good-bye; yields its port."""
    kept: list[socket.socket] = []

    def greet(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(greeting)
        if closes:
            connection.close()
        else:
            kept.append(connection)

    try:
        with _accepting(greet) as port:
            yield port
    finally:
        for connection in kept:
            connection.close()


@contextlib.contextmanager
def _accepting(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """Hands each connection over, one after the other, in a thread; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    handle(listening.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)
