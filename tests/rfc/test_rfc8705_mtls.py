"""RFC 8705: expected subjects, thumbprints and confirmations."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4517_matching import DNDifferenceKind
from mtls_as.rfc.rfc5280_certificate import Certificate, CertificateError, parse_certificate, parse_pem_certificates
from mtls_as.rfc.rfc8705_mtls import (
    ConfirmationError,
    ExpectedSubject,
    SubjectError,
    SubjectType,
    confirmation,
    match_subject,
    parse_confirmation,
    parse_expected_subject,
    registration_lines,
    thumbprints_equal,
    x5t_s256,
)
from tests.authority import Authority, dns, email, forge, ip, name, rdn, tlv, uri

DN, DNS, URI, IP, EMAIL = SubjectType
CA = Authority.create("Test CA")

# RFC 8705 appendix A.
APPENDIX_A = b"""-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAx
ODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ
/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID
SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOV
bUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=
-----END CERTIFICATE-----"""
THUMBPRINT = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"


def certificate_with(*san: bytes, subject: bytes = b"\x30\x00") -> Certificate:
    """A certificate with GeneralNames and a subject in DER."""
    return parse_certificate(forge(CA.issue(), CA, subject=subject, extensions={"2.5.29.17": tlv(0x30, *san)}))


def test_thumbprint_of_appendix_a() -> None:
    """RFC 8705 §3.1 and appendix A."""
    (certificate,) = parse_pem_certificates(APPENDIX_A)
    assert x5t_s256(certificate.der) == THUMBPRINT
    assert str(certificate.subject) == "CN=mtls"


def test_confirmation_round_trip() -> None:
    """RFC 8705 §3.1: one member, x5t#S256."""
    assert confirmation(THUMBPRINT) == {"x5t#S256": THUMBPRINT}
    assert parse_confirmation(confirmation(THUMBPRINT)) == THUMBPRINT


@pytest.mark.parametrize(
    "cnf",
    [
        None,
        True,
        THUMBPRINT,
        [THUMBPRINT],
        {},
        {"x5t#S256": THUMBPRINT, "jkt": THUMBPRINT},
        {"jkt": THUMBPRINT},
        {"x5t#s256": THUMBPRINT},
        {"x5t": THUMBPRINT},
        {"x5t#S256": None},
        {"x5t#S256": 1},
        {"x5t#S256": [THUMBPRINT]},
        {"x5t#S256": ""},
        {"x5t#S256": THUMBPRINT + "="},
        {"x5t#S256": THUMBPRINT[:-1]},
        {"x5t#S256": THUMBPRINT + "A"},
        {"x5t#S256": THUMBPRINT + "\n"},
        {"x5t#S256": " " + THUMBPRINT},
        {"x5t#S256": THUMBPRINT[:-1] + "1"},
        {"x5t#S256": THUMBPRINT.replace("A4D", "A/D")},
        {"x5t#S256": "é" * 43},
        {"x5t#S256": "\ud800" * 43},
    ],
)
def test_other_confirmations_are_refused(cnf: object) -> None:
    """Unknown or further members, padding, white space, other lengths, unused bits, other types."""
    with pytest.raises(ConfirmationError):
        parse_confirmation(cnf)


