"""Certification paths (RFC 5280 §6): built by names, judged by OpenSSL."""

import time
from datetime import timedelta
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import _util

from mtls_as.rfc.refusal import Refusal
from tests.authority import DAY, HOUR, Authority, forge, key_usage, name, new_key, rdn, self_signed, tlv
from tests.pki.domains import domain_of, now, refused, verify

ROOT = Authority.create("Root")
SUB = Authority.create("Sub", parent=ROOT)
DEEP = Authority.create("Deep", parent=SUB)
OTHER = Authority.create("Other")
SECOND = timedelta(seconds=1)


def test_a_leaf_of_the_anchor() -> None:
    """The shortest path has two certificates."""
    leaf = ROOT.issue("reports")
    trusted = verify(domain_of(ROOT), leaf)
    assert trusted.path == (leaf.der, ROOT.der)
    assert trusted.presented.leaf.der == leaf.der


def test_intermediates_that_the_client_sends() -> None:
    """The path goes through them to the anchor."""
    leaf = DEEP.issue("reports")
    assert verify(domain_of(ROOT), leaf).path == (leaf.der, DEEP.der, SUB.der, ROOT.der)


def test_any_order_of_the_chain_will_do() -> None:
    """RFC 8446 §4.4.2: extraneous certificates and arbitrary orderings are to be expected."""
    leaf = DEEP.issue("reports")
    for chain in permutations([DEEP.der, SUB.der, ROOT.der, OTHER.der]):
        assert len(verify(domain_of(ROOT), [leaf.der, *chain]).path) == 4


def test_a_missing_intermediate() -> None:
    """The detail says where the path ends."""
    error = refused(domain_of(ROOT), [DEEP.issue("reports").der, DEEP.der])
    assert error.refusal is Refusal.UNTRUSTED_ISSUER
    assert error.detail == "the path ends at 'CN=Deep': its issuer 'CN=Sub' is neither an anchor nor sent along"


def test_an_intermediate_as_anchor() -> None:
    """An intermediate CA is a full anchor, and the root above it is none (RFC 5280 §6.1.1 (d))."""
    leaf = SUB.issue("reports")
    assert verify(domain_of(SUB), leaf).path == (leaf.der, SUB.der)
    assert verify(domain_of(SUB), DEEP.issue("reports")).path[-1] == SUB.der
    assert refused(domain_of(SUB), ROOT.issue("reports")).refusal is Refusal.UNTRUSTED_ISSUER
    sibling = Authority.create("Sibling", parent=ROOT)
    assert refused(domain_of(SUB), sibling.issue("reports")).refusal is Refusal.UNTRUSTED_ISSUER


def test_junk_in_the_chain_is_nobodys_business() -> None:
    """Whatever else is sent, the good path stays good."""
    leaf = SUB.issue("reports")
    junk = [b"", b"junk", leaf.der, OTHER.issue("stranger").der, self_signed("reports").der, SUB.der[:-1], OTHER.der]
    assert len(verify(domain_of(ROOT), [leaf.der, *junk, SUB.der, ROOT.der]).path) == 3


@pytest.mark.parametrize("key_identifiers", [True, False])
def test_impostors_in_the_chain_do_not_hide_the_right_issuer(key_identifiers: bool) -> None:
    """CAs of the same name and another key, before and after the right one, with and without key identifiers."""
    sub = Authority.create("Twin", parent=ROOT, key_identifiers=key_identifiers)
    leaf = sub.issue("reports", key_identifiers=key_identifiers)
    impostors = [Authority.create("Twin", parent=ROOT, key_identifiers=key_identifiers).der for _ in range(7)]
    assert verify(domain_of(ROOT), [leaf.der, *impostors, sub.der]).path == (leaf.der, sub.der, ROOT.der)
    assert verify(domain_of(ROOT), [leaf.der, sub.der, *impostors]).path == (leaf.der, sub.der, ROOT.der)


@pytest.mark.parametrize("key_identifiers", [True, False])
def test_two_anchors_of_one_name(key_identifiers: bool) -> None:
    """A roll-over: leaves of the old and the new key are good, in either order of the anchors."""
    old, new = (Authority.create("Rolling", key_identifiers=key_identifiers) for _ in range(2))
    for domains in (domain_of(old, new), domain_of(new, old)):
        for anchor in (old, new):
            leaf = anchor.issue("reports", key_identifiers=key_identifiers)
            assert verify(domains, leaf).path == (leaf.der, anchor.der)


def test_a_ca_that_changed_the_string_type_of_its_name() -> None:
    """Name chaining compares names, not octets (RFC 5280 §7.1)."""
    key = new_key()
    printable = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root", x509.name._ASN1Type.PrintableString)])
    anchor = Authority.create(printable, private_key=key)
    renamed = Authority.create("ROOT", private_key=key)
    leaf = renamed.issue("reports")
    assert verify(domain_of(anchor), leaf).path == (leaf.der, anchor.der)


def test_a_self_signed_certificate() -> None:
    """It is no anchor by being its own issuer."""
    error = refused(domain_of(ROOT), self_signed("reports"))
    assert error.refusal is Refusal.UNTRUSTED_ISSUER
    assert error.detail == "the path ends at 'CN=reports', which signs itself and is no anchor"


