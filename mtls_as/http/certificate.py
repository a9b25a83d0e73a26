"""From the ASGI scope to the client's certificate. The listener alone decides where it is found.

On the mTLS listener it is the certificate of the handshake; headers play no part in it. On the proxy listener it is the
one that the proxy forwards; the handshake there, if there is one, is the proxy's own. Either way only the proof of its
key is taken for granted: the same engine verifies both.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from mtls_as.forwarded import (
    CERTIFICATE_HEADERS,
    ForwardedCertificateError,
    ForwardingFault,
    HopError,
    TrustedProxy,
)
from mtls_as.pki.presented import PresentedCertificate, present
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import CertificateError
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.events import RequestEvent

HEADER_IGNORED: Final = "certificate header ignored"

Scope = Mapping[str, Any]


class CertificateSource(Protocol):
    """Where the requests of one listener have their certificate."""

    def __call__(self, scope: Scope, event: RequestEvent) -> PresentedCertificate | None:
        """The client's certificate, or None without one. Notes in `event` what was ignored. Raises `OAuthError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeCertificate:
    """The certificate whose key this connection proved. A request with one of `headers` is noted, and these ignored."""

    headers: frozenset[bytes] = CERTIFICATE_HEADERS

    def __call__(self, scope: Scope, event: RequestEvent) -> PresentedCertificate | None:
        """Raises `OAuthError` `invalid_client` for a certificate that cannot be read."""
        note_ignored_headers(scope, self.headers, event)
        return _presented(handshake_chain(scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedCertificate:
    """The certificate whose key a client proved to the proxy (RFC 8705 §6.5, §7.2)."""

    proxy: TrustedProxy

    def __call__(self, scope: Scope, event: RequestEvent) -> PresentedCertificate | None:
        """Raises `OAuthError`: `invalid_request` for a request that the proxy did not send, or for a header that it
        cannot have sent; `invalid_client` for a certificate that cannot be read.
        """
        event.unverified_forwarded_for = forwarded_for(scope)
        note_ignored_headers(scope, CERTIFICATE_HEADERS - self.proxy.headers, event)
        try:
            chain = self.proxy.read(scope["headers"], peer=peer_address(scope), der_chain=handshake_chain(scope))
        except HopError as error:
            raise hop_refusal(error) from None
        except ForwardedCertificateError as error:
            raise OAuthError(ErrorCode.INVALID_REQUEST, _refusal(error.fault), str(error)) from None
        return _presented(chain or ())


def hop_refusal(error: HopError) -> OAuthError:
    """The refusal of a request that the proxy did not send."""
    return OAuthError(ErrorCode.INVALID_REQUEST, Refusal.PROXY_NOT_AUTHENTICATED, str(error))


def note_ignored_headers(scope: Scope, headers: frozenset[bytes], event: RequestEvent) -> None:
    """Note in the event that a request has one of these headers, and that nobody reads it."""
    for name, _ in scope["headers"]:
        if name in headers:
            event.note = HEADER_IGNORED


def peer_address(scope: Scope) -> str | None:
    """Where the connection comes from; None on a unix socket."""
    client = scope.get("client")
    return client[0] if client else None


def tls_group(scope: Scope) -> str | None:
    """What agreed on the keys of the connection, as OpenSSL names it; None where the server does not say."""
    ours = (scope.get("extensions") or {}).get("mtls_as")
    return ours["tls_group"] if ours is not None else None


def handshake_chain(scope: Scope) -> tuple[bytes, ...]:
    """What the peer presented in its handshake, DER, leaf first; empty if nothing, or without TLS.

    Read from the DER chain that `mtls_as.tls` leaves in the scope, or from the ASGI TLS extension of another server.
    Raises `OAuthError` `invalid_client` if the latter is not PEM.
    """
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    ours = extensions.get("mtls_as")
    if ours is not None:
        chain: tuple[bytes, ...] = ours["client_der_chain"]
        return chain
    pem_chain: Iterable[str] = extensions.get("tls", {}).get("client_cert_chain") or ()
    try:
        return tuple(ssl.PEM_cert_to_DER_cert(pem) for pem in pem_chain)
    except ValueError as error:
        raise _unreadable(error) from None


def _presented(der_chain: tuple[bytes, ...]) -> PresentedCertificate | None:
    try:
        return _present(der_chain) if der_chain else None
    except CertificateError as error:
        raise _unreadable(error) from None


# Kept-alive connections and returning clients bring the same octets again; parsing them once is enough.
@lru_cache(maxsize=512)
def _present(der_chain: tuple[bytes, ...]) -> PresentedCertificate:
    return present(der_chain)


def _unreadable(error: Exception) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_CLIENT, Refusal.CERTIFICATE_MALFORMED, str(error))


def _refusal(fault: ForwardingFault) -> Refusal:
    if fault is ForwardingFault.REPEATED_HEADER:
        return Refusal.FORWARDED_CERTIFICATE_REPEATED
    return Refusal.FORWARDED_CERTIFICATE_MALFORMED


def forwarded_for(scope: Scope) -> str | None:
    """What the proxy, or anybody before it, says about where the request comes from. For the log alone."""
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return b", ".join(values).decode("ascii", "backslashreplace") or None
