"""SPIFFE trust domains as values: what a swap changes, and whom it leaves alone."""

from datetime import UTC, datetime, timedelta

import pytest

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import PresentedCertificate, present
from mtls_as.pki.spiffe_domains import SpiffeDomains
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.spiffe_bundle import parse_bundle
from tests.authority import DAY, HOUR, Identity, new_key
from tests.workloads import TrustDomain, document, new_authority, x509_entry

NOW = datetime.now(UTC)


@pytest.fixture
def one() -> TrustDomain:
    return TrustDomain("one.example")


@pytest.fixture
def other() -> TrustDomain:
    return TrustDomain("other.example")


@pytest.fixture
def domains(one: TrustDomain, other: TrustDomain) -> SpiffeDomains:
    made = SpiffeDomains.named([one.name, other.name])
    for domain in (one, other):
        made = made.with_bundle(domain.name, parse_bundle(domain.bundle()))
    return made


def presented(identity: Identity) -> PresentedCertificate:
    return present(identity.der_chain)


def refusal_of(domains: SpiffeDomains, identity: Identity, name: str, *, at: datetime = NOW) -> Refusal | None:
    try:
        domains.verify(presented(identity), trust_domain=name, at=at)
    except CertificateRefused as error:
        return error.refusal
    return None


def test_a_workload_is_trusted_in_its_own_domain(domains: SpiffeDomains, one: TrustDomain) -> None:
    trusted = domains.verify(presented(one.svid("/a")), trust_domain=one.name, at=NOW)
    assert str(trusted.spiffe_id) == "spiffe://one.example/a"
    assert trusted.path[-1] == one.authority.der
    assert trusted.valid_until > NOW


def test_a_chain_with_the_victim_s_certificates_in_it_proves_nothing(
    domains: SpiffeDomains, one: TrustDomain, other: TrustDomain
) -> None:
    """Only the leaf speaks, and only the own bundle's authorities end a path."""
    forged = other.authority.issue_svid("spiffe://one.example/a")
    chain = (*forged.der_chain, other.authority.der, one.svid("/a").der, one.authority.der)
    with pytest.raises(CertificateRefused) as caught:
        domains.verify(present(chain), trust_domain=one.name, at=NOW)
    assert caught.value.refusal is Refusal.UNTRUSTED_ISSUER


def test_a_verdict_ends_with_its_bundle(domains: SpiffeDomains, one: TrustDomain, other: TrustDomain) -> None:
    """A cached verdict of an older bundle must not outlive it; the other domain's stay."""
    workload, stranger = one.svid("/a"), other.svid("/a")
    for _ in range(2):
        assert refusal_of(domains, workload, one.name) is None
    swapped = domains.with_bundle(one.name, parse_bundle(TrustDomain(one.name).bundle()))
    assert swapped.generation == domains.generation + 1
    assert refusal_of(swapped, workload, one.name) is Refusal.UNTRUSTED_ISSUER
    assert refusal_of(swapped, stranger, other.name) is None
    assert refusal_of(domains, workload, one.name) is None, "a request that began on the old set ends on it"


def test_a_verdict_ends_with_the_certificate(domains: SpiffeDomains, one: TrustDomain) -> None:
    brief = one.svid("/a", not_after=NOW + timedelta(seconds=30))
    assert refusal_of(domains, brief, one.name) is None
    assert refusal_of(domains, brief, one.name, at=NOW + timedelta(seconds=31)) is Refusal.CERTIFICATE_EXPIRED


def test_two_authorities_stand_side_by_side_during_a_roll_over(domains: SpiffeDomains, one: TrustDomain) -> None:
    following = new_authority(one.name)
    both = domains.with_bundle(one.name, parse_bundle(one.bundle(x509_entry(following))))
    for authority in (one.authority, following):
        assert refusal_of(both, authority.issue_svid("spiffe://one.example/a"), one.name) is None


def test_an_expired_authority_vouches_for_nobody(domains: SpiffeDomains, one: TrustDomain) -> None:
    old = new_authority(one.name, not_before=NOW - DAY, not_after=NOW - HOUR)
    aged = domains.with_bundle(one.name, parse_bundle(document(x509_entry(old))))
    svid = old.issue_svid("spiffe://one.example/a")
    assert refusal_of(aged, svid, one.name) is Refusal.CERTIFICATE_EXPIRED


def test_weak_keys_are_refused(domains: SpiffeDomains, one: TrustDomain) -> None:
    svid = one.svid("/a", private_key=new_key("RSA-1024"))
    assert refusal_of(domains, svid, one.name) is Refusal.WEAK_KEY


def test_domains_without_a_bundle_and_domains_that_are_not_there(one: TrustDomain) -> None:
    bare = SpiffeDomains.named([one.name])
    assert refusal_of(bare, one.svid("/a"), one.name) is Refusal.SPIFFE_BUNDLE_UNAVAILABLE
    assert refusal_of(SpiffeDomains.named([]), one.svid("/a"), one.name) is Refusal.UNKNOWN_TRUST_DOMAIN
    with pytest.raises(CertificateRefused):
        bare.jwt_authorities(one.name)
    with pytest.raises(KeyError):
        bare.with_bundle("other.example", parse_bundle(document()))
