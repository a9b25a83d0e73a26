"""What attackers and accidents do with certificates: each test is one row of the threat table, over real TLS.

Every refusal is the same 401 `invalid_client` to the client; the reason stands in the event alone.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_as.rfc.refusal import Refusal
from tests.authority import DAY, HOUR, Authority, Identity, dns, email, ip, key_usage, name, new_key, self_signed, uri
from tests.running import Deployment, RunningServer, running


class Parties:
    """Partner A and partner B, each with a CA; the victim is a client of A."""

    def __init__(self) -> None:
        self.a = Authority.create(name("Partner A CA", organization="Example A"))
        self.b = Authority.create(name("Partner B CA", organization="Example B"))
        # The same DN as A's, but another key: a namesake that a trust store by name would confuse with A.
        self.namesake = Authority.create(self.a.certificate.subject)
        self.constrained = Authority.create(
            "Constrained CA",
            parent=self.a,
            extensions=[
                (
                    x509.NameConstraints(permitted_subtrees=[x509.DNSName("inside.example")], excluded_subtrees=None),
                    True,
                )
            ],
        )
        self.victim = self.a.issue(name("victim", organization="Example A"), san=[dns("victim.example")])
        self.registered = self_signed("registered")


@pytest.fixture(scope="module")
def parties() -> Parties:
    return Parties()


@pytest.fixture(scope="module")
def world(parties: Parties, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server with both partners, each in a trust domain of its own."""
    deployment = Deployment(tmp_path_factory.mktemp("threats"))
    deployment.trust("a", parties.a)
    deployment.trust("b", parties.b)
    deployment.trust("a-any", parties.a, options='extended_key_usage = "any"\n')
    deployment.client("victim", trust="a", tls_client_auth_san_dns="victim.example")
    deployment.client("victim-dn", trust="a", tls_client_auth_subject_dn="CN=victim,O=Example A")
    deployment.client("victim-uri", trust="a", tls_client_auth_san_uri="https://victim.example/Path")
    deployment.client("victim-ip", trust="a", tls_client_auth_san_ip="61.62.63.64")
    deployment.client("victim-email", trust="a", tls_client_auth_san_email="Ops@victim.example")
    deployment.client("inside", trust="a", tls_client_auth_san_dns="host.inside.example")
    deployment.client("outside", trust="a", tls_client_auth_san_dns="host.outside.example")
    deployment.client("any-usage", trust="a-any", tls_client_auth_san_dns="victim.example")
    deployment.client("b-client", trust="b", tls_client_auth_san_dns="b.example")
    deployment.client("multi", trust="a", tls_client_auth_subject_dn="CN=multi+OU=unit,O=Example A")
    x5c = x509_to_jwk(parties.registered)
    deployment.client("self", token_endpoint_auth_method="self_signed_tls_client_auth", jwks={"keys": [x5c]})
    with running(deployment) as server:
        yield server


def x509_to_jwk(identity: Identity) -> dict[str, object]:
    import base64

    from mtls_as.rfc.rfc7517_jwk import public_jwk

    jwk: dict[str, object] = dict(public_jwk(identity.certificate.public_key(), kid="k", algorithm="ES256"))  # type: ignore[arg-type] # a P-256 key
    return jwk | {"x5c": [base64.b64encode(identity.certificate.public_bytes(Encoding.DER)).decode()]}


def refused(server: RunningServer, identity: Identity | None, client_id: str, *refusals: Refusal) -> None:
    """The request is `invalid_client`, for one of these private reasons."""
    response = server.token(identity, client_id)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client"), server.last_event
    assert server.last_event.refusal in refusals, server.last_event


def accepted(server: RunningServer, identity: Identity, client_id: str) -> None:
    response = server.token(identity, client_id)
    assert response.status_code == 200, server.last_event


def test_the_rightful_client_is_accepted(world: RunningServer, parties: Parties) -> None:
    """The control: everything below differs from this by one thing."""
    accepted(world, parties.victim, "victim")
    accepted(world, parties.victim, "victim-dn")
    accepted(world, parties.registered, "self")


def test_victims_public_certificate_appended_to_the_chain(world: RunningServer, parties: Parties) -> None:
    """Only element 0 speaks (CVE-2023-2422)."""
    own = parties.a.issue("attacker", san=[dns("attacker.example")])
    attack = Identity(own.certificate, own.private_key, (parties.victim.certificate,))
    refused(world, attack, "victim", Refusal.SUBJECT_MISMATCH)


