"""Where the certificate of a request's client is found: one named place, chosen by the application, never guessed.

What a source hands back is the leaf whose key the client has proved to hold; nothing else of a chain is. A request that
shows a certificate in two places is refused: one of them may be somebody else's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, Protocol

from mtls_as.forwarded import (
    CERTIFICATE_HEADERS,
    ForwardedCertificateError,
    Hop,
    HopError,
    ListedHop,
    PinnedHop,
    SocketHop,
    TrustedProxy,
)
from mtls_as.rfc.certificate_pins import PinError, Pins
from mtls_as.rfc.rfc7468_pem import PEMError, certificate_der
from mtls_as.verifier.errors import InvalidToken, TokenRefusal
from mtls_as.verifier.request import ResourceRequest

Certificate = bytes | str
"""DER, or PEM."""

# A WSGI server does not tell a hyphen from an underscore.
_CERTIFICATE_HEADERS: Final = CERTIFICATE_HEADERS | {name.replace(b"_", b"-") for name in CERTIFICATE_HEADERS}
_JOINED_CHAINS: Final = frozenset({"traefik"})
"""Presets in which a comma stands between certificates, and so may also stand between two headers."""


class CertificateRefused(Exception):  # noqa: N818 # an answer, not a mistake
    """The request's certificate is nobody's to believe: HTTP 400 `invalid_request`, or 403 if no proxy of ours sent it.

    `description` is public; the message is for the log, and quotes no input.
    """

    def __init__(self, status: int, description: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.description = description


class CertificateSource(Protocol):
    """One place where the client's certificate is found."""

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """The leaf, DER or PEM, or None without one. Raises `InvalidToken` and `CertificateRefused`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSExtension:
    """The ASGI server's own TLS layer, as it reports it in the scope: for `mtls_as.tls.serve` and others that do.

    Read are `mtls_as` (ours), `client_cert_chain` of the ASGI TLS extension, its first element (PEM), and
    `client_cert` (DER), which uvicorn may get instead. `ignore_certificate_headers` lets requests in that carry the
    header of some proxy beside the certificate of their connection; it is not read then either.
    """

    ignore_certificate_headers: bool = False

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """As `CertificateSource`."""
        return direct_certificate(request, _reported_leaf(request.connection), ignore=self.ignore_certificate_headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironVariable:
    """A variable that the WSGI server itself sets to the certificate, PEM.

    `SSL_CLIENT_CERT`: Werkzeug, and Apache with mod_wsgi and `SSLOptions +ExportCertData`. `HTTPS_CC`: uWSGI with
    `https-export-cert`. Raises `ValueError` for a name that a client's header would set.
    """

    name: str = "SSL_CLIENT_CERT"
    ignore_certificate_headers: bool = False
    """As in `TLSExtension`."""

    def __post_init__(self) -> None:
        if not self.name or self.name.upper().startswith("HTTP_"):
            raise ValueError("variables that begin with HTTP_ are headers, which clients write")

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """As `CertificateSource`."""
        pem: str | None = request.connection.get(self.name)
        return direct_certificate(request, pem or None, ignore=self.ignore_certificate_headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSocket:
    """The TLS socket that the WSGI server keeps in the environ: `gunicorn.socket`, or `werkzeug.socket`."""

    name: str = "gunicorn.socket"
    ignore_certificate_headers: bool = False
    """As in `TLSExtension`."""

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """As `CertificateSource`."""
        ask = getattr(request.connection.get(self.name), "getpeercert", None)
        der: bytes | None = None if ask is None else ask(binary_form=True)
        return direct_certificate(request, der, ignore=self.ignore_certificate_headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedCertificate:
    """A header that a proxy writes, which ends TLS in front of this server (RFC 8705 §6.5), in the form of a `preset`.

    `rfc9440`, `nginx`, `apache`, `haproxy`, `envoy`, `traefik` or `aws-alb`; `header` and `chain_header` replace its
    names. A header is worth what the hop is worth that brings it, so exactly one proof is needed that a request comes
    from the proxy: `unix_socket`, whose file mode lets nobody else connect; `proxy_certificates`, `sha256:` pins of the
    certificate that the proxy presents to this server, which the source `handshake` reads; or `proxy_addresses`, on
    loopback alone. Raises `ValueError` without, or with more than one.

    The proxy must ask for a certificate in every handshake, and replace the header in every request.
    """

    preset: str
    unix_socket: bool = False
    proxy_addresses: Iterable[str] = ()
    proxy_certificates: Iterable[str] = ()
    handshake: CertificateSource | None = None
    header: str | None = None
    chain_header: str | None = None
    ignore_other_headers: bool = False
    """Lets requests in that carry the header of another proxy, too; it is not read then either."""
    _proxy: TrustedProxy = field(init=False, repr=False)

    def __post_init__(self) -> None:
        hop = _hop(self.unix_socket, tuple(self.proxy_addresses), tuple(self.proxy_certificates))
        if isinstance(hop, PinnedHop) != (self.handshake is not None):
            raise ValueError("proxy_certificates and handshake, which reads the proxy's certificate, come together")
        proxy = TrustedProxy(hop=hop, preset=self.preset, header=self.header, chain_header=self.chain_header)
        object.__setattr__(self, "_proxy", proxy)

    @property
    def headers(self) -> frozenset[bytes]:
        """The names that are read, in lower case."""
        return self._proxy.headers

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """As `CertificateSource`. Whether the client came to the proxy over TLS is the proxy's word, too."""
        headers = [(name.lower(), value) for name, value in request.headers]
        try:
            chain = self._proxy.read(headers, peer=request.peer, der_chain=self._proxys_chain(request))
        except HopError as error:
            raise CertificateRefused(403, "The request did not come through the proxy.", str(error)) from None
        except ForwardedCertificateError as error:
            description = "The header with the client's certificate is malformed."
            raise CertificateRefused(400, description, str(error)) from None
        others = _CERTIFICATE_HEADERS - self.headers
        if not self.ignore_other_headers and any(name in others for name, _ in headers):
            raise _two_places("a header of another proxy came along")
        if not chain:
            return None
        if request.headers_joined and self.preset in _JOINED_CHAINS and len(chain) > 1:
            raise _two_places("this may be a chain, or two headers that the server joined")
        return chain[0]

    def _proxys_chain(self, request: ResourceRequest) -> tuple[bytes, ...]:
        """What the proxy presented in its own handshake; nobody presents anything on the other hops."""
        if self.handshake is None:
            if _has_own_certificate(request.connection):
                raise _two_places("the connection has a certificate of its own, by which no proxy is proven")
            return ()
        certificate = self.handshake(request._replace(headers=()))
        try:
            return (certificate_der(certificate),) if certificate else ()
        except PEMError as error:
            raise HopError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCertificate:
    """What the caller itself puts under `name` in the request's `connection`: for adapters of one's own."""

    name: str = "certificate"

    def __call__(self, request: ResourceRequest) -> Certificate | None:
        """As `CertificateSource`."""
        return direct_certificate(request, request.connection[self.name], ignore=True)