def test_a_stranger_with_its_root() -> None:
    """A root that is sent along is no anchor."""
    error = refused(domain_of(ROOT), [OTHER.issue("reports").der, OTHER.der])
    assert error.refusal is Refusal.UNTRUSTED_ISSUER
    assert "'CN=Other', which signs itself and is no anchor" in error.detail


def test_a_ca_of_the_same_name_with_another_key() -> None:
    """With a key identifier the issuer is another one, without one the signature tells."""
    for key_identifiers, refusal in ((True, Refusal.UNTRUSTED_ISSUER), (False, Refusal.BAD_SIGNATURE)):
        forger = Authority.create("Root", key_identifiers=key_identifiers)
        error = refused(domain_of(ROOT), forger.issue("reports", key_identifiers=key_identifiers))
        assert error.refusal is refusal
        assert error.detail.startswith("certificate 1 of 2 in the path (the leaf, 'CN=reports'): ")


def test_a_changed_octet() -> None:
    """In the signature, or in what is signed."""
    leaf = ROOT.issue("reports").der
    for position in (-1, leaf.index(b"reports")):
        changed = bytearray(leaf)
        changed[position] ^= 1
        assert refused(domain_of(ROOT), [bytes(changed)]).refusal is Refusal.BAD_SIGNATURE


def test_a_failure_leaves_no_error_behind_in_openssl() -> None:
    """The next TLS call in this thread would take it for its own."""
    leaf = ROOT.issue("reports").der
    refused(domain_of(ROOT), [leaf[:-1] + bytes([leaf[-1] ^ 1])])
    assert _util.lib.ERR_peek_error() == 0
    refused(domain_of(ROOT), [leaf[:-1] + bytes([leaf[-1] ^ 1]), b"junk", leaf[:-20]])
    assert _util.lib.ERR_peek_error() == 0


def test_dates_of_the_leaf() -> None:
    """notBefore and notAfter are both still valid, to the fraction of a second (RFC 5280 §4.1.2.5)."""
    start = (now() + HOUR).replace(microsecond=0)
    domains, leaf = domain_of(ROOT), ROOT.issue("reports", not_before=start, not_after=start + HOUR)
    early = refused(domains, leaf, at=start - SECOND / 10)
    assert early.refusal is Refusal.CERTIFICATE_NOT_YET_VALID
    assert early.detail.endswith(f"it is not valid before {start.isoformat()}")
    verify(domains, leaf, at=start)
    verify(domains, leaf, at=start + HOUR - SECOND)
    late = refused(domains, leaf, at=start + HOUR + SECOND)
    assert late.refusal is Refusal.CERTIFICATE_EXPIRED
    assert late.detail == (
        f"certificate 1 of 2 in the path (the leaf, 'CN=reports'): it was valid until {(start + HOUR).isoformat()}"
    )
    assert refused(domains, leaf, at=start + HOUR + SECOND / 10).refusal is Refusal.CERTIFICATE_EXPIRED


def test_dates_of_the_path() -> None:
    """An expired intermediate or anchor ends the path, and the detail says which it is."""
    expiring_root = Authority.create("Root", not_after=now() + HOUR)
    expiring_sub = Authority.create("Sub", parent=ROOT, not_after=now() + HOUR)
    error = refused(domain_of(expiring_root), expiring_root.issue("reports"), at=now() + 2 * HOUR)
    assert error.refusal is Refusal.CERTIFICATE_EXPIRED
    assert "certificate 2 of 2 in the path (the anchor, 'CN=Root')" in error.detail
    error = refused(domain_of(ROOT), expiring_sub.issue("reports"), at=now() + 2 * HOUR)
    assert error.refusal is Refusal.CERTIFICATE_EXPIRED
    assert "certificate 2 of 3 in the path (an intermediate CA, 'CN=Sub')" in error.detail


def test_an_expired_anchor_beside_its_renewal() -> None:
    """The same key, issued again: the renewed anchor carries the path."""
    key = new_key()
    expired = Authority.create("Root", private_key=key, not_before=now() - 2 * DAY, not_after=now() - DAY)
    renewed = Authority.create("Root", private_key=key)
    assert verify(domain_of(expired, renewed), renewed.issue("reports")).path[-1] == renewed.der


def test_a_leaf_is_no_issuer() -> None:
    """A client with a good certificate cannot make others (basic constraints, RFC 5280 §6.1.4 (k))."""
    client = ROOT.issue("client")
    forger = Authority(client.certificate, client.private_key)
    error = refused(domain_of(ROOT), [forger.issue("victim").der, client.der])
    assert error.refusal is Refusal.PATH_INVALID
    assert error.detail.endswith("(an intermediate CA, 'CN=client'): it is no CA, and yet the issuer of another")


def test_a_ca_without_key_cert_sign() -> None:
    """RFC 5280 §6.1.4 (n)."""
    sub = Authority.create("Sub", parent=ROOT, usage=key_usage(crl_sign=True))
    error = refused(domain_of(ROOT), sub.issue("reports"))
    assert error.refusal is Refusal.PATH_INVALID
    assert error.detail.endswith("(an intermediate CA, 'CN=Sub'): invalid CA certificate")