def test_victims_self_signed_certificate_appended(world: RunningServer, parties: Parties) -> None:
    own = self_signed("attacker")
    attack = Identity(own.certificate, own.private_key, (parties.registered.certificate,))
    refused(world, attack, "self", Refusal.KEY_NOT_REGISTERED)


def test_a_namesake_authority(world: RunningServer, parties: Parties) -> None:
    """Two CAs with the same DN and different keys (keycloak#52801)."""
    forged = parties.namesake.issue(name("victim", organization="Example A"), san=[dns("victim.example")])
    refused(world, forged, "victim", Refusal.BAD_SIGNATURE, Refusal.UNTRUSTED_ISSUER)


def test_a_reissued_authority_with_the_same_key(world: RunningServer, parties: Parties) -> None:
    """The CA may renew its own certificate: leaves chain to the key that is trusted."""
    reissued = Authority.create(parties.a.certificate.subject, private_key=parties.a.private_key)
    accepted(world, reissued.issue(san=[dns("victim.example")]), "victim")


def test_another_partners_authority_issues_the_same_names(world: RunningServer, parties: Parties) -> None:
    """Partner B's CA cannot speak for a client of partner A (keycloak#48412, #33273)."""
    forged = parties.b.issue(name("victim", organization="Example A"), san=[dns("victim.example")])
    refused(world, forged, "victim", Refusal.UNTRUSTED_ISSUER)
    refused(world, forged, "victim-dn", Refusal.UNTRUSTED_ISSUER)


def test_another_partners_authority_sent_along(world: RunningServer, parties: Parties) -> None:
    """What the client sends is building material and never an anchor."""
    forged = parties.namesake.issue(san=[dns("victim.example")])
    attack = Identity(forged.certificate, forged.private_key, (parties.namesake.certificate, parties.a.certificate))
    refused(world, attack, "victim", Refusal.BAD_SIGNATURE, Refusal.UNTRUSTED_ISSUER)


def test_a_self_signed_forgery_of_a_registered_certificate(world: RunningServer, parties: Parties) -> None:
    """Serial, subject and dates copied, the key not: full DER is compared (CVE-2024-2048)."""
    real = parties.registered.certificate
    key = new_key()
    forged = (
        x509.CertificateBuilder()
        .subject_name(real.subject)
        .issuer_name(real.issuer)
        .serial_number(real.serial_number)
        .not_valid_before(real.not_valid_before_utc)
        .not_valid_after(real.not_valid_after_utc)
        .public_key(key.public_key())
        .sign(key, real.signature_hash_algorithm)  # type: ignore[arg-type] # SHA-256
    )
    refused(world, Identity(forged, key), "self", Refusal.KEY_NOT_REGISTERED)


def test_the_registered_key_in_another_certificate(world: RunningServer, parties: Parties) -> None:
    """A registered certificate means that certificate, even where the key is the same."""
    again = self_signed("registered", private_key=parties.registered.private_key, days=9)
    refused(world, again, "self", Refusal.KEY_NOT_REGISTERED)


@pytest.mark.parametrize(
    ("client_id", "san"),
    [
        ("victim", uri("victim.example")),
        ("victim", uri("https://victim.example")),
        ("victim", email("ops@victim.example")),
        ("victim-ip", dns("61.62.63.64")),
        ("victim-ip", dns("=>?@")),
        ("victim-ip", uri("61.62.63.64")),
        ("victim-email", dns("Ops@victim.example")),
        ("victim-email", uri("mailto:Ops@victim.example")),
        ("victim-uri", dns("https://victim.example/Path")),
    ],
)
def test_the_right_text_in_the_wrong_type(
    world: RunningServer, parties: Parties, client_id: str, san: x509.GeneralName
) -> None:
    """A dNSName never matches a URI, text never an address (CVE-2020-36477)."""
    refused(world, parties.a.issue("victim.example", san=[san]), client_id, Refusal.SUBJECT_MISMATCH)


