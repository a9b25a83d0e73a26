"""SPIFFE bundle endpoints (SPIFFE Federation §5): the document at one, and how its server proves itself.

`https_web`: a CA that is trusted for URLs vouches for the host. `https_spiffe`: the server is a workload, known by its
SPIFFE ID and the authorities of its trust domain, and the host's name means nothing.
"""

import ssl
from collections.abc import Iterable
from pathlib import Path

from mtls_as.remote.documents import DocumentFetcher
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate
from mtls_as.rfc.spiffe_id import SpiffeID
from mtls_as.rfc.spiffe_x509_svid import X509SVIDError, read_x509_svid


async def fetch_document(url: str, ssl_context: ssl.SSLContext) -> object:
    """The parsed document at a bundle endpoint. Redirects are not followed. Raises `DocumentUnavailable` alone."""
    fetcher = DocumentFetcher(ssl_context=ssl_context)
    try:
        return await fetcher.get_json(url)
    finally:
        await fetcher.aclose()


def web_context(ca: Path | None) -> ssl.SSLContext:
    """`https_web` (§5.2.1): trusts the CAs of a PEM file, or those of the system. Raises `OSError` for a bad file."""
    return ssl.create_default_context(cafile=ca)


def spiffe_context(server: SpiffeID, authorities: Iterable[Certificate]) -> ssl.SSLContext:
    """`https_spiffe` (§5.2.2): trusts one workload, whose X.509-SVID one of these authorities issued.

    The handshake fails for any other server, so that nothing is asked of it.
    """

    class _KnownWorkload(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _check_server(self.getpeercert(binary_form=True), server)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # An authority of a bundle need not sign itself (X509-SVID §6.1).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for authority in authorities:
        context.load_verify_locations(cadata=authority.der)
    context.sslobject_class = _KnownWorkload
    return context


def _check_server(certificate: bytes | None, expected: SpiffeID) -> None:
    try:
        found = read_x509_svid(parse_certificate(certificate or b""))
    except (CertificateError, X509SVIDError) as error:
        raise ssl.SSLCertVerificationError(f"the server has no X.509-SVID: {error}") from None
    if found != expected:
        raise ssl.SSLCertVerificationError(f"the server is '{found}', and not '{expected}'")
