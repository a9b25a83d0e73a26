"""What attackers and accidents do with certificates, at the level where no server is needed yet.

Each test is a row, or a part of one, of the list of threats under "Certificates and identity".
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import present
from mtls_as.pki.trust_domains import TrustDomains, TrustDomainSettings, TrustedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import CertificateError, parse_certificate
from mtls_as.rfc.rfc8705_mtls import (
    SubjectError,
    SubjectType,
    match_subject,
    parse_expected_subject,
    thumbprints_equal,
    x5t_s256,
)
from tests.authority import Authority, Identity, attribute, dns, forge, name, new_key, rdn, tlv
from tests.pki.domains import domain_of, refused, verify

PARTNER_A, PARTNER_B = Authority.create("Partner A"), Authority.create("Partner B")
VICTIM = PARTNER_A.issue(name("victim", country="DE", organization="Example"), san=[dns("victim.example")])
VICTIM_DN = "CN=victim,O=Example,C=DE"
CN, O = "2.5.4.3", "2.5.4.10"  # noqa: E741 # the name of the attribute
UTF8, PRINTABLE, T61, BMP = 0x0C, 0x13, 0x14, 0x1E


def is_client(trusted: TrustedCertificate, kind: SubjectType, text: str) -> bool:
    """Whether a trusted certificate stands for the client that registered this subject."""
    return match_subject(parse_expected_subject(kind, text), trusted.presented.leaf) is None


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (0, 2, 1)])
def test_a_victims_certificate_appended_to_the_chain(order: Sequence[int]) -> None:
    """CVE-2023-2422: only element 0 speaks; the path does not lead through the victim either."""
    attacker = PARTNER_A.issue("attacker", san=[dns("attacker.example")])
    certificates = (attacker.der, VICTIM.der, PARTNER_A.der)
    trusted = verify(domain_of(PARTNER_A), [certificates[index] for index in order])
    assert trusted.path == (attacker.der, PARTNER_A.der)
    assert not is_client(trusted, SubjectType.SAN_DNS, "victim.example")
    assert not is_client(trusted, SubjectType.SUBJECT_DN, VICTIM_DN)
    assert is_client(trusted, SubjectType.SAN_DNS, "attacker.example")


def test_the_victims_certificate_in_front_proves_the_victim_only() -> None:
    """What is element 0 is for the TLS layer to prove; another leaf's signature does not travel along."""
    attacker = PARTNER_A.issue("attacker")
    trusted = verify(domain_of(PARTNER_A), [VICTIM.der, attacker.der])
    assert not is_client(trusted, SubjectType.SUBJECT_DN, "CN=attacker")


@pytest.mark.parametrize("key_identifiers", [True, False])
def test_two_cas_of_one_name(tmp_path: Path, key_identifiers: bool) -> None:
    """keycloak#52801: the client belongs to one of them; the other's leaf is refused, the first re-issued is good."""
    key = new_key()
    ours = Authority.create("Shared", private_key=key, key_identifiers=key_identifiers)
    theirs = Authority.create("Shared", key_identifiers=key_identifiers)
    domains = load(tmp_path, ours=ours, theirs=theirs)
    subject = name("victim", organization="Example")
    forged = theirs.issue(subject, key_identifiers=key_identifiers)
    with pytest.raises(CertificateRefused) as caught:
        domains.verify(present(forged.der_chain), domain="ours", at=datetime.now(UTC))
    assert caught.value.refusal in {Refusal.UNTRUSTED_ISSUER, Refusal.BAD_SIGNATURE}
    with pytest.raises(CertificateRefused):
        domains.verify(present([forged.der, theirs.der, ours.der]), domain="ours", at=datetime.now(UTC))
    reissued = Authority.create("Shared", private_key=key, key_identifiers=key_identifiers)
    leaf = reissued.issue(subject, key_identifiers=key_identifiers)
    assert domains.verify(present([leaf.der, reissued.der]), domain="ours", at=datetime.now(UTC)).path[-1] == ours.der


