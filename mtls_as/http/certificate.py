"""From the ASGI scope to the certificate whose key this connection proved; headers play no part in it."""

import ssl
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from mtls_as.pki.presented import PresentedCertificate, present
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import CertificateError
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError


def presented_certificate(scope: Mapping[str, Any]) -> PresentedCertificate | None:
    """The certificate on this connection, or None. Raises `OAuthError` `invalid_client` for one that cannot be read.

    Read from the DER chain that `mtls_as.tls` leaves in the scope, or from the ASGI TLS extension of another server.
    """
    try:
        der_chain = _der_chain(scope.get("extensions") or {})
        return _present(der_chain) if der_chain else None
    except (CertificateError, ValueError) as error:
        raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.CERTIFICATE_MALFORMED, str(error)) from None


def _der_chain(extensions: Mapping[str, Any]) -> tuple[bytes, ...]:
    ours = extensions.get("mtls_as")
    if ours is not None:
        chain: tuple[bytes, ...] = ours["client_der_chain"]
        return chain
    pem_chain: Iterable[str] = extensions.get("tls", {}).get("client_cert_chain") or ()
    return tuple(ssl.PEM_cert_to_DER_cert(pem) for pem in pem_chain)


# Kept-alive connections and returning clients bring the same octets again; parsing them once is enough.
@lru_cache(maxsize=512)
def _present(der_chain: tuple[bytes, ...]) -> PresentedCertificate:
    return present(der_chain)
