"""The inventory: what is listed, in which order, and whose end matters to nobody."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mtls_as.rfc.rfc5280_certificate import Certificate, parse_certificate
from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.server.certificate_inventory import CertificateRole, InventoryEntry, Standing, take_inventory
from mtls_as.server.certificate_use import CertificateUse, SeenCertificate
from mtls_as.server.clients import Client, ClientSource, parse_client
from tests.authority import Authority, Identity, self_signed

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority.create("Partner CA", not_after=NOW + timedelta(days=300))


def parsed(identity: Identity) -> Certificate:
    return parse_certificate(identity.der)


def pki_client(client_id: str = "c1", **members: object) -> Client:
    required = {
        "client_id": client_id,
        "trust": "partner",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "c1.example",
    }
    return parse_client(required | members, ClientSource.STORAGE)


def self_signed_client(client_id: str, *identities: Identity, with_certificate: bool = True) -> Client:
    keys = []
    for number, identity in enumerate(identities):
        key = public_jwk(identity.private_key.public_key(), kid=str(number), algorithm="ES256")  # type: ignore[arg-type] # P-256
        certificate = {"x5c": [base64.b64encode(identity.der).decode()]} if with_certificate else {}
        keys.append(key | certificate)
    members = {
        "client_id": client_id,
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": keys},
    }
    return parse_client(members, ClientSource.CONFIGURATION)


def seen(certificate: Certificate, client_id: str = "c1", *, replaced: bool = False) -> SeenCertificate:
    use = CertificateUse.of(
        certificate,
        client_id=client_id,
        authentication_method="tls_client_auth",
        trust="partner",
        first_used_at=1.0,
        last_used_at=2.0,
        count=3,
    )
    return SeenCertificate(use=use, replaced=replaced)


def only(entries: tuple[InventoryEntry, ...]) -> InventoryEntry:
    [entry] = entries
    return entry


def test_every_role_is_listed_and_the_soonest_to_end_stands_first() -> None:
    """Server, anchors of each domain, registered and seen certificates."""
    leaf = parsed(AUTHORITY.issue("c1", not_after=NOW + timedelta(days=2)))
    server = parsed(AUTHORITY.issue("server", not_after=NOW + timedelta(days=1)))
    own = self_signed("own", days=3)
    entries = take_inventory(
        server=[server],
        anchors={"partner": [parsed(AUTHORITY)]},
        clients=[pki_client(), self_signed_client("s1", own)],
        seen=[seen(leaf)],
    )
    assert [(entry.role, entry.subject, entry.client_id, entry.trust) for entry in entries] == [
        (CertificateRole.SERVER, "CN=server", None, None),
        (CertificateRole.SEEN, "CN=c1", "c1", "partner"),
        (CertificateRole.REGISTERED, "CN=own", "s1", None),
        (CertificateRole.ANCHOR, "CN=Partner CA", None, "partner"),
    ]
    assert entries[0].seconds_left(NOW.timestamp()) == 86_400.0


def test_a_registered_certificate_that_was_seen_is_one_entry() -> None:
    """With its last use."""
    own = self_signed("own")
    entry = only(
        take_inventory(
            server=[], anchors={}, clients=[self_signed_client("s1", own)], seen=[seen(parsed(own), client_id="s1")]
        )
    )
    assert (entry.role, entry.last_used_at, entry.uses) == (CertificateRole.REGISTERED, 2.0, 3)


def test_every_registered_certificate_of_a_client_is_listed() -> None:
    """A roll-over publishes both (RFC 8705 §2.2.2)."""
    clients = [self_signed_client("s1", self_signed("old"), self_signed("new", days=9))]
    entries = take_inventory(server=[], anchors={}, clients=clients, seen=[])
    assert [entry.subject for entry in entries] == ["CN=old", "CN=new"]


def test_a_bare_key_has_no_end() -> None:
    """It is not listed before a certificate with it was seen."""
    clients = [self_signed_client("s1", self_signed("own"), with_certificate=False)]
    assert take_inventory(server=[], anchors={}, clients=clients, seen=[]) == ()


def test_some_ends_matter_to_nobody() -> None:
    """Replaced, disabled, not registered any more."""
    leaf = parsed(AUTHORITY.issue("c1"))

    def standing(clients: list[Client], certificate: SeenCertificate) -> Standing | None:
        return only(take_inventory(server=[], anchors={}, clients=clients, seen=[certificate])).standing

    assert standing([pki_client()], seen(leaf)) is None
    assert standing([pki_client()], seen(leaf, replaced=True)) is Standing.REPLACED
    assert standing([pki_client(enabled=False)], seen(leaf)) is Standing.DISABLED
    assert standing([], seen(leaf)) is Standing.NOT_REGISTERED
    disabled = replace(self_signed_client("s1", self_signed("own")), enabled=False)
    assert only(take_inventory(server=[], anchors={}, clients=[disabled], seen=[])).standing is Standing.DISABLED
