"""What a trust domain asks beyond a valid path: usages, strength of keys and of signatures."""

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_as.rfc.refusal import Refusal
from tests.authority import Authority, forge, key_usage, new_key
from tests.pki.domains import domain_of, refused, verify

ROOT = Authority.create("Root")
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
EXTENDED_KEY_USAGES = [
    (None, "it has no extended key usage"),
    ([SERVER], "its extended key usage is serverAuth, and the domain asks for clientAuth"),
    ([ANY], "its extended key usage is anyExtendedKeyUsage, and the domain asks for clientAuth"),
    ([ExtendedKeyUsageOID.EMAIL_PROTECTION, x509.ObjectIdentifier("1.2.3")], "is 1.2.3, emailProtection"),
]


@pytest.mark.parametrize(("usages", "reason"), EXTENDED_KEY_USAGES)
def test_client_auth_is_asked_of_the_leaf(usages: list[x509.ObjectIdentifier] | None, reason: str) -> None:
    """By default, and by name (RFC 5280 §4.2.1.12); the reason says what is there instead."""
    error = refused(domain_of(ROOT), ROOT.issue("reports", extended_key_usages=usages))
    assert error.refusal is Refusal.WRONG_EXTENDED_KEY_USAGE
    assert reason in error.detail


@pytest.mark.parametrize(("usages", "_"), [*EXTENDED_KEY_USAGES, ([CLIENT], ""), ([CLIENT, SERVER], "")])
def test_a_domain_may_ask_for_none(usages: list[x509.ObjectIdentifier] | None, _: str) -> None:
    """`any` is for CAs that no longer issue clientAuth."""
    verify(domain_of(ROOT, extended_key_usage="any"), ROOT.issue("reports", extended_key_usages=usages))


def test_client_auth_among_others_will_do() -> None:
    """The extension is a list of purposes."""
    verify(domain_of(ROOT), ROOT.issue("reports", extended_key_usages=[SERVER, CLIENT]))


@pytest.mark.parametrize(
    ("usages", "is_good"), [([SERVER], False), ([CLIENT], True), ([ANY], True), ([SERVER, CLIENT], True)]
)
def test_intermediates_must_allow_it(usages: list[x509.ObjectIdentifier], is_good: bool) -> None:
    """A CA for servers makes no clients, whatever its leaves say."""
    sub = Authority.create("Sub", parent=ROOT, extensions=[(x509.ExtendedKeyUsage(usages), False)])
    leaf = sub.issue("reports")
    if is_good:
        verify(domain_of(ROOT), leaf)
        return
    error = refused(domain_of(ROOT), leaf)
    assert error.refusal is Refusal.WRONG_EXTENDED_KEY_USAGE
    assert error.detail == (
        "certificate 2 of 3 in the path (an intermediate CA, 'CN=Sub'): "
        "its extended key usage is serverAuth, which excludes clientAuth for all below it"
    )
    verify(domain_of(ROOT, extended_key_usage="any"), leaf)


def test_anchors_must_allow_it_too() -> None:
    """Loading warns of an anchor that can vouch for nothing."""
    root = Authority.create("Servers", extensions=[(x509.ExtendedKeyUsage([SERVER]), False)])
    domains = domain_of(root)
    assert refused(domains, root.issue("reports")).refusal is Refusal.WRONG_EXTENDED_KEY_USAGE
    assert "anchor 'CN=Servers' can vouch for nothing" in domains.warnings[0]


def test_the_leaf_must_sign() -> None:
    """Key usage, where present, has digitalSignature (RFC 5280 §4.2.1.3; TLS signs with the key)."""
    error = refused(domain_of(ROOT), ROOT.issue("reports", usage=key_usage(key_encipherment=True)))
    assert error.refusal is Refusal.WRONG_KEY_USAGE
    assert error.detail.endswith("its key usage is keyEncipherment, without digitalSignature")


def test_a_ca_is_no_client() -> None:
    """Of the anchor itself, of an intermediate, and of one that is dressed as a leaf."""
    sub = Authority.create("Sub", parent=ROOT)
    dressed = ROOT.issue("reports", ca=True)
    for chain in ([sub.der], [dressed.der]):
        error = refused(domain_of(ROOT), chain)
        assert error.refusal is Refusal.CA_CERTIFICATE_AS_LEAF
        assert "is the certificate of a CA" in error.detail
    assert refused(domain_of(ROOT), [ROOT.der]).refusal is Refusal.CA_CERTIFICATE_AS_LEAF


def test_weak_keys() -> None:
    """RSA 1024 by default; with a higher minimum, RSA 2048 and P-256 as well."""
    for kind, minimum in (("RSA-1024", 112), ("RSA-2048", 128), ("P-256", 192)):
        error = refused(domain_of(ROOT, minimum_key_strength=minimum), ROOT.issue("reports", private_key=new_key(kind)))
        assert error.refusal is Refusal.WEAK_KEY
        assert f"weaker than {minimum} bits of security" in error.detail
    strong = Authority.create("Strong", private_key=new_key("P-384"))
    verify(domain_of(strong, minimum_key_strength=192), strong.issue("reports", private_key=new_key("P-384")))


def test_weak_keys_of_authorities() -> None:
    """A path is as strong as its weakest key."""
    weak = Authority.create("Weak", parent=ROOT, private_key=new_key("RSA-1024"))
    error = refused(domain_of(ROOT), weak.issue("reports"))
    assert error.refusal is Refusal.WEAK_KEY
    assert "(an intermediate CA, 'CN=Weak'): its key, RSA 1024," in error.detail
    root = Authority.create("Weak root", private_key=new_key("RSA-1024"))
    domains = domain_of(root)
    assert refused(domains, root.issue("reports")).refusal is Refusal.WEAK_KEY
    assert "can vouch for nothing: its key, RSA 1024," in domains.warnings[0]


def test_weak_signatures() -> None:
    """SHA-1 on the leaf or on an intermediate; an anchor's own signature proves nothing and may be what it is."""
    domains = domain_of(ROOT)
    error = refused(domains, [forge(ROOT.issue("reports"), ROOT, sha1=True)])
    assert error.refusal is Refusal.WEAK_SIGNATURE
    assert error.detail.endswith("its signature algorithm, sha1, is too weak or not known")
    sub = Authority.create("Sub", parent=ROOT)
    error = refused(domains, [sub.issue("reports").der, forge(sub, ROOT, sha1=True)])
    assert error.refusal is Refusal.WEAK_SIGNATURE
    assert "certificate 2 of 3" in error.detail


def test_a_strong_path_beside_a_weak_one() -> None:
    """The same intermediate, once signed with SHA-1 and once again: the good one carries the path."""
    sub = Authority.create("Sub", parent=ROOT)
    leaf = sub.issue("reports")
    assert verify(domain_of(ROOT), [leaf.der, forge(sub, ROOT, sha1=True), sub.der]).path[1] == sub.der