def test_a_partner_that_issues_another_partners_name(tmp_path: Path) -> None:
    """keycloak#48412, #33273: each client's own trust domain decides."""
    domains = load(tmp_path, a=PARTNER_A, b=PARTNER_B)
    impostor = PARTNER_B.issue(name("victim", country="DE", organization="Example"), san=[dns("victim.example")])
    in_b = domains.verify(present(impostor.der_chain), domain="b", at=datetime.now(UTC))
    assert is_client(in_b, SubjectType.SUBJECT_DN, VICTIM_DN)
    with pytest.raises(CertificateRefused) as caught:
        domains.verify(present([impostor.der, PARTNER_B.der]), domain="a", at=datetime.now(UTC))
    assert caught.value.refusal is Refusal.UNTRUSTED_ISSUER


def test_a_verdict_of_one_domain_is_none_in_another(tmp_path: Path) -> None:
    """Also when the same certificate was accepted a moment before."""
    domains, at = load(tmp_path, a=PARTNER_A, b=PARTNER_B), datetime.now(UTC)
    domains.verify(present(VICTIM.der_chain), domain="a", at=at)
    with pytest.raises(CertificateRefused):
        domains.verify(present(VICTIM.der_chain), domain="b", at=at)


def test_a_self_signed_forgery_of_a_registered_certificate() -> None:
    """CVE-2024-2048: serial, issuer, key identifiers and subject copied, the key is another."""
    forger = Authority.create("Partner A")
    key = new_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    forged = forge(VICTIM, forger, public_key_info=key)
    original, copy = parse_certificate(VICTIM.der), parse_certificate(forged)
    assert (copy.subject, copy.issuer, copy.serial_number) == (
        original.subject,
        original.issuer,
        original.serial_number,
    )
    assert copy.sha256 != original.sha256
    assert not thumbprints_equal(x5t_s256(forged), x5t_s256(VICTIM.der))
    assert copy.public_key_info != original.public_key_info
    assert refused(domain_of(PARTNER_A), [forged, PARTNER_A.der]).refusal is Refusal.BAD_SIGNATURE


# Names that a CA might be talked into, each DER; none is the victim's.
FORGED_NAMES = [
    [rdn(CN, UTF8, b"victim,O=Example,C=DE")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"x,CN=victim")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"x+CN=victim")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example,CN=victim"), rdn(CN, UTF8, b"x")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b'"victim"')],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"victi\\6d")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"victim\0.evil")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"victim\0")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"victim\n")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, BMP, "victim".encode("utf-16-be"))],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, T61, b"victim")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, 0x16, b"victim")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn("2.5.4.41", UTF8, b"victim")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(CN, UTF8, b"victim"), rdn(O, UTF8, b"Example")],
    [rdn(CN, UTF8, b"victim"), rdn(O, UTF8, b"Example"), rdn("2.5.4.6", PRINTABLE, b"DE")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), tlv(0x31, attribute(CN, UTF8, b"victim"), attribute(O, UTF8, b"Example"))],
    [
        rdn("2.5.4.6", PRINTABLE, b"DE"),
        rdn(O, UTF8, b"Example"),
        tlv(0x31, attribute("2.5.4.11", UTF8, b"x"), attribute(CN, UTF8, b"victim")),
    ],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"victim"), rdn(CN, UTF8, b"x")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"x"), rdn(CN, UTF8, b"victim")],
    [rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, "v\u0456ctim".encode())],
]


@pytest.mark.parametrize("rdns", FORGED_NAMES, ids=range(len(FORGED_NAMES)))
def test_names_that_look_like_the_victims(rdns: list[bytes]) -> None:
    """CVE-2026-22747: names are compared as DER-typed RDN sequences, never as text."""
    forged = forge(PARTNER_A.issue("x"), PARTNER_A, subject=tlv(0x30, *rdns))
    assert not is_client(verify(domain_of(PARTNER_A), [forged]), SubjectType.SUBJECT_DN, VICTIM_DN)


