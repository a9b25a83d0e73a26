"""The memory of verified paths: what it may answer, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from mtls_as.pki.path import verify_path
from mtls_as.pki.verdicts import MAX_AGE, Verdict, VerdictCache, make_verdict
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import HOUR, Authority
from tests.pki.domains import domain_of, refused, verify

SECOND = timedelta(seconds=1)
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
VERDICT = Verdict(path=(), valid_from=AT - SECOND, valid_until=AT + 10 * SECOND, verified_at=AT)
ROOT = Authority.create("Root", not_before=AT - HOUR, not_after=AT + HOUR)


@pytest.mark.parametrize(
    ("verdict", "seconds", "holds"),
    [
        (VERDICT, 0, True),
        (VERDICT, 10, True),
        (VERDICT, 11, False),
        (VERDICT, -1, False),
        (Verdict(path=(), valid_from=AT, valid_until=AT + HOUR, verified_at=AT), 299, True),
        (Verdict(path=(), valid_from=AT, valid_until=AT + HOUR, verified_at=AT), 300, False),
    ],
)
def test_a_verdict_holds_within_the_validity_and_the_cap(verdict: Verdict, seconds: int, holds: bool) -> None:
    """Not a moment before it was made, not after notAfter, and 300 seconds at most."""
    assert verdict.holds(AT + seconds * SECOND) == holds


def test_a_verdict_ends_with_the_earliest_certificate() -> None:
    """The validity of a path is that of all its certificates."""
    leaf = ROOT.issue("reports", not_before=AT - 2 * HOUR, not_after=AT + 2 * HOUR)
    verdict = make_verdict((parse_certificate(leaf.der), parse_certificate(ROOT.der)), at=AT)
    assert (verdict.valid_from, verdict.valid_until) == (AT - HOUR, AT + HOUR)


def test_the_least_recently_used_is_dropped() -> None:
    """Memory is bounded, whatever number of certificates comes."""
    cache = VerdictCache(size=2)
    first, second, third = (parse_certificate(ROOT.issue(name).der) for name in ("first", "second", "third"))
    for certificate in (first, second):
        cache.keep(certificate, "a", VERDICT)
    assert cache.find(first, "a", at=AT) is VERDICT
    cache.keep(third, "a", VERDICT)
    assert len(cache) == 2
    assert cache.find(second, "a", at=AT) is None
    assert cache.find(first, "a", at=AT) is VERDICT


def test_domains_do_not_share_verdicts() -> None:
    """The key is the certificate and the domain."""
    cache = VerdictCache()
    leaf = parse_certificate(ROOT.issue().der)
    cache.keep(leaf, "a", VERDICT)
    assert cache.find(leaf, "b", at=AT) is None


def test_a_path_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then remembered for 300 seconds, and verified again after them."""
    calls = []

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(kwargs["at"])
        return verify_path(*args, **kwargs)  # type: ignore[arg-type] # passed through

    monkeypatch.setattr("mtls_as.pki.trust_domains.verify_path", counted)
    domains, leaf = domain_of(ROOT), ROOT.issue("reports", not_before=AT - HOUR, not_after=AT + HOUR)
    first = verify(domains, leaf, at=AT)
    assert verify(domains, leaf, at=AT + 299 * SECOND).path == first.path
    assert calls == [AT]
    verify(domains, leaf, at=AT + MAX_AGE)
    assert calls == [AT, AT + MAX_AGE]


def test_a_remembered_certificate_expires_all_the_same() -> None:
    """*Expiring while the connection lives* (CVE-2020-35509): refused at that request."""
    leaf = ROOT.issue("reports", not_before=AT - HOUR, not_after=AT + 2 * SECOND)
    domains = domain_of(ROOT)
    assert verify(domains, leaf, at=AT).valid_until == AT + 2 * SECOND
    verify(domains, leaf, at=AT + SECOND)
    assert refused(domains, leaf, at=AT + 3 * SECOND).refusal is Refusal.CERTIFICATE_EXPIRED


def test_refusals_are_not_remembered() -> None:
    """The next time the client may send the intermediate that was missing."""
    sub = Authority.create("Sub", parent=ROOT)
    leaf = sub.issue("reports", not_before=AT - HOUR)
    sub_now = Authority.create("Sub", parent=ROOT, private_key=sub.private_key, not_before=AT - HOUR)
    domains = domain_of(ROOT)
    assert refused(domains, [leaf.der], at=AT).refusal is Refusal.UNTRUSTED_ISSUER
    verify(domains, [leaf.der, sub_now.der], at=AT)


def test_a_remembered_verdict_is_about_the_leaf_that_is_presented() -> None:
    """The answer carries this connection's chain, not that of the one before."""
    leaf = ROOT.issue("reports", not_before=AT - HOUR)
    domains = domain_of(ROOT)
    verify(domains, leaf, at=AT)
    again = verify(domains, [leaf.der, b"junk"], at=AT)
    assert again.presented.unverified_chain == (b"junk",)
    assert again.path == (leaf.der, ROOT.der)
