"""TLS over memory: OpenSSL without a socket, typed, for one connection.

Bytes go in and out by the functions that pyOpenSSL stands on, since its own methods make a new buffer and an exception
at each turn. Errors are still told by pyOpenSSL. `tests/tls/test_hypercorn_contract.py` holds the names in use.
"""

from typing import Any, Final

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from mtls_as.tls.context import ALPN_HTTP_2
from mtls_as.tls.extension import TLSExtension

_RECORD_BYTES: Final = 16 * 1024
_SCRATCH_BYTES: Final = 80 * 1024
"""What 64 KiB become as records, and more than any flight of a handshake that we send."""
MAX_CHAIN: Final = 10
"""Certificates taken from a client, the leaf included; further ones are dropped."""


class Scratch:
    """Memory that OpenSSL writes into, until it is copied out: for all connections of one event loop."""

    __slots__ = ("bio", "content", "memory")

    def __init__(self) -> None:
        self.memory: Final = ffi.new("char[]", _SCRATCH_BYTES)
        self.content: Final = ffi.buffer(self.memory)
        """The same, as Python reads it: a slice is a copy."""
        self.bio: Final = ffi.gc(lib.BIO_new(lib.BIO_s_mem()), lib.BIO_free)
        """For what OpenSSL writes nowhere else; empty between two calls."""

    def drain(self, bio: Any) -> bytes:  # noqa: ANN401 - OpenSSL's types have no names here
        """All that waits in a BIO."""
        size = lib.BIO_read(bio, self.memory, _SCRATCH_BYTES)
        piece: bytes = self.content[:size] if size > 0 else b""
        return piece + self.drain(bio) if size == _SCRATCH_BYTES else piece


class RecordLayer:
    """The server's side of one TLS connection. Ciphertext goes in by `feed` and comes out by `take_records`."""

    __slots__ = ("_connection", "_from_ssl", "_into_ssl", "_scratch", "_ssl", "ended")

    def __init__(self, context: SSL.Context, scratch: Scratch) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._ssl: Any = self._connection._ssl  # noqa: SLF001 - as said above
        self._into_ssl: Any = self._connection._into_ssl  # noqa: SLF001 - as said above
        self._from_ssl: Any = self._connection._from_ssl  # noqa: SLF001 - as said above
        self._scratch = scratch
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
        chain = self._client_chain()
        return TLSExtension.of(self._connection, client_der_chain=chain, listener=listener, server_cert=server_cert)

    def feed(self, records: bytes) -> None:
        """Take what the transport received."""
        if lib.BIO_write(self._into_ssl, records, len(records)) != len(records):
            raise SSL.Error("the memory of a connection takes no more")

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is complete. Raises `SSL.Error`, or what the ALPN callback raised."""
        result = lib.SSL_do_handshake(self._ssl)
        return bool(result == 1) or not self._wants_more(result)

    def read(self) -> list[bytes]:
        """All decrypted bytes at hand. Reads every pending record: a record left behind would wait for the next packet.

        Raises `SSL.Error`.
        """
        chunks: list[bytes] = []
        # A record never holds more than is asked for. OpenSSL takes one at a time, so what is left is where it was fed.
        scratch = self._scratch
        while (size := lib.SSL_read(self._ssl, scratch.memory, _RECORD_BYTES)) > 0:
            chunks.append(scratch.content[:size])
            if not lib.BIO_get_mem_data(self._into_ssl, ffi.NULL):
                return chunks
        try:
            self._wants_more(size)
        except SSL.ZeroReturnError:
            self.ended = True
        return chunks

    def encrypt(self, data: bytes, *, last: bool) -> bytes:
        """The records of `data`, never empty, and if it is the last, the alert that says so. Raises `SSL.Error`."""
        result = lib.SSL_write(self._ssl, data, len(data))
        if result != len(data):
            self._wants_more(result)
            raise SSL.Error("a record was not written")
        if last:
            self._connection.shutdown()
        return self.take_records()

    def take_records(self) -> bytes:
        """What waits to be sent."""
        return self._scratch.drain(self._from_ssl)

    def close_notify(self) -> bytes:
        """The alert that says that nothing more comes, and whatever else waited to be sent. Raises `SSL.Error`."""
        self._connection.shutdown()
        return self.take_records()

    def _client_chain(self) -> tuple[bytes, ...]:
        """What the client presented, DER, leaf first."""
        leaf = lib.SSL_get_peer_certificate(self._ssl)
        if leaf == ffi.NULL:
            return ()
        try:
            chain = [self._encode(leaf)]
        finally:
            lib.X509_free(leaf)
        # On the server's side OpenSSL leaves the peer's own certificate out of the chain.
        issuers = lib.SSL_get_peer_cert_chain(self._ssl)
        count = 0 if issuers == ffi.NULL else min(lib.sk_X509_num(issuers), MAX_CHAIN - 1)
        return (*chain, *[self._encode(lib.sk_X509_value(issuers, place)) for place in range(count)])

    def _encode(self, certificate: Any) -> bytes:  # noqa: ANN401 - OpenSSL's types have no names here
        if lib.i2d_X509_bio(self._scratch.bio, certificate) != 1:
            raise SSL.Error("a certificate cannot be encoded")
        return self._scratch.drain(self._scratch.bio)

    def _wants_more(self, result: int) -> bool:
        """Whether OpenSSL failed for want of bytes. Raises what pyOpenSSL makes of any other failure."""
        if lib.SSL_get_error(self._ssl, result) == lib.SSL_ERROR_WANT_READ:
            return True
        self._connection._raise_ssl_error(self._ssl, result)  # noqa: SLF001 - as said above
        return False
