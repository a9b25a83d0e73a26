"""What an application learns about the TLS connection: the ASGI TLS extension 0.2, and ours beside it."""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, Self

from OpenSSL import SSL

from mtls_as.rfc.rfc5280_certificate import CertificateError, parse_certificate
from mtls_as.tls.context import CIPHER_SUITES

NOT_VERIFIED: Final = "the certification path is not verified by the TLS layer"
"""`client_cert_error` of every connection with a certificate: possession of the leaf's key is all that was proved."""

_MAX_CACHED_BYTES: Final = 4096


class ConnectionFacts(Protocol):
    """What the scopes of one connection's requests are told about it."""

    def scope_extensions(self) -> dict[str, dict[str, Any]]:
        """Fresh members for `scope["extensions"]`."""
        ...

    def own_extension(self) -> dict[str, Any]:
        """The member `mtls_as` of these."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSExtension:
    """The facts of one connection, fixed when its handshake ended."""

    listener: str
    client_der_chain: tuple[bytes, ...]
    """Leaf first, as presented; only the leaf's key was proved. Empty without a client certificate."""
    server_cert: str
    tls_version: int
    cipher_suite: int | None
    tls_group: str | None

    @classmethod
    def of(
        cls, connection: SSL.Connection, *, client_der_chain: tuple[bytes, ...], listener: str, server_cert: str
    ) -> Self:
        """Read the rest of a connection whose handshake is complete."""
        return cls(
            listener=listener,
            client_der_chain=client_der_chain,
            server_cert=server_cert,
            tls_version=connection.get_protocol_version(),
            cipher_suite=CIPHER_SUITES.get(connection.get_cipher_name() or ""),
            tls_group=_group(connection),
        )

    def scope_extensions(self) -> dict[str, dict[str, Any]]:
        """Fresh members for `scope["extensions"]`, so that no request can alter what another one sees."""
        chain = self.client_der_chain
        return {
            "tls": {
                "server_cert": self.server_cert,
                "client_cert_chain": [_pem(der) for der in chain],
                "client_cert_name": _name(chain[0]) if chain else None,
                "client_cert_error": NOT_VERIFIED if self.client_der_chain else None,
                "tls_version": self.tls_version,
                "cipher_suite": self.cipher_suite,
            },
            "mtls_as": self.own_extension(),
        }

    def own_extension(self) -> dict[str, Any]:
        """Our own member alone."""
        return {"client_der_chain": self.client_der_chain, "listener": self.listener, "tls_group": self.tls_group}


def _group(connection: SSL.Connection) -> str | None:
    try:
        return connection.get_group_name()
    except NotImplementedError:  # an OpenSSL before 3.2
        return None


def _pem(der: bytes) -> str:
    return _short_pem(der) if len(der) <= _MAX_CACHED_BYTES else ssl.DER_cert_to_PEM_cert(der)


def _name(der: bytes) -> str | None:
    """The subject as an RFC 4514 string, or None where it cannot be read.

    Asked of the leaf alone: clients send whatever they like behind it, which would be parsed for each request.
    """
    return _short_name(der) if len(der) <= _MAX_CACHED_BYTES else _subject(der)


def _subject(der: bytes) -> str | None:
    try:
        return str(parse_certificate(der).subject)
    except CertificateError:
        return None


_short_pem = lru_cache(maxsize=1024)(ssl.DER_cert_to_PEM_cert)
_short_name = lru_cache(maxsize=1024)(_subject)