def test_what_a_legitimate_ca_may_change() -> None:
    """RFC 8705 §2.1: a new certificate with the same subject works, also with other string types or case."""
    renewed = [rdn("2.5.4.6", UTF8, b"de"), rdn(O, PRINTABLE, b"EXAMPLE"), rdn(CN, PRINTABLE, b" Victim ")]
    leaf = forge(PARTNER_A.issue("x"), PARTNER_A, subject=tlv(0x30, *renewed))
    assert is_client(verify(domain_of(PARTNER_A), [leaf]), SubjectType.SUBJECT_DN, VICTIM_DN)


@pytest.mark.parametrize(
    ("kind", "registered", "tag", "content"),
    [
        (SubjectType.SAN_DNS, "victim.example", 0x86, b"victim.example"),
        (SubjectType.SAN_DNS, "victim.example", 0x81, b"victim.example"),
        (SubjectType.SAN_URI, "victim:example", 0x82, b"victim:example"),
        (SubjectType.SAN_EMAIL, "a@victim.example", 0x82, b"a@victim.example"),
        (SubjectType.SAN_EMAIL, "a@victim.example", 0x86, b"mailto:a@victim.example"),
        (SubjectType.SAN_IP, "97.98.99.100", 0x82, b"abcd"),
        (SubjectType.SAN_IP, "97.98.99.100", 0x82, b"97.98.99.100"),
        (SubjectType.SAN_IP, "97.98.99.100", 0x86, b"abcd"),
        (SubjectType.SAN_DNS, "abcd", 0x87, b"abcd"),
    ],
)
def test_a_name_of_the_wrong_type(kind: SubjectType, registered: str, tag: int, content: bytes) -> None:
    """CVE-2020-36477: the octets are right and the type is not."""
    forged = forge(PARTNER_A.issue("x"), PARTNER_A, extensions={"2.5.29.17": tlv(0x30, tlv(tag, content))})
    assert not is_client(verify(domain_of(PARTNER_A), [forged]), kind, registered)


@pytest.mark.parametrize(
    ("kind", "registered", "san", "same"),
    [
        (SubjectType.SAN_DNS, "victim.example", "VICTIM.example", True),
        (SubjectType.SAN_DNS, "victim.example", "victim.example.", False),
        (SubjectType.SAN_DNS, "victim.example", "*.example", False),
        (SubjectType.SAN_DNS, "victim.example", "*", False),
        (SubjectType.SAN_DNS, "victim.example", "v*.example", False),
        (SubjectType.SAN_URI, "https://victim.example/a", "HTTPS://VICTIM.example/a", True),
        (SubjectType.SAN_URI, "https://victim.example/a", "https://victim.example/A", False),
        (SubjectType.SAN_EMAIL, "a@victim.example", "a@VICTIM.example", True),
        (SubjectType.SAN_EMAIL, "a@victim.example", "A@victim.example", False),
    ],
)
def test_case_dots_and_wildcards(kind: SubjectType, registered: str, san: str, same: bool) -> None:
    """CVE-2026-115732: exact per type; a wildcard in a client certificate matches nothing."""
    tag = {SubjectType.SAN_DNS: 0x82, SubjectType.SAN_URI: 0x86, SubjectType.SAN_EMAIL: 0x81}[kind]
    leaf = forge(PARTNER_A.issue("x"), PARTNER_A, extensions={"2.5.29.17": tlv(0x30, tlv(tag, san.encode()))})
    assert is_client(verify(domain_of(PARTNER_A), [leaf]), kind, registered) == same


