"""A client on the OpenSSL that comes with `cryptography`, for what that of the system does not know, such as ML-DSA."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from OpenSSL import SSL

from tests.authority import Identity

SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.contextmanager
def connected(port: int, identity: Identity | None = None, *, folder: Path) -> Iterator[SSL.Connection]:
    """A TLS connection to a port on loopback that presents `identity`; the server is not verified."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if identity is not None:
        certificate, key = identity.write(folder, f"openssl-{identity.certificate.serial_number}")
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(context, plain)
        connection.set_tlsext_host_name(b"localhost")
        connection.set_connect_state()
        connection.do_handshake()
        yield connection
        with contextlib.suppress(SSL.Error):
            connection.shutdown()


def request(connection: SSL.Connection, method: str, path: str, *, headers: str = "", body: bytes = b"") -> Answer:
    """One exchange of HTTP/1.1."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    connection.sendall(head.encode() + body)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    answered, _, content = received.partition(b"\r\n\r\n")
    lines = answered.decode().split("\r\n")
    lengths = [int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")]
    while len(content) < sum(lengths):
        content += connection.recv(65536)
    return Answer(int(lines[0].split()[1]), content)


def post_form(connection: SSL.Connection, path: str, form: dict[str, Any]) -> Answer:
    """POST a form."""
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    return request(connection, "POST", path, headers=kind, body=urlencode(form).encode())
