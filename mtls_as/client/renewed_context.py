"""A TLS context that follows a certificate: each new connection presents the newest one."""

import ssl
import threading
from typing import Any, Self
from weakref import WeakSet

from mtls_as.client.credentials import CertificateSource, Credentials


class RenewedContext(ssl.SSLContext):
    """What a library takes for its one TLS context; connections are made by another one behind it.

    That one is replaced as a whole when the certificate is, since OpenSSL has no way to replace a certificate and its
    key at once in a context that is in use. Settings made here do not reach it, but for ALPN: so nobody can turn off
    by mistake that servers are verified.
    """

    def __new__(cls, _source: CertificateSource) -> Self:
        """As `ssl.SSLContext`, which wants to know the protocol here."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, source: CertificateSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._made: tuple[Credentials, ssl.SSLContext] | None = None
        self._outdated = WeakSet[ssl.SSLContext]()
        self._alpn: list[str] | None = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:  # noqa: ANN401 # as ssl.SSLContext
        """As `ssl.SSLContext`."""
        return self._newest().wrap_socket(*arguments, **options)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:  # noqa: ANN401 # as ssl.SSLContext
        """As `ssl.SSLContext`."""
        return self._newest().wrap_bio(*arguments, **options)

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:  # noqa: ANN401 # as ssl.SSLContext
        """As `ssl.SSLContext`."""
        self._alpn = list(alpn_protocols)
        if self._made is not None:
            self._made[1].set_alpn_protocols(self._alpn)

    def is_outdated(self, connection: ssl.SSLSocket | ssl.SSLObject | None) -> bool:
        """Whether a connection was made by this context, with a certificate that has been renewed since."""
        self._newest()
        return connection is not None and connection.context in self._outdated

    def _newest(self) -> ssl.SSLContext:
        credentials = self._source.current()
        with self._lock:
            if self._made is None or self._made[0] is not credentials:
                context = credentials.tls_context()
                if self._alpn is not None:
                    context.set_alpn_protocols(self._alpn)
                if self._made is not None:
                    self._outdated.add(self._made[1])
                self._made = credentials, context
            return self._made[1]
