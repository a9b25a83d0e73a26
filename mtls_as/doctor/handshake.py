"""A TLS connection that trusts nothing and tells everything: what the server shows, asks for, and refuses.

pyOpenSSL, which the server stands on already, tells what `ssl` does not: the key exchange, the chain as it was sent,
whether a certificate was asked for, and of which CAs. Nothing secret goes over such a connection.
"""

import asyncio
import contextlib
import ipaddress
import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from mtls_as.doctor.observations import Handshake, Probe
from mtls_as.rfc.rfc4514_dn import DistinguishedNameError, decode_dn
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate

CLOSED: Final = "closed"
"""The server ended the connection without a word."""

_PAUSE: Final = 0.05  # seconds
_READ: Final = 16 * 1024
_MAX_HEAD: Final = 64 * 1024
_CERTIFICATE_REQUEST: Final = b"read server certificate request"  # the state of OpenSSL after that message
_STATUS: Final = re.compile(r"[1-5][0-9]{2}(?![0-9])")
_MAX_REASON: Final = 200


def library() -> str:
    """Which OpenSSL speaks here."""
    return SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()


async def shake_hands(address: str, host: str, port: int) -> Handshake:
    """One handshake without a certificate. Raises `OSError` of the network alone."""
    async with _connected(address, host, port, _context(alpn=(b"h2", b"http/1.1"))) as connection:
        return connection.describe(await connection.shake_hands())


async def probe(address: str, host: str, port: int, target: str, *, identity: tuple[Path, Path] | None) -> Probe:
    """Ask for a path with a certificate (chain and key, PEM files) or without, and read the head of the answer.

    Raises `OSError` of the network alone.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = (f"GET {target} HTTP/1.1", f"Host: {authority}", "Accept: application/json", "Connection: close", "", "")
    try:
        context = _context(alpn=(b"http/1.1",), identity=identity)
    except SSL.Error as error:
        return Probe(alert=f"{library()} does not take it: {_reason(error)}")
    async with _connected(address, host, port, context) as connection:
        failure = await connection.shake_hands()
        if failure is not None:
            return Probe(alert=failure)
        if identity is not None:
            await connection.listen()
        asked_at = datetime.now(UTC)
        head, failure = await connection.ask("\r\n".join(lines).encode("ascii"))
        answered_at = datetime.now(UTC)
    status, date = read_head(head)
    if status is None:
        return Probe(alert=failure or CLOSED)
    return Probe(status=status, server_date=date, local_date=asked_at + (answered_at - asked_at) / 2)


def read_head(head: bytes) -> tuple[int | None, datetime | None]:
    """The status of an answer in HTTP/1.1, and its `Date`, where they can be read."""
    first, *fields = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    protocol, _, rest = first.partition(" ")
    if not protocol.startswith("HTTP/1.") or not _STATUS.match(rest):
        return None, None
    for field in fields:
        name, _, value = field.partition(":")
        if name.strip().lower() == "date":
            with contextlib.suppress(ValueError, OverflowError):
                date = parsedate_to_datetime(value.strip())
                return int(rest[:3]), date if date.tzinfo else date.replace(tzinfo=UTC)
    return int(rest[:3]), None


def _context(*, alpn: Sequence[bytes], identity: tuple[Path, Path] | None = None) -> SSL.Context:
    """Raises `SSL.Error` for a certificate that the library does not take."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos(list(alpn))
    if identity is not None:
        certificate, key = identity
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
    return context


@contextlib.asynccontextmanager
async def _connected(address: str, host: str, port: int, context: SSL.Context) -> AsyncIterator["_Connection"]:
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(address, port)
    try:
        yield _Connection(context, host, reader, writer, round_trip=time.monotonic() - begun)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Connection:
    """TLS in memory, with the network on its other side."""

    def __init__(
        self,
        context: SSL.Context,
        host: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        round_trip: float,
    ) -> None:
        context.set_info_callback(self._note)
        self._round_trip = round_trip
        self._reader, self._writer = reader, writer
        self._asks_for_certificate = False
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()
        if not _is_address(host):
            self._tls.set_tlsext_host_name(host.encode("ascii"))

    async def shake_hands(self) -> str | None:
        """Why it failed, or None."""
        while True:
            try:
                self._tls.do_handshake()
            except SSL.WantReadError:
                if not await self._exchange():
                    return CLOSED
            except SSL.Error as error:
                return _reason(error)
            else:
                await self._flush()
                return None

    async def listen(self) -> None:
        """Give the server the time to refuse our certificate, before a request comes in between.

        A server that closes a connection with a request unread resets it (RFC 9293 §3.6.1), and its alert may be lost.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE + 2 * self._round_trip):
                await self._exchange()

    async def ask(self, request: bytes) -> tuple[bytes, str | None]:
        """What came of the answer's head, and, where the server ended the connection before, why."""
        head = b""
        try:
            self._tls.sendall(request)
            while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
                try:
                    head += self._tls.recv(_READ)
                except SSL.WantReadError:
                    if not await self._exchange():
                        return head, CLOSED
        except SSL.ZeroReturnError:
            return head, CLOSED
        except SSL.Error as error:
            return head, _reason(error)
        return head, None

    def describe(self, failure: str | None) -> Handshake:
        """What was seen until the handshake ended."""
        chain: tuple[Certificate, ...] = ()
        try:
            sent = self._tls.get_peer_cert_chain(as_cryptography=True) or ()
            chain = tuple(parse_certificate(certificate.public_bytes(Encoding.DER)) for certificate in sent)
        except (CertificateError, ValueError) as error:
            failure = failure or f"a certificate of the server cannot be read: {error}"
        if failure is not None and not chain:
            return Handshake(failure=failure)
        alpn = self._tls.get_alpn_proto_negotiated()
        return Handshake(
            version=self._tls.get_protocol_version_name(),
            group=self._tls.get_group_name(),
            alpn=ascii(alpn.decode("latin-1"))[1:-1] if alpn else None,
            chain=chain,
            asks_for_certificate=self._asks_for_certificate,
            authorities=self._authorities(),
            failure=failure,
        )

    def _authorities(self) -> tuple[str, ...]:
        try:
            names = self._tls.get_client_ca_list(as_cryptography=True)
        except ValueError:
            return ()
        return tuple(_text(name) for name in names)

    def _note(self, connection: SSL.Connection, _where: int, _result: int) -> None:
        if _CERTIFICATE_REQUEST in connection.get_state_string():
            self._asks_for_certificate = True

    async def _exchange(self) -> bool:
        """Send what is to be sent, and wait for more; whether some came."""
        await self._flush()
        try:
            received = await self._reader.read(_READ)
        except ConnectionError:
            return False
        if received:
            self._tls.bio_write(received)
        return bool(received)

    async def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self._writer.write(self._tls.bio_read(_READ))
        with contextlib.suppress(ConnectionError):  # what came before its end is still to be read
            await self._writer.drain()


def _text(name: x509.Name) -> str:
    try:
        return str(decode_dn(name.public_bytes()))
    except DistinguishedNameError:
        return name.rfc4514_string()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _reason(error: SSL.Error) -> str:
    """The name of the server's alert (RFC 8446 §6), as `certificate_required`, or OpenSSL's own words."""
    if isinstance(error, SSL.SysCallError):
        return CLOSED
    texts = [entry[-1] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    for text in texts:
        before, alert, name = text.partition("alert ")
        if alert and before.startswith(("tls", "ssl")):
            return "_".join(name.split())
    return ", ".join(texts)[:_MAX_REASON] or CLOSED