def test_thumbprints_compare_whole_and_survive_hostile_text() -> None:
    """Also text that no encoding holds is just not equal."""
    assert thumbprints_equal(THUMBPRINT, THUMBPRINT)
    assert not thumbprints_equal(THUMBPRINT, THUMBPRINT[:-1])
    assert not thumbprints_equal(THUMBPRINT, THUMBPRINT.lower())
    assert not thumbprints_equal("\ud800", "é")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (DN, "CN=reports,O=Example,C=DE"),
        (DNS, "Reports.example"),
        (DNS, "localhost"),
        (DNS, "_service.a-b.example"),
        (DNS, "xn--mller-kva.example"),
        (URI, "spiffe://reports.example/service"),
        (URI, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        (URI, "https://user@reports.example:8443/a?b#c%20d"),
        (URI, "https://[2001:db8::1]/"),
        (IP, "192.0.2.1"),
        (IP, "2001:db8::1"),
        (IP, "::"),
        (IP, "::ffff:192.0.2.1"),
        (IP, "2001:db8:0:1:1:1:1:1"),
        (EMAIL, "First.Last+tag@Mail.example"),
    ],
)
def test_subjects_that_can_be_registered(kind: SubjectType, text: str) -> None:
    """RFC 8705 §2.1.2; the text stays as it was registered."""
    assert parse_expected_subject(kind, text).text == text


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        *((kind, "", "empty") for kind in SubjectType),
        *((kind, "a" * 3_000, "more than 2048") for kind in SubjectType),
        (DN, "/C=DE/CN=reports", "RFC 4514"),
        (DN, "C=DE, CN=reports", "no spaces"),
        (DN, "reports", "CN=reports,O=Example,C=DE"),
        (DN, "CN=", "empty"),
        (DN, "CN=a\\00b", "NUL"),
        (DN, "CN=a\\0ab", "control characters"),
        (DNS, "*.example", "wildcards"),
        (DNS, "a*.example", "wildcards"),
        (DNS, "reports.example.", "ends with a dot"),
        (DNS, ".reports.example", "not a host name"),
        (DNS, "müller.example", "xn--"),
        (DNS, "reports．example", "not ASCII"),  # noqa: RUF001 # a full stop of another width is the point
        (DNS, "a b", "not a host name"),
        (DNS, "a\0.example", "not a host name"),
        (DNS, "reports.example\n", "not a host name"),
        (DNS, "https://reports.example", "not a host name"),
        (DNS, "reports.example:443", "not a host name"),
        (DNS, "-a.example", "not a host name"),
        (DNS, "a" * 64, "not a host name"),
        (DNS, "192.0.2.1", "tls_client_auth_san_ip"),
        (URI, "reports.example", "absolute"),
        (URI, "/path", "absolute"),
        (URI, "//reports.example/path", "absolute"),
        (URI, "https:", "absolute"),
        (URI, "1https://reports.example", "absolute"),
        (URI, "https://reports.example/a b", "absolute"),
        (URI, "https://reports.example/\0", "absolute"),
        (URI, "https://reports.example/%zz", "absolute"),
        (URI, "https://müller.example", "absolute"),
        (URI, "https://*.example/", "wildcards"),
        (IP, "192.0.2.01", "not an address"),
        (IP, "192.0.2", "not an address"),
        (IP, "192.0.2.0/24", "not an address"),
        (IP, "3221225985", "not an address"),
        (IP, "0xc0000201", "not an address"),
        (IP, "192.0.2.1 ", "not an address"),
        (IP, "١٩٢.0.2.1", "not an address"),
        (IP, "fe80::1%eth0", "scope id"),
        (IP, "[2001:db8::1]", "not an address"),
        (IP, "2001:DB8::1", "writes this address 2001:db8::1"),
        (IP, "2001:db8:0:0:0:0:0:1", "writes this address 2001:db8::1"),
        (IP, "2001:db8::01", "writes this address 2001:db8::1"),
        (IP, "2001:db8::1:1:1:1:1", "writes this address 2001:db8:0:1:1:1:1:1"),
        (IP, "::ffff:c000:201", "writes this address ::ffff:192.0.2.1"),
        (IP, "reports.example", "not an address"),
        (EMAIL, "reports", "not a mailbox"),
        (EMAIL, "@mail.example", "not a mailbox"),
        (EMAIL, "a@", "not a mailbox"),
        (EMAIL, "a@b@mail.example", "not a mailbox"),
        (EMAIL, "a@mail.example.", "not a mailbox"),
        (EMAIL, "a@*.example", "not a mailbox"),
        (EMAIL, "a..b@mail.example", "not a mailbox"),
        (EMAIL, "A <a@mail.example>", "not a mailbox"),
        (EMAIL, "ä@mail.example", "not ASCII"),
    ],
)
def test_subjects_that_cannot(kind: SubjectType, text: str, message: str) -> None:
    """Each is refused when it is registered, and told in a way that helps."""
    with pytest.raises(SubjectError, match=message):
        parse_expected_subject(kind, text)


def test_no_record_without_a_valid_subject() -> None:
    """The type itself refuses: there is no way around the parser."""
    with pytest.raises(SubjectError):
        ExpectedSubject(DNS, "")


