"""Every certificate that somebody would want to see expire: registered or seen, the most urgent first."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc7591_client_metadata import SelfSignedTlsClientAuth
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.server.certificate_use import SeenCertificate
from mtls_as.server.clients import Client


class CertificateRole(StrEnum):
    """What a certificate is for."""

    SERVER = "server"
    """The server's own chain."""
    ANCHOR = "anchor"
    """A trust anchor of a domain."""
    REGISTERED = "registered"
    """Registered for a self-signed client."""
    SEEN = "seen"
    """It authenticated a client."""


class Standing(StrEnum):
    """Why nobody needs to care when a certificate ends."""

    REPLACED = "replaced"
    """Its client has since come with one that ends later, and never again with this one."""
    DISABLED = "disabled"
    """Its client is disabled."""
    NOT_REGISTERED = "not registered"
    """Its client is not registered any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryEntry:
    """One certificate in one role. Times are seconds since the epoch."""

    role: CertificateRole
    subject: str
    issuer: str
    serial_number: str
    x5t_s256: str
    not_after: float
    client_id: str | None = None
    trust: str | None = None
    last_used_at: float | None = None
    uses: int = 0
    standing: Standing | None = None
    """None for a certificate whose end matters."""

    def seconds_left(self, at: float) -> float:
        """Negative once it has ended."""
        return self.not_after - at


def take_inventory(
    *,
    server: Sequence[Certificate],
    anchors: Mapping[str, Sequence[Certificate]],
    clients: Iterable[Client],
    seen: Iterable[SeenCertificate],
) -> tuple[InventoryEntry, ...]:
    """All certificates, the soonest to end first. A registered one that was seen is one entry.

    `server` is the server's chain, `anchors` are those of each trust domain. Certificates behind a `jwks_uri`, and
    intermediate CAs that clients send along, are known only by what was seen of them.
    """
    by_id = {client.client_id: client for client in clients}
    registered = {
        (entry.x5t_s256, client_id): entry for client_id, client in by_id.items() for entry in _registered(client)
    }
    entries = [_entry(CertificateRole.SERVER, certificate) for certificate in server]
    for domain, authorities in anchors.items():
        entries += [replace(_entry(CertificateRole.ANCHOR, authority), trust=domain) for authority in authorities]
    for certificate in seen:
        key = (certificate.use.x5t_s256, certificate.use.client_id)
        entries.append(_seen(certificate, by_id.get(certificate.use.client_id), registered.pop(key, None)))
    entries += registered.values()
    return tuple(sorted(entries, key=lambda entry: (entry.not_after, entry.role, entry.subject, entry.x5t_s256)))


def registered_certificates(client: Client) -> Iterator[Certificate]:
    """The certificates that a client registered itself; bare keys have no end."""
    authentication = client.metadata.authentication
    if not isinstance(authentication, SelfSignedTlsClientAuth) or not isinstance(authentication.keys, JWKSet):
        return
    for key in authentication.keys.keys:
        try:
            if key.x5c:
                yield parse_certificate(key.x5c[0])
        except CertificateError:
            continue  # no client can come with what nobody can read


def _registered(client: Client) -> Iterator[InventoryEntry]:
    standing = None if client.enabled else Standing.DISABLED
    for certificate in registered_certificates(client):
        yield replace(_entry(CertificateRole.REGISTERED, certificate), client_id=client.client_id, standing=standing)


def _seen(seen: SeenCertificate, client: Client | None, registered: InventoryEntry | None) -> InventoryEntry:
    use = seen.use
    return InventoryEntry(
        role=CertificateRole.SEEN if registered is None else CertificateRole.REGISTERED,
        subject=use.subject,
        issuer=use.issuer,
        serial_number=use.serial_number,
        x5t_s256=use.x5t_s256,
        not_after=use.not_after,
        client_id=use.client_id,
        trust=use.trust,
        last_used_at=use.last_used_at,
        uses=use.count,
        standing=_standing(seen, client),
    )


def _standing(seen: SeenCertificate, client: Client | None) -> Standing | None:
    if client is None:
        return Standing.NOT_REGISTERED
    if not client.enabled:
        return Standing.DISABLED
    return Standing.REPLACED if seen.replaced else None


def _entry(role: CertificateRole, certificate: Certificate) -> InventoryEntry:
    return InventoryEntry(
        role=role,
        subject=str(certificate.subject),
        issuer=str(certificate.issuer),
        serial_number=f"{certificate.serial_number:x}",
        x5t_s256=x5t_s256(certificate.der),
        not_after=certificate.not_after.timestamp(),
    )
