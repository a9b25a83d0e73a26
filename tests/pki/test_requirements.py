"""What a domain may require of a path: signature algorithms, an issuer, a certificate policy."""

from typing import Any

import pytest
from cryptography import x509

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import Authority, Identity, new_key
from tests.pki.domains import domain_of, refused, verify
from tests.rfc.test_certificate_pins import certificate_pin, key_pin

POLICY, OTHER_POLICY, ANY = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "2.5.29.32.0"
ROOT = Authority.create("Root")
SUB = Authority.create("Sub", parent=ROOT)
SIBLING = Authority.create("Sibling", parent=ROOT)


@pytest.mark.parametrize(
    ("key", "name"),
    [("P-256", "ecdsa-sha256"), ("RSA-2048", "rsa-sha256"), ("Ed25519", "ed25519"), ("Ed448", "ed448")],
)
def test_signature_algorithms(key: str, name: str) -> None:
    """Named by what signs; the anchor's own signature is not asked."""
    root = Authority.create("Root", private_key=new_key(key))
    leaf = root.issue("reports")
    assert parse_certificate(leaf.der).signature_algorithm == name
    verify(domain_of(root, signature_algorithms=(name,)), leaf)
    verify(domain_of(root), leaf)
    error = refused(domain_of(root, signature_algorithms=("ecdsa-sha384",)), leaf)
    assert error.refusal is Refusal.SIGNATURE_ALGORITHM_NOT_ALLOWED
    assert error.detail.endswith(f"the domain does not allow its signature algorithm, {name}")


def test_signature_algorithms_of_the_whole_path() -> None:
    """An intermediate's too."""
    root = Authority.create("Root", private_key=new_key("RSA-2048"))
    sub = Authority.create("Sub", parent=root)
    error = refused(domain_of(root, signature_algorithms=("ecdsa-sha256",)), sub.issue("reports"))
    assert error.refusal is Refusal.SIGNATURE_ALGORITHM_NOT_ALLOWED
    assert "(an intermediate CA, 'CN=Sub')" in error.detail
    verify(domain_of(root, signature_algorithms=("ecdsa-sha256", "rsa-sha256")), sub.issue("reports"))


@pytest.mark.parametrize("pin", [certificate_pin, key_pin])
def test_a_required_issuer(pin: Any) -> None:
    """A shared root, and one partner's intermediate below it: its siblings cannot speak for the partner."""
    domains = domain_of(ROOT, required_issuer=(pin(SUB),))
    verify(domains, SUB.issue("reports"))
    verify(domains, Authority.create("Deep", parent=SUB).issue("reports"))
    for issuer in (SIBLING, ROOT):
        error = refused(domains, issuer.issue("reports"))
        assert error.refusal is Refusal.REQUIRED_ISSUER_MISSING


def test_one_of_several_required_issuers() -> None:
    """During a roll-over the old and the new one stand side by side."""
    domains = domain_of(ROOT, required_issuer=(key_pin(SUB), certificate_pin(SIBLING)))
    verify(domains, SUB.issue("reports"))
    verify(domains, SIBLING.issue("reports"))


def test_a_required_issuer_that_is_only_sent_along() -> None:
    """It must have issued something on the path; the leaf itself does not count, whatever its key."""
    domains = domain_of(ROOT, required_issuer=(certificate_pin(SUB), key_pin(SUB)))
    leaf = SIBLING.issue("reports", private_key=SUB.private_key)
    error = refused(domains, [leaf.der, SIBLING.der, SUB.der])
    assert error.refusal is Refusal.REQUIRED_ISSUER_MISSING


def policies(*oids: str) -> tuple[x509.ExtensionType, bool]:
    information = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]
    return x509.CertificatePolicies(information), False


def chain(*levels: list[Any]) -> tuple[Authority, Identity]:
    """A root, CAs with these extensions below it, and a leaf with the last ones."""
    authority = root = Authority.create("Root")
    for number, extensions in enumerate(levels[:-1]):
        authority = Authority.create(f"Sub {number}", parent=authority, extensions=extensions)
    return root, authority.issue("reports", extensions=levels[-1])