@pytest.mark.parametrize(
    ("kind", "text", "san"),
    [
        (DNS, "reports.example", dns("reports.example")),
        (DNS, "REPORTS.Example", dns("reports.EXAMPLE")),
        (URI, "SPIFFE://Reports.Example/a", uri("spiffe://reports.example/a")),
        (URI, "https://user@A.example:1/b", uri("https://user@a.EXAMPLE:1/b")),
        (URI, "urn:Example:a", uri("URN:Example:a")),
        (URI, "https://[2001:DB8::1]/", uri("https://[2001:db8::1]/")),
        (URI, "a://b]c/", uri("A://b]c/")),
        (IP, "192.0.2.1", ip("192.0.2.1")),
        (IP, "2001:db8::1", ip("2001:0DB8:0:0::1")),
        (IP, "::ffff:192.0.2.1", ip("::ffff:192.0.2.1")),
        (EMAIL, "a@MAIL.example", email("a@mail.Example")),
    ],
)
def test_what_matches(kind: SubjectType, text: str, san: object) -> None:
    """Hosts and schemes without case, addresses as octets (RFC 8705 §2.1.2); one SAN of several is enough."""
    identity = CA.issue(san=[dns("other.example"), uri("x:y"), ip("198.51.100.1"), email("x@y.example"), san])  # type: ignore[list-item] # a GeneralName of any type
    assert match_subject(parse_expected_subject(kind, text), parse_certificate(identity.der)) is None


@pytest.mark.parametrize(
    ("kind", "text", "san"),
    [
        (DNS, "reports.example", tlv(0x82, b"reports.example.")),
        (DNS, "reports.example", tlv(0x82, b"*.example")),
        (DNS, "reports.example", tlv(0x82, b"reports.example\0.evil.example")),
        (DNS, "reports.example", tlv(0x82, b"evil.example\0reports.example")),
        (DNS, "reports.example", tlv(0x82, b"sub.reports.example")),
        (DNS, "reports.example", tlv(0x82, "report\u0455.example".encode())),
        (DNS, "k.example", tlv(0x82, "\u212a.example".encode())),
        (URI, "https://a.example/Path", tlv(0x86, b"https://a.example/path")),
        (URI, "https://a.example", tlv(0x86, b"https://a.example/")),
        (URI, "https://a.example/", tlv(0x86, b"https://a.example:443/")),
        (URI, "https://a.example/a", tlv(0x86, b"https://a.example/%61")),
        (URI, "https://User@a.example/", tlv(0x86, b"https://user@a.example/")),
        (URI, "https://a.example?Q", tlv(0x86, b"https://a.example?q")),
        (URI, "spiffe://a.example/b", tlv(0x86, b"spiffe://a.example/b/../b")),
        (URI, "https://good.example/", tlv(0x86, b"https://good.example@evil.example/")),
        (URI, "a://b]c/", tlv(0x86, b"a://B]c/")),
        (IP, "192.0.2.1", tlv(0x87, bytes(10) + b"\xff\xff\xc0\0\2\1")),
        (IP, "::ffff:192.0.2.1", tlv(0x87, b"\xc0\0\2\1")),
        (IP, "192.0.2.1", tlv(0x87, b"\xc0\0\2\1\xff\xff\xff\xff")),
        (EMAIL, "Reports@mail.example", tlv(0x81, b"reports@mail.example")),
        (EMAIL, "reports@mail.example", tlv(0x81, b"reports@mail.example\0")),
        (EMAIL, "reports@mail.example", tlv(0x81, b"mail.example")),
        (EMAIL, "reports@mail.example", tlv(0x81, b'"reports"@mail.example')),
    ],
)
def test_what_does_not(kind: SubjectType, text: str, san: bytes) -> None:
    """Wildcards, dots, NULs, look-alikes, paths of another case, mapped addresses: none of them is the subject."""
    mismatch = match_subject(parse_expected_subject(kind, text), certificate_with(san))
    assert mismatch is not None
    assert mismatch.expected.text == text


TEXT_OF = {DNS: "abcd", URI: "abcd:e", IP: "97.98.99.100", EMAIL: "abcd@e", DN: "CN=abcd"}
TAG_OF = {DNS: 0x82, URI: 0x86, IP: 0x87, EMAIL: 0x81}


@pytest.mark.parametrize("kind", SubjectType)
@pytest.mark.parametrize("other", [DNS, URI, IP, EMAIL])
def test_types_never_mix(kind: SubjectType, other: SubjectType) -> None:
    """The octets of one type, in a SAN of another, are not the subject (CVE-2020-36477)."""
    content = b"abcd" if kind is IP else TEXT_OF[kind].encode()
    certificate = certificate_with(tlv(TAG_OF[other], content))
    matches = match_subject(parse_expected_subject(kind, TEXT_OF[kind]), certificate) is None
    assert matches == (kind is other)


def test_the_common_name_is_no_san() -> None:
    """RFC 8705 §2.1.2: the host in the CN does not count as dNSName, nor the e-mail in the DN as rfc822Name."""
    subject = tlv(0x30, rdn("1.2.840.113549.1.9.1", 0x16, b"a@b.example"), rdn("2.5.4.3", 0x0C, b"reports.example"))
    certificate = certificate_with(subject=subject)
    assert match_subject(parse_expected_subject(DNS, "reports.example"), certificate) is not None
    assert match_subject(parse_expected_subject(EMAIL, "a@b.example"), certificate) is not None


