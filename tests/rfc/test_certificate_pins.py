"""Anchors that are pinned by SHA-256 and come with the client."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_as.pki.trust_domains import TrustConfigurationError, TrustDomains, TrustDomainSettings
from mtls_as.rfc.certificate_pins import PinError, Pins
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import DAY, Authority, Identity, dns, forge, new_key, self_signed
from tests.pki.domains import DOMAIN, now, refused, verify

ROOT = Authority.create("Root")
SUB = Authority.create("Sub", parent=ROOT)
OTHER = Authority.create("Other")


def certificate_pin(identity: Identity) -> str:
    return f"sha256:{hashlib.sha256(identity.der).hexdigest()}"


def key_pin(identity: Identity) -> str:
    key = identity.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def pinned(*anchors: str, base: Path = Path("/nonexistent"), **settings: Any) -> TrustDomains:
    """One domain with these anchors; no file is needed for a pin."""
    return TrustDomains.load([TrustDomainSettings(name=DOMAIN, anchors=anchors, **settings)], base=base)


@pytest.mark.parametrize("pin", [certificate_pin, key_pin])
def test_a_pinned_root_comes_with_the_client(pin: Any) -> None:
    """By its certificate or by its key; it must be sent, and nothing else of what is sent becomes an anchor."""
    domains, leaf = pinned(pin(ROOT)), SUB.issue("reports")
    assert verify(domains, [leaf.der, SUB.der, ROOT.der]).path == (leaf.der, SUB.der, ROOT.der)
    assert verify(domains, [leaf.der, OTHER.der, ROOT.der, SUB.der]).path[-1] == ROOT.der
    stranger = OTHER.issue("reports")
    assert refused(domains, [stranger.der, OTHER.der, ROOT.der]).refusal is Refusal.UNTRUSTED_ISSUER


def test_a_pinned_root_that_is_not_sent() -> None:
    """The detail says what the client must do."""
    error = refused(pinned(certificate_pin(ROOT)), [SUB.issue("reports").der, SUB.der])
    assert error.refusal is Refusal.UNTRUSTED_ISSUER
    assert error.detail.endswith("; the client must send along the certificate that this domain pins")


def test_a_pinned_intermediate() -> None:
    """A pin of its certificate makes an intermediate CA a full anchor, as a file does."""
    leaf = SUB.issue("reports")
    assert verify(pinned(certificate_pin(SUB)), leaf).path == (leaf.der, SUB.der)
    assert refused(pinned(certificate_pin(SUB)), [ROOT.issue("reports").der, SUB.der, ROOT.der])


def test_an_upper_case_pin() -> None:
    """As some programs print it."""
    pin = certificate_pin(SUB)
    verify(pinned("sha256:" + pin.removeprefix("sha256:").upper()), SUB.issue("reports"))


def test_a_certificate_that_an_attacker_makes_around_a_pinned_key() -> None:
    """The root's constraints are lost in it, and it is signed by whoever made it: it is no anchor."""
    constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName("inside.example")], excluded_subtrees=None)
    root = Authority.create("Constrained", extensions=[(constraints, True)])
    outside = root.issue("reports", san=[dns("outside.example")])
    domains = pinned(key_pin(root))
    assert refused(domains, [outside.der, root.der]).refusal is Refusal.NAME_CONSTRAINT_VIOLATED
    unbound = Authority.create("Constrained", private_key=root.private_key)
    around = forge(unbound, Authority.create("Constrained", private_key=new_key()))
    assert parse_certificate(around).public_key_info == parse_certificate(root.der).public_key_info
    for chain in ([around], [around, root.der], [root.der, around]):
        error = refused(domains, [outside.der, *chain])
        assert error.refusal in {Refusal.UNTRUSTED_ISSUER, Refusal.NAME_CONSTRAINT_VIOLATED}