def test_path_length() -> None:
    """RFC 5280 §4.2.1.9: of an intermediate, and of the anchor."""
    root = Authority.create("Short", path_length=0)
    verify(domain_of(root), root.issue("reports"))
    sub = Authority.create("Sub", parent=root)
    assert refused(domain_of(root), sub.issue("reports")).refusal is Refusal.PATH_TOO_LONG


def test_unknown_critical_extensions() -> None:
    """RFC 5280 §4.2: in the leaf and in an intermediate."""
    unknown = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"), True)
    domains = domain_of(ROOT)
    leaf = refused(domains, ROOT.issue("reports", extensions=[unknown]))
    assert leaf.refusal is Refusal.UNKNOWN_CRITICAL_EXTENSION
    sub = Authority.create("Sub", parent=ROOT, extensions=[unknown])
    assert refused(domains, sub.issue("reports")).refusal is Refusal.UNKNOWN_CRITICAL_EXTENSION
    harmless = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0"), False)
    verify(domains, ROOT.issue("reports", extensions=[harmless]))


@pytest.mark.parametrize("kind", ["P-384", "RSA-2048", "Ed25519", "Ed448"])
def test_other_kinds_of_keys(kind: str) -> None:
    """Anchors and leaves of every algorithm."""
    root = Authority.create("Root", private_key=new_key(kind))
    leaf = root.issue("reports", private_key=new_key(kind))
    assert verify(domain_of(root), leaf).path == (leaf.der, root.der)


def test_ml_dsa() -> None:
    """FIPS 204, where the library in use can make such keys."""
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    root = Authority.create("Root", private_key=mldsa.MLDSA65PrivateKey.generate())
    leaf = root.issue("reports", private_key=mldsa.MLDSA44PrivateKey.generate())
    trusted = verify(domain_of(root), leaf)
    assert trusted.path == (leaf.der, root.der)
    assert trusted.presented.leaf.key_description == "ML-DSA-44"


# A value of a context-specific type: the reader keeps it as an encoding to compare, OpenSSL reads no such name.
UNREADABLE = tlv(0x30, rdn("2.5.4.3", 0x8C, b"x"))


def test_a_leaf_that_openssl_cannot_read() -> None:
    """It is refused as malformed, whoever signed it."""
    error = refused(domain_of(ROOT), [forge(ROOT.issue(), ROOT, subject=UNREADABLE)])
    assert error.refusal is Refusal.CERTIFICATE_MALFORMED


def test_an_intermediate_that_openssl_cannot_read() -> None:
    """It is junk like any other."""
    leaf = SUB.issue("reports")
    assert len(verify(domain_of(ROOT), [leaf.der, forge(SUB, ROOT, subject=UNREADABLE), SUB.der]).path) == 3


def test_details_hold_names_and_no_certificates() -> None:
    """Control characters are escaped, long names are cut."""
    subject = tlv(0x30, rdn("2.5.4.3", 0x0C, b"a\r\nforged line" + b"x" * 5_000))
    error = refused(domain_of(ROOT), [forge(OTHER.issue(), OTHER, subject=subject)])
    assert len(error.detail) < 600
    assert error.detail.isprintable()
    error = refused(domain_of(ROOT), OTHER.issue(name("a\u202eb")))
    assert error.detail.isprintable()


def test_a_leaf_without_a_subject_is_known_by_its_serial_number() -> None:
    """The detail always says which certificate it is."""
    leaf = forge(ROOT.issue(serial_number=0xABC, extended_key_usages=None), ROOT, subject=b"\x30\0")
    assert "serial number abc" in refused(domain_of(ROOT), [leaf]).detail


def test_mazes_of_cross_certificates_take_bounded_time() -> None:
    """Nine CAs of one name that could all have issued each other: 9! orders, of which few are tried."""
    key = new_key()
    maze = [Authority.create("Maze", private_key=key) for _ in range(9)]
    leaf = maze[0].issue("reports")
    started = time.process_time()
    assert refused(domain_of(ROOT), [leaf.der, *(ca.der for ca in maze)]).refusal is Refusal.UNTRUSTED_ISSUER
    root = Authority.create("Maze")
    assert refused(domain_of(root), [leaf.der, *(ca.der for ca in maze)]).refusal is Refusal.UNTRUSTED_ISSUER
    assert time.process_time() - started < 0.5


def test_huge_keys_of_strangers_are_never_used() -> None:
    """Intermediates with 16384-bit keys cost no signature check unless a trusted CA signed them."""
    huge = rsa.RSAPublicNumbers(65537, (1 << 16384) - 1).public_key()
    info = huge.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    chain = [forge(Authority.create("Huge", parent=OTHER), OTHER, public_key_info=info) for _ in range(9)]
    leaf = Authority.create("Huge", parent=OTHER).issue("reports")
    domains = domain_of(ROOT, OTHER)
    started = time.process_time()
    refused(domains, [leaf.der, *chain])
    assert time.process_time() - started < 0.5