def test_a_mismatch_tells_what_is_there() -> None:
    """For people, and as values."""
    certificate = parse_certificate(CA.issue(name("reports"), san=[dns("a.example"), dns("b.example")]).der)
    wrong_dns = match_subject(parse_expected_subject(DNS, "c.example"), certificate)
    assert wrong_dns is not None
    assert wrong_dns.found == ("a.example", "b.example")
    assert str(wrong_dns) == ("tls_client_auth_san_dns: expected 'c.example', certificate has 'a.example', 'b.example'")
    wrong_ip = match_subject(parse_expected_subject(IP, "192.0.2.1"), certificate)
    assert str(wrong_ip) == "tls_client_auth_san_ip: expected '192.0.2.1', certificate has none of that type"
    wrong_dn = match_subject(parse_expected_subject(DN, "CN=billing"), certificate)
    assert wrong_dn is not None
    assert wrong_dn.difference is not None
    assert wrong_dn.difference.kind is DNDifferenceKind.VALUE
    assert str(wrong_dn) == (
        "tls_client_auth_subject_dn: RDN 1 of 1: CN: expected 'billing', certificate has 'reports'"
    )


def test_many_names_do_not_flood_the_message() -> None:
    """A certificate may have 256 of them."""
    certificate = certificate_with(*[tlv(0x82, b"a" * 60 + b"%d.example" % n) for n in range(200, 456)])
    assert len(str(match_subject(parse_expected_subject(DNS, "c.example"), certificate))) < 1_000


def test_registration_lines() -> None:
    """Every subject that could be registered, in the form to paste, and none that could not."""
    identity = CA.issue(
        name("a, b", country="DE"),
        san=[
            dns("A.example"),
            dns("a.example"),
            dns("*.example"),
            dns("192.0.2.9"),
            uri("spiffe://a.example/b"),
            ip("2001:db8::1"),
            email("a@b.example"),
        ],
    )
    assert registration_lines(parse_certificate(identity.der)) == [
        (DN, "CN=a\\, b,C=DE"),
        (DNS, "A.example"),
        (DNS, "a.example"),
        (URI, "spiffe://a.example/b"),
        (IP, "2001:db8::1"),
        (EMAIL, "a@b.example"),
    ]


def test_registration_lines_without_a_subject() -> None:
    """An empty DN cannot be registered."""
    assert registration_lines(certificate_with(tlv(0x82, b"a.example"))) == [(DNS, "a.example")]


@given(st.binary(max_size=24), st.sampled_from([0x81, 0x82, 0x86, 0x87]), st.sampled_from([0x0C, 0x13, 0x16, 0x1E]))
def test_registration_lines_match_their_certificate(content: bytes, san_tag: int, cn_tag: int) -> None:
    """Whatever is in a certificate: a line that is offered for it matches it."""
    try:
        certificate = certificate_with(tlv(san_tag, content), subject=tlv(0x30, rdn("2.5.4.3", cn_tag, content)))
    except CertificateError:
        return
    for line in registration_lines(certificate):
        assert match_subject(parse_expected_subject(*line), certificate) is None


@given(
    st.sampled_from(SubjectType), st.one_of(st.text(max_size=40), st.text(alphabet="aA1.:/@*%[]-\0é=,CN ", max_size=40))
)
def test_hostile_subjects_raise_the_one_error(kind: SubjectType, text: str) -> None:
    """Whatever comes in: an expected subject, or `SubjectError`."""
    try:
        subject = parse_expected_subject(kind, text)
    except SubjectError:
        return
    assert subject.canonical


@given(st.one_of(st.none(), st.text(), st.dictionaries(st.text(), st.text()), st.lists(st.text())))
def test_hostile_confirmations_raise_the_one_error(cnf: object) -> None:
    """Whatever comes in: a thumbprint, or `ConfirmationError`."""
    with pytest.raises(ConfirmationError):
        parse_confirmation(cnf)


@given(st.binary(max_size=64))
def test_every_thumbprint_is_a_confirmation(data: bytes) -> None:
    """What is issued is accepted (RFC 8705 §3.1)."""
    assert parse_confirmation(confirmation(x5t_s256(data))) == x5t_s256(data)
    assert len(hashlib.sha256(data).digest()) == 32