def direct_certificate(
    request: ResourceRequest, certificate: Certificate | None, *, ignore: bool = False
) -> Certificate | None:
    """The certificate of the connection itself, for sources of one's own. Raises `InvalidToken` without TLS.

    Unless headers are to be ignored, raises `CertificateRefused` for a request that also has that of some proxy.
    """
    if not request.secure:
        raise InvalidToken(TokenRefusal.NOT_OVER_TLS, "the request did not come over TLS")
    if (
        certificate
        and not ignore
        and not _CERTIFICATE_HEADERS.isdisjoint([name.lower() for name, _ in request.headers])
    ):
        raise _two_places("the connection has a certificate, and so has a header")
    return certificate


def _reported_leaf(scope: Mapping[str, Any]) -> Certificate | None:
    """Element 0 of the chain and no other: its key alone was proved."""
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    for extension, member in (("mtls_as", "client_der_chain"), ("tls", "client_cert_chain")):
        chain = (extensions.get(extension) or {}).get(member)
        if chain:
            leaf: Certificate = next(iter(chain))
            return leaf
    return (extensions.get("tls") or {}).get("client_cert") or None


def _has_own_certificate(connection: Mapping[str, Any]) -> bool:
    return bool(_reported_leaf(connection) or connection.get(EnvironVariable().name))


def _two_places(detail: str) -> CertificateRefused:
    return CertificateRefused(400, "The client's certificate stands in two places.", detail)


def _hop(unix_socket: bool, addresses: tuple[str, ...], pins: tuple[str, ...]) -> Hop:  # noqa: FBT001 # as the field
    if [unix_socket, bool(addresses), bool(pins)].count(True) != 1:
        raise ValueError("exactly one of unix_socket, proxy_addresses and proxy_certificates proves the proxy")
    if unix_socket:
        return SocketHop()
    if addresses:
        return ListedHop(frozenset(map(ip_address, addresses)))
    try:
        return PinnedHop(Pins.of(pins))
    except PinError as error:
        raise ValueError(str(error)) from None
