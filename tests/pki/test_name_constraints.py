"""Name constraints (RFC 5280 §4.2.1.10): a CA speaks for its own names only (CVE-2026-34073)."""

import ipaddress

import pytest
from cryptography import x509

from mtls_as.rfc.refusal import Refusal
from tests.authority import Authority, Identity, dns, email, ip, name, uri
from tests.pki.domains import domain_of, refused, verify

ROOT = Authority.create("Root")
DIRECTORY = x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")]))
NETWORK = x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))


def constrained(*, permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None) -> Authority:
    constraints = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=excluded)
    return Authority.create("Constrained", parent=ROOT, extensions=[(constraints, True)])


def organization(text: str) -> x509.Name:
    """O first, as in the constraint."""
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, text),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "reports"),
        ]
    )


CASES = [
    (dns("example"), [dns("reports.example")], [dns("reports.test")]),
    (dns("a.example"), [dns("A.example"), dns("b.a.example")], [dns("xa.example")]),
    (uri(".example"), [uri("https://a.example/b")], [uri("https://a.test/b")]),
    (uri("a.example"), [uri("spiffe://a.example/b")], [uri("spiffe://b.example/b")]),
    (email("example.test"), [email("a@example.test")], [email("a@test.example")]),
    (email("a@b.example"), [email("a@b.example")], [email("c@b.example")]),
    (NETWORK, [ip("192.0.2.7")], [ip("198.51.100.7")]),
]


@pytest.mark.parametrize(("constraint", "inside", "outside"), CASES)
def test_permitted_names(
    constraint: x509.GeneralName, inside: list[x509.GeneralName], outside: list[x509.GeneralName]
) -> None:
    """Every name of that type lies within, or the path is refused; other types are free."""
    ca = constrained(permitted=[constraint], excluded=None)
    verify(domain_of(ROOT), ca.issue("reports", san=inside))
    violated(ca.issue("reports", san=outside))
    violated(ca.issue("reports", san=[*inside, *outside]))


@pytest.mark.parametrize(("constraint", "inside", "outside"), CASES)
def test_excluded_names(
    constraint: x509.GeneralName, inside: list[x509.GeneralName], outside: list[x509.GeneralName]
) -> None:
    """No name of that type lies within, or the path is refused."""
    ca = constrained(permitted=None, excluded=[constraint])
    verify(domain_of(ROOT), ca.issue("reports", san=outside))
    violated(ca.issue("reports", san=[*outside, *inside]))


def test_the_subject_is_a_directory_name() -> None:
    """RFC 5280 §4.2.1.10: constraints on directoryName hold for the subject itself."""
    ca = constrained(permitted=[DIRECTORY], excluded=None)
    verify(domain_of(ROOT), ca.issue(organization("Example")))
    violated(ca.issue(organization("Evil")))
    violated(ca.issue(name("reports")))
    ca = constrained(permitted=None, excluded=[DIRECTORY])
    violated(ca.issue(organization("Example")))
    verify(domain_of(ROOT), ca.issue(organization("Other")))


def test_constraints_reach_through_intermediates() -> None:
    """A constrained CA cannot shake them off with a CA of its own."""
    ca = constrained(permitted=[dns("example")], excluded=None)
    sub = Authority.create("Sub", parent=ca)
    verify(domain_of(ROOT), sub.issue("reports", san=[dns("reports.example")]))
    violated(sub.issue("reports", san=[dns("reports.test")]))


def test_constraints_of_the_anchor_hold() -> None:
    """An operator may anchor a constrained CA, and its constraints count."""
    constraints = x509.NameConstraints(permitted_subtrees=[dns("example")], excluded_subtrees=None)
    root = Authority.create("Constrained root", extensions=[(constraints, True)])
    verify(domain_of(root), root.issue("reports", san=[dns("reports.example")]))
    error = refused(domain_of(root), root.issue("reports", san=[dns("reports.test")]))
    assert error.refusal is Refusal.NAME_CONSTRAINT_VIOLATED


def test_the_detail_says_which_certificate() -> None:
    """In the words of OpenSSL."""
    ca = constrained(permitted=[dns("example")], excluded=None)
    error = refused(domain_of(ROOT), ca.issue("reports", san=[dns("reports.test")]))
    assert "(the leaf, 'CN=reports'): permitted subtree violation" in error.detail


def violated(leaf: Identity) -> None:
    assert refused(domain_of(ROOT), leaf).refusal is Refusal.NAME_CONSTRAINT_VIOLATED
