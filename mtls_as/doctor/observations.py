"""What was seen: plain values, without a judgement, and without any token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from mtls_as.doctor.findings import Place
from mtls_as.doctor.hosts import is_for_host
from mtls_as.rfc.rfc5280_certificate import Certificate


class Reach(StrEnum):
    """How far the way to a server went."""

    NO_ADDRESS = "no_address"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One TLS handshake, in which nothing was trusted. `failure` says why there is nothing else, or why it ended."""

    version: str | None = None
    """`TLSv1.3`, …"""
    group: str | None = None
    """The key exchange: `X25519MLKEM768`, `x25519`, …; None where the library does not tell."""
    alpn: str | None = None
    chain: tuple[Certificate, ...] = ()
    """As the server sent it, its own first."""
    asks_for_certificate: bool = False
    authorities: tuple[str, ...] = ()
    """The CAs from which it asks for certificates, as RFC 4514 names; none means any."""
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the client's own TLS says of the server's chain: OpenSSL's code and words, None where it is trusted."""

    code: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A plain request over a connection with our certificate, or none, whose chain was not verified.

    `alert` is why the server ended the connection: `certificate_required`, `unknown_ca`, … in TLS 1.3 it says so only
    after the handshake.
    """

    status: int | None = None
    alert: str | None = None
    server_date: datetime | None = None
    """The `Date` header (RFC 9110 §6.6.1), in whole seconds."""
    local_date: datetime | None = None
    """Our own clock, half-way between the request and the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerObservation:
    """One server: an origin, and how far we came."""

    place: Place
    url: str
    """What was asked for."""
    host: str
    port: int
    addresses: tuple[str, ...] = ()
    reach: Reach
    failure: str = ""
    seconds: float = 0.0
    """Until the connection stood, or failed."""
    is_plain: bool = False
    """Plain http, on this machine."""
    handshake: Handshake | None = None
    trust: Trust | None = None
    probe: Probe | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether a client would go on talking to it: its chain is trusted, and its name is that of the host."""
        if self.trust is None or self.trust.code is not None or self.handshake is None:
            return False
        return bool(self.handshake.chain) and is_for_host(self.handshake.chain[0], self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificate:
    """The client's files. `failure` is the client's own word on why it cannot use them."""

    certificate_file: Path
    key_file: Path
    chain: tuple[Certificate, ...] = ()
    key_matches: bool | None = None
    """None where one of both cannot be read."""
    failure: str | None = None

    @property
    def leaf(self) -> Certificate | None:
        return self.chain[0] if self.chain else None

    @property
    def is_usable(self) -> bool:
        """Whether a connection can be made with it."""
        return self.failure is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A JSON document, or why there is none."""

    url: str
    status: int | None = None
    content: object = field(default=None, repr=False)
    failure: str | None = None
    """None where `content` is what the server answered, with status 200."""


def is_object(document: Document | None) -> bool:
    """Whether there is a JSON object."""
    return document is not None and document.failure is None and isinstance(document.content, dict)


def member_of(document: Document | None, name: str) -> object:
    """A member of the object, or None where there is none."""
    if document is None or not isinstance(document.content, dict):
        return None
    return document.content.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenObservation:
    """A token request of the client, and what came of it; the token itself is not here."""

    client_id: str
    endpoint: str
    requested_scope: str | None
    requested_resource: str | None
    error: str | None = None
    """The OAuth error (RFC 6749 §5.2)."""
    error_description: str = ""
    failure: str | None = None
    """Why there was no answer at all."""
    lifetime: float | None = None
    """Seconds."""
    scope: str | None = None
    is_jwt: bool = False
    claims: Mapping[str, object] | None = field(default=None, repr=False)
    signature_failure: str | None = None
    """Why the signature is not good; None with `claims` means that it is."""

    @property
    def was_issued(self) -> bool:
        return self.error is None and self.failure is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a resource answered, or why it did not (an alert is an answer too: it refuses)."""

    status: int | None = None
    challenge: Mapping[str, str] | None = None
    """The parameters of its Bearer challenge (RFC 6750 §3), {} for a bare one, None without one."""
    alert: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceObservation:
    """A resource, asked in four ways. None stands for a question that was not asked."""

    url: str
    metadata: Document | None = None
    unasked: str = ""
    """Why there is no answer at all."""
    without_token: Answer | None = None
    with_token: Answer | None = None
    without_certificate: Answer | None = None
    """With the token, over a connection without a certificate."""
    other_certificate: Answer | None = None
    """With the token, over a connection with a self-signed certificate that was made for this question."""

    @property
    def is_recognised(self) -> bool:
        """Whether it says of itself that it is one."""
        has_challenge = self.without_token is not None and self.without_token.challenge is not None
        return has_challenge or is_object(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Everything that was seen, from which all findings follow."""

    url: str
    at: datetime
    given_issuer: str | None
    given_resource: str | None
    ca_file: Path | None
    trust_anchors: tuple[Certificate, ...] = ()
    """Those of `ca_file`."""
    libraries: str = ""
    """Which OpenSSL spoke, for people."""
    own: OwnCertificate | None = None
    servers: tuple[ServerObservation, ...] = ()
    issuer: str | None = None
    """The authorization server that was looked at."""
    issuer_withheld: str | None = None
    """An authorization server that the resource names, and that nobody has consented to ask."""
    metadata: Document | None = None
    openid_metadata: Document | None = None
    """Asked for only where there is no RFC 8414 metadata."""
    jwks: Document | None = None
    withheld: tuple[str, ...] = ()
    """Servers that the metadata names, and that nobody has consented to ask."""
    token: TokenObservation | None = None
    no_token: str = ""
    """Why no token was asked for."""
    resource: ResourceObservation | None = None

    def server(self, place: Place) -> ServerObservation | None:
        """The server at a place, if it was looked at."""
        return next((server for server in self.servers if server.place is place), None)