def test_a_cross_certificate_for_a_pinned_key() -> None:
    """Another CA signed it, so its content is not the word of the key's holder; its own certificate beside it is."""
    leaf = ROOT.issue("reports")
    cross = Authority.create("Root", parent=OTHER, private_key=ROOT.private_key)
    assert refused(pinned(key_pin(ROOT)), [leaf.der, cross.der]).refusal is Refusal.UNTRUSTED_ISSUER
    assert verify(pinned(key_pin(ROOT)), [leaf.der, cross.der, ROOT.der]).path == (leaf.der, ROOT.der)


def test_a_self_signature_with_collisions() -> None:
    """SHA-1 could make a harmless signature of the key's holder one over a certificate that he never saw."""
    weak = forge(ROOT, ROOT, sha1=True)
    leaf = ROOT.issue("reports")
    assert refused(pinned(key_pin(ROOT)), [leaf.der, weak]).refusal is Refusal.UNTRUSTED_ISSUER
    weak_pin = f"sha256:{hashlib.sha256(weak).hexdigest()}"
    assert verify(pinned(weak_pin), [leaf.der, weak]).path == (leaf.der, weak)


@pytest.mark.parametrize("kind", ["RSA-2048", "P-384", "Ed25519", "Ed448"])
def test_keys_of_every_kind(kind: str) -> None:
    """A pinned key proves its own certificate, whatever it signs with."""
    root = Authority.create("Root", private_key=new_key(kind))
    leaf = root.issue("reports")
    assert verify(pinned(key_pin(root)), [leaf.der, root.der]).path[-1] == root.der


def test_a_renewed_root_under_the_same_pin() -> None:
    """The pin of a key outlives the certificate, and an expired certificate counts no more."""
    old = Authority.create("Root", private_key=ROOT.private_key, not_before=now() - 9 * DAY, not_after=now() - DAY)
    leaf = ROOT.issue("reports")
    domains = pinned(key_pin(ROOT))
    assert refused(domains, [leaf.der, old.der]).refusal is Refusal.CERTIFICATE_EXPIRED
    assert verify(domains, [leaf.der, old.der, ROOT.der]).path == (leaf.der, ROOT.der)


def test_a_pinned_end_entity_is_no_anchor() -> None:
    """Neither a leaf, nor a self-signed certificate, nor a CA that may not sign certificates."""
    lonely = self_signed("reports")
    leaf = ROOT.issue("reports")
    for identity in (lonely, leaf):
        domains = pinned(certificate_pin(identity), key_pin(identity))
        assert refused(domains, [identity.der, identity.der]).refusal is Refusal.UNTRUSTED_ISSUER
        assert refused(domains, [self_signed("x").der, identity.der]).refusal is Refusal.UNTRUSTED_ISSUER


def test_pins_and_files_mix(tmp_path: Path) -> None:
    """The old CA in a file, the new one by a pin: a roll-over."""
    (tmp_path / "ca.pem").write_text(OTHER.pem)
    domains = pinned("*.pem", key_pin(ROOT), base=tmp_path)
    verify(domains, OTHER.issue("reports"))
    leaf = ROOT.issue("reports")
    verify(domains, [leaf.der, ROOT.der])
    assert domains.anchors[DOMAIN] == (parse_certificate(OTHER.der),)


def test_a_returning_certificate_needs_no_chain_until_its_verdict_ends() -> None:
    """What is remembered is a path that was verified."""
    domains, leaf = pinned(key_pin(ROOT)), ROOT.issue("reports")
    path = verify(domains, [leaf.der, ROOT.der]).path
    assert verify(domains, [leaf.der]).path == path
    assert refused(domains, [leaf.der], at=now() + timedelta(seconds=301))


@pytest.mark.parametrize("text", ["sha256:", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "sha256:" + "00:" * 32])
def test_what_is_no_pin(text: str) -> None:
    """Refused when loaded; the message says what the form is."""
    with pytest.raises(PinError, match="64 hexadecimal digits"):
        Pins.of([text])
    with pytest.raises(TrustConfigurationError, match=r"trust domain 'partner': a pin is sha256:"):
        pinned(text)
    with pytest.raises(TrustConfigurationError, match=r"trust domain 'partner': required_issuer: a pin is sha256:"):
        pinned(certificate_pin(ROOT), required_issuer=(text,))