@pytest.mark.parametrize(
    ("client_id", "san", "accept"),
    [
        ("victim", dns("VICTIM.Example"), True),
        ("victim", dns("victim.example."), False),
        ("victim", dns("*.example"), False),
        ("victim", dns("sub.victim.example"), False),
        ("victim", dns("victim.example.attacker.example"), False),
        ("victim", dns("xn--vctim-tva.example"), False),
        ("victim-uri", uri("HTTPS://VICTIM.example/Path"), True),
        ("victim-uri", uri("https://victim.example/path"), False),
        ("victim-uri", uri("https://victim.example/Path/"), False),
        ("victim-uri", uri("https://victim.example/%50ath"), False),
        ("victim-email", email("Ops@VICTIM.example"), True),
        ("victim-email", email("ops@victim.example"), False),
        ("victim-ip", ip("61.62.63.64"), True),
        ("victim-ip", ip("::ffff:61.62.63.64"), False),
    ],
)
def test_spelling(world: RunningServer, parties: Parties, client_id: str, san: x509.GeneralName, accept: bool) -> None:
    """Case, trailing dots, wildcards and look-alikes: exact after each type's canonical form (CVE-2026-115732)."""
    leaf = parties.a.issue(san=[san])
    if accept:
        accepted(world, leaf, client_id)
    else:
        refused(world, leaf, client_id, Refusal.SUBJECT_MISMATCH, Refusal.CERTIFICATE_MALFORMED)


@pytest.mark.parametrize(
    "subject",
    [
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example A,CN=victim")]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "victim,O=Example A")]),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "victim\\,O=Example A")]),
        x509.Name(list(reversed(list(name("victim", organization="Example A"))))),
        name("victim", organization="Example A", unit="x"),
        name("victim\0", organization="Example A"),
        name('"victim"', organization="Example A"),
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example A"),
                x509.NameAttribute(NameOID.COMMON_NAME, "victim", _type=x509.name._ASN1Type.BMPString),
            ]
        ),
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example A"),
                x509.NameAttribute(NameOID.COMMON_NAME, "victim", _type=x509.name._ASN1Type.T61String),
            ]
        ),
        x509.Name(
            [
                x509.RelativeDistinguishedName(
                    [
                        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example A"),
                        x509.NameAttribute(NameOID.COMMON_NAME, "victim"),
                    ]
                )
            ]
        ),
    ],
    ids=["in-O", "in-CN", "escaped", "reversed", "extra", "nul", "quoted", "bmp", "t61", "multi-valued"],
)
def test_subject_names_that_print_alike(world: RunningServer, parties: Parties, subject: x509.Name) -> None:
    """A DN is a sequence of typed RDNs and never text (CVE-2026-22747)."""
    refused(
        world,
        parties.a.issue(subject),
        "victim-dn",
        Refusal.SUBJECT_MISMATCH,
        Refusal.CERTIFICATE_MALFORMED,
    )


def test_multi_valued_rdns_are_sets(world: RunningServer, parties: Parties) -> None:
    """Within one RDN the order says nothing (X.501)."""
    parts = [
        x509.NameAttribute(NameOID.COMMON_NAME, "multi"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "unit"),
    ]
    organization = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example A")])
    for order in (parts, parts[::-1]):
        accepted(world, parties.a.issue(x509.Name([organization, x509.RelativeDistinguishedName(order)])), "multi")


class TestTime:
    """CVE-2020-35509: dates count at each request."""

    def test_expired(self, world: RunningServer, parties: Parties) -> None:
        now = datetime.now(UTC)
        old = parties.a.issue(san=[dns("victim.example")], not_before=now - 2 * DAY, not_after=now - HOUR)
        refused(world, old, "victim", Refusal.CERTIFICATE_EXPIRED)

    def test_not_yet_valid(self, world: RunningServer, parties: Parties) -> None:
        now = datetime.now(UTC)
        early = parties.a.issue(san=[dns("victim.example")], not_before=now + HOUR, not_after=now + DAY)
        refused(world, early, "victim", Refusal.CERTIFICATE_NOT_YET_VALID)

    def test_self_signed_and_expired(self, world: RunningServer, parties: Parties) -> None:
        """§2.2 validates no path, but an expired certificate is over all the same."""
        world.move_clock(2 * 86_400)
        try:
            refused(world, parties.registered, "self", Refusal.CERTIFICATE_EXPIRED)
        finally:
            world.move_clock(-2 * 86_400)

    def test_expiring_while_the_connection_lives(self, world: RunningServer, parties: Parties) -> None:
        """The same connection, accepted a moment ago, is refused at the first request after notAfter."""
        short = parties.a.issue(san=[dns("victim.example")], not_after=datetime.now(UTC) + timedelta(minutes=5))
        form = {"grant_type": "client_credentials", "client_id": "victim"}
        with world.client(short) as client:
            assert client.post("/token", data=form).status_code == 200
            world.move_clock(600)
            try:
                response = client.post("/token", data=form)
            finally:
                world.move_clock(-600)
            assert response.json()["error"] == "invalid_client"
            assert world.last_event.refusal is Refusal.CERTIFICATE_EXPIRED