def test_a_unicode_look_alike_in_a_host() -> None:
    """A dNSName is an IA5String; one that is not is never a name."""
    san = tlv(0x30, tlv(0x82, "v\u0456ctim.example".encode()))
    trusted_leaf = forge(PARTNER_A.issue("x"), PARTNER_A, extensions={"2.5.29.17": san})
    certificate = parse_certificate(trusted_leaf)
    assert match_subject(parse_expected_subject(SubjectType.SAN_DNS, "victim.example"), certificate) is not None


@pytest.mark.parametrize("kind", SubjectType)
@pytest.mark.parametrize("text", ["", "*", " "])
def test_no_empty_subject_is_ever_registered(kind: SubjectType, text: str) -> None:
    """Empty is never true."""
    with pytest.raises(SubjectError):
        parse_expected_subject(kind, text)


def test_a_certificate_without_any_name_is_nobody() -> None:
    """Trusted, and yet no client: an empty DN and no SAN match no registration."""
    leaf = forge(PARTNER_A.issue("x"), PARTNER_A, subject=b"\x30\0")
    trusted = verify(domain_of(PARTNER_A), [leaf])
    for kind, text in (
        (SubjectType.SUBJECT_DN, VICTIM_DN),
        (SubjectType.SAN_DNS, "victim.example"),
        (SubjectType.SAN_URI, "a:b"),
        (SubjectType.SAN_IP, "0.0.0.0"),
        (SubjectType.SAN_EMAIL, "a@b"),
    ):
        assert not is_client(trusted, kind, text)


def test_a_constrained_ca_outside_its_constraint() -> None:
    """CVE-2026-34073."""
    constraints = x509.NameConstraints(permitted_subtrees=[dns("partner.example")], excluded_subtrees=None)
    sub = Authority.create("Constrained", parent=PARTNER_A, extensions=[(constraints, True)])
    error = refused(domain_of(PARTNER_A), sub.issue("x", san=[dns("victim.example")]))
    assert error.refusal is Refusal.NAME_CONSTRAINT_VIOLATED


def test_a_leaf_with_a_huge_key() -> None:
    """RSA of 16384 bits and more is read, and refused without a single operation with it."""
    for bits, is_accepted in ((16384, True), (16392, False)):
        key = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
        info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        leaf = forge(PARTNER_A.issue("x"), PARTNER_A, public_key_info=info)
        if is_accepted:  # by its strength; that its holder has the key is for the handshake to prove
            verify(domain_of(PARTNER_A), [leaf])
        else:
            assert refused(domain_of(PARTNER_A), [leaf]).refusal is Refusal.WEAK_KEY


def test_absurd_certificates_never_reach_the_path() -> None:
    """10,000 SANs, 100 KB, a negative serial number, invalid UTF-8: refused while reading."""
    for absurd in (
        forge(PARTNER_A.issue(), PARTNER_A, extensions={"2.5.29.17": tlv(0x30, *[tlv(0x82, b"a")] * 10_000)}),
        forge(PARTNER_A.issue(), PARTNER_A, extensions={"1.2.3": bytes(100_000)}),
        forge(PARTNER_A.issue(), PARTNER_A, serial_number=b"\xff"),
        forge(PARTNER_A.issue(), PARTNER_A, subject=tlv(0x30, rdn(CN, UTF8, b"\xff"))),
    ):
        with pytest.raises(CertificateError):
            present([absurd])
        leaf: Identity = PARTNER_A.issue("x")
        chain = [leaf.der, absurd] if len(absurd) <= 64 * 1024 else [leaf.der]
        verify(domain_of(PARTNER_A), chain)


def load(folder: Path, **authorities: Authority) -> TrustDomains:
    """One trust domain for each authority, named as the argument."""
    for name_, authority in authorities.items():
        (folder / f"{name_}.pem").write_text(authority.pem)
    settings = [TrustDomainSettings(name=name_, anchors=(f"{name_}.pem",)) for name_ in authorities]
    return TrustDomains.load(settings, base=folder)
