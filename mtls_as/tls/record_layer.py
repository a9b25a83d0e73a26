"""TLS over memory: OpenSSL without a socket, typed, for one connection."""

from typing import Final

from OpenSSL import SSL

from mtls_as.tls.context import ALPN_HTTP_2
from mtls_as.tls.extension import TLSExtension

_RECORD_BYTES: Final = 16 * 1024
_RECORD_OVERHEAD: Final = 64


class RecordLayer:
    """The server's side of one TLS connection. Ciphertext goes in by `feed` and comes out by `take_records`."""

    __slots__ = ("_connection", "ended")

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self.ended = False
        """The client has said that it sends nothing more (close_notify)."""

    @property
    def connection(self) -> SSL.Connection:
        """OpenSSL's connection, to read facts from."""
        return self._connection

    @property
    def sends_tickets(self) -> bool:
        """Whether tickets wait to be sent after the handshake, which is so in TLS 1.3."""
        return self._connection.get_protocol_version() >= SSL.TLS1_3_VERSION

    @property
    def speaks_http_2(self) -> bool:
        """Whether the handshake agreed on HTTP/2."""
        return self._connection.get_alpn_proto_negotiated() == ALPN_HTTP_2

    def extension(self, *, listener: str, server_cert: str) -> TLSExtension:
        """What an application learns about the connection, once its handshake is complete."""
        return TLSExtension.of(self._connection, listener=listener, server_cert=server_cert)

    def feed(self, records: bytes) -> None:
        """Take what the transport received."""
        self._connection.bio_write(records)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is complete. Raises `SSL.Error`, or what the ALPN callback raised."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def read(self) -> list[bytes]:
        """All decrypted bytes at hand. Reads every pending record: a record left behind would wait for the next packet.

        Raises `SSL.Error`.
        """
        chunks: list[bytes] = []
        try:
            while True:
                chunks.append(self._connection.recv(_RECORD_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        return chunks

    def encrypt(self, data: bytes | memoryview, *, last: bool) -> bytes:
        """The records of `data`, and if it is the last, the alert that says so. Raises `SSL.Error`."""
        self._connection.sendall(data)
        if last:
            self._connection.shutdown()
        return self.take_records(len(data))

    def take_records(self, plain: int = 0) -> bytes:
        """What waits to be sent; `plain` is how many bytes were encrypted, to read it all at once."""
        size = plain + _RECORD_BYTES + (plain // _RECORD_BYTES + 1) * _RECORD_OVERHEAD if plain else _RECORD_BYTES
        records = self._take(size)
        if len(records) < size:
            return records
        parts = [records]
        while len(parts[-1]) == size:
            parts.append(self._take(size))
        return b"".join(parts)

    def close_notify(self) -> bytes:
        """The alert that says that nothing more comes, and whatever else waited to be sent. Raises `SSL.Error`."""
        self._connection.shutdown()
        return self.take_records()

    def _take(self, size: int) -> bytes:
        try:
            return self._connection.bio_read(size)
        except SSL.WantReadError:
            return b""