def inhibit_any(after: int) -> tuple[x509.ExtensionType, bool]:
    return x509.InhibitAnyPolicy(after), True


def mapping(issuer: str, subject: str) -> tuple[x509.ExtensionType, bool]:
    from tests.authority import encode_oid, tlv

    pair = tlv(0x30, encode_oid(issuer), encode_oid(subject))
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), tlv(0x30, pair)), False


@pytest.mark.parametrize(
    "levels",
    [
        [[policies(POLICY)]],
        [[policies(POLICY)], [policies(POLICY)]],
        [[policies(POLICY, OTHER_POLICY)], [policies(OTHER_POLICY, POLICY)]],
        [[policies(ANY)], [policies(POLICY)]],
        [[policies(ANY), inhibit_any(1)], [policies(ANY)], [policies(POLICY)]],
        [[policies(POLICY), inhibit_any(0)], [policies(POLICY)]],
        [[policies(POLICY, OTHER_POLICY), mapping(OTHER_POLICY, "1.2.3")], [policies(POLICY)]],
    ],
)
def test_a_policy_that_holds(levels: list[list[Any]]) -> None:
    """Asserted by every certificate below the anchor, or left open above the leaf by anyPolicy (RFC 5280 §6.1.3)."""
    root, leaf = chain(*levels)
    verify(domain_of(root, required_policy=(POLICY,)), leaf)
    verify(domain_of(root, required_policy=("1.2.3.4", POLICY)), leaf)


@pytest.mark.parametrize(
    ("levels", "place"),
    [
        ([[]], "1 of 2"),
        ([[policies(OTHER_POLICY)]], "1 of 2"),
        ([[policies(ANY)]], "1 of 2"),
        ([[policies(POLICY)], [policies(ANY)]], "1 of 3"),
        ([[], [policies(POLICY)]], "2 of 3"),
        ([[policies(OTHER_POLICY)], [policies(POLICY)]], "2 of 3"),
        ([[policies(ANY), inhibit_any(0)], [policies(ANY, OTHER_POLICY)], [policies(POLICY, OTHER_POLICY)]], "2 of 4"),
        ([[policies(POLICY, OTHER_POLICY), mapping(POLICY, OTHER_POLICY)], [policies(POLICY)]], "2 of 3"),
        ([[policies(POLICY, OTHER_POLICY), mapping(OTHER_POLICY, POLICY)], [policies(POLICY)]], "2 of 3"),
    ],
)
def test_a_policy_that_does_not_hold(levels: list[list[Any]], place: str) -> None:
    """Missing, only anyPolicy in the leaf, missing above, anyPolicy inhibited, or a name that was mapped."""
    root, leaf = chain(*levels)
    verify(domain_of(root), leaf)
    error = refused(domain_of(root, required_policy=(POLICY,)), leaf)
    assert error.refusal is Refusal.REQUIRED_POLICY_MISSING
    assert error.detail.startswith(f"certificate {place} in the path")
    assert POLICY in error.detail


def test_a_self_issued_certificate_may_rely_on_any_policy() -> None:
    """A CA that renews its key signs itself a certificate, which inhibitAnyPolicy does not count (§6.1.3 (d) (2))."""
    root = Authority.create("Root")
    first = Authority.create("Sub", parent=root, extensions=[policies(ANY), inhibit_any(0)])
    renewed = Authority.create("Sub", parent=first, extensions=[policies(ANY)])
    leaf = renewed.issue("reports", extensions=[policies(POLICY)])
    verify(domain_of(root, required_policy=(POLICY,)), [leaf.der, renewed.der, first.der])


def test_the_nearest_miss_is_told() -> None:
    """Of two policies, the one that held further down."""
    root, leaf = chain([policies(POLICY)], [policies(POLICY)], [policies(OTHER_POLICY)])
    error = refused(domain_of(root, required_policy=(OTHER_POLICY, POLICY)), leaf)
    assert error.detail.startswith("certificate 1 of 4")
    assert POLICY in error.detail