class TestUsage:
    """CVE-2026-45389, CVE-2024-45159: what the certificate may be used for."""

    def test_server_authentication_only(self, world: RunningServer, parties: Parties) -> None:
        leaf = parties.a.issue(san=[dns("victim.example")], extended_key_usages=[ExtendedKeyUsageOID.SERVER_AUTH])
        refused(world, leaf, "victim", Refusal.WRONG_EXTENDED_KEY_USAGE)
        accepted(world, leaf, "any-usage")

    def test_no_extended_key_usage(self, world: RunningServer, parties: Parties) -> None:
        leaf = parties.a.issue(san=[dns("victim.example")], extended_key_usages=None)
        refused(world, leaf, "victim", Refusal.WRONG_EXTENDED_KEY_USAGE)
        accepted(world, leaf, "any-usage")

    def test_key_usage_without_digital_signature(self, world: RunningServer, parties: Parties) -> None:
        leaf = parties.a.issue(san=[dns("victim.example")], usage=key_usage(key_encipherment=True))
        refused(world, leaf, "victim", Refusal.WRONG_KEY_USAGE)
        refused(world, leaf, "any-usage", Refusal.WRONG_KEY_USAGE)

    def test_a_ca_certificate_as_leaf(self, world: RunningServer, parties: Parties) -> None:
        usage = key_usage(digital_signature=True, key_cert_sign=True)
        leaf = parties.a.issue(san=[dns("victim.example")], ca=True, usage=usage)
        refused(world, leaf, "victim", Refusal.CA_CERTIFICATE_AS_LEAF)

    def test_a_leaf_as_ca(self, world: RunningServer, parties: Parties) -> None:
        """A certificate issued with an ordinary client certificate's key."""
        fake = Authority(parties.victim.certificate, parties.victim.private_key)
        forged = fake.issue(san=[dns("victim.example")])
        attack = Identity(forged.certificate, forged.private_key, (parties.victim.certificate,))
        response = world.token(attack, "victim")
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")

    def test_unknown_critical_extension(self, world: RunningServer, parties: Parties) -> None:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
        leaf = parties.a.issue(san=[dns("victim.example")], extensions=[(extension, True)])
        refused(world, leaf, "victim", Refusal.UNKNOWN_CRITICAL_EXTENSION)

    def test_weak_keys(self, world: RunningServer, parties: Parties) -> None:
        leaf = parties.a.issue(san=[dns("victim.example")], private_key=new_key("RSA-1024"))
        refused(world, leaf, "victim", Refusal.WEAK_KEY)


def test_name_constraints(world: RunningServer, parties: Parties) -> None:
    """A constrained CA speaks inside its constraint alone (CVE-2026-34073)."""
    accepted(world, parties.constrained.issue(san=[dns("host.inside.example")]), "inside")
    forged = parties.constrained.issue(san=[dns("host.outside.example")])
    refused(world, forged, "outside", Refusal.NAME_CONSTRAINT_VIOLATED)


class TestAbsurdCertificates:
    """Bounded time, clear refusal."""

    def test_thousands_of_names(self, world: RunningServer, parties: Parties) -> None:
        leaf = parties.a.issue(san=[dns(f"h{i}.example") for i in range(3_000)] + [dns("victim.example")])
        refused(world, leaf, "victim", Refusal.CERTIFICATE_MALFORMED)

    def test_ten_thousand_names(self, world: RunningServer, parties: Parties) -> None:
        """More than 100 KB of certificate does not survive the handshake, and the next client is served."""
        leaf = parties.a.issue(san=[dns(f"host{i}.victim.example") for i in range(10_000)])
        with pytest.raises(httpx.TransportError):
            world.token(leaf, "victim")
        accepted(world, parties.victim, "victim")

    def test_a_deep_subject(self, world: RunningServer, parties: Parties) -> None:
        deep = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"u{i}") for i in range(500)])
        refused(world, parties.a.issue(deep, san=[dns("victim.example")]), "victim", Refusal.CERTIFICATE_MALFORMED)

    def test_a_large_rsa_key(self, world: RunningServer, parties: Parties) -> None:
        """A large key is legal."""
        leaf = parties.a.issue(san=[dns("victim.example")], private_key=new_key("RSA-4096"))
        accepted(world, leaf, "victim")
