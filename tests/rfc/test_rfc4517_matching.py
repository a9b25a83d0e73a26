"""distinguishedNameMatch (RFC 4517 §4.2.15, RFC 8705 §2.1), restricted to what cannot be read in two ways."""

import pytest

from mtls_as.rfc.rfc4514_dn import DistinguishedName, decode_dn, parse_dn
from mtls_as.rfc.rfc4517_matching import DNDifferenceKind, canonical_name, compare_dn, has_control_characters
from tests.authority import attribute, rdn, tlv

CN, O, OU = "2.5.4.3", "2.5.4.10", "2.5.4.11"  # noqa: E741 # the name of the attribute
UTF8, PRINTABLE, IA5, T61, BMP = 0x0C, 0x13, 0x16, 0x14, 0x1E


def cn(tag: int, content: bytes) -> DistinguishedName:
    return decode_dn(tlv(0x30, rdn(CN, tag, content)))


@pytest.mark.parametrize(
    ("expected", "tag", "content"),
    [
        ("CN=reports", UTF8, b"reports"),
        ("CN=reports", PRINTABLE, b"reports"),
        ("CN=REPORTS", UTF8, b"reports"),
        ("CN=a b", UTF8, b"  a   b "),
        ("CN=a  b", UTF8, b"a b"),
        ("CN=M\\C3\\BCller", UTF8, "Müller".encode()),
        ("CN=#0c0161", UTF8, b"a"),
        ("CN=#0C0161", UTF8, b"a"),
        ("CN=#1e020061", BMP, b"\0a"),
        ("CN=#140161", T61, b"a"),
        ("CN=#0c03610062", UTF8, b"a\0b"),
    ],
)
def test_what_matches(expected: str, tag: int, content: bytes) -> None:
    """Case of ASCII letters and extra spaces are insignificant; hexadecimal values match the same encoding."""
    assert compare_dn(parse_dn(expected), cn(tag, content)) is None


@pytest.mark.parametrize(
    ("expected", "tag", "content"),
    [
        ("CN=reports", UTF8, b"report"),
        ("CN=a", BMP, b"\0a"),
        ("CN=a", T61, b"a"),
        ("CN=a", IA5, b"a"),
        ("CN=a*", PRINTABLE, b"a*"),
        ("CN=ab", UTF8, b"a\0b"),
        ("CN=a\\0ab", UTF8, b"a\nb"),
        ("CN=ab", UTF8, b"a\nb"),
        ("CN=#0c0161", PRINTABLE, b"a"),
        ("CN=#0c0141", UTF8, b"a"),
        ("CN=MÜLLER", UTF8, "müller".encode()),
        ("CN=M\u00fcller", UTF8, "Mu\u0308ller".encode()),
        ("CN=admin", UTF8, "\u0430dmin".encode()),
        ("CN=K", UTF8, "\u212a".encode()),
        ("CN=a b", UTF8, "a\u00a0b".encode()),
        ("CN=ab", UTF8, "a\u200bb".encode()),
        ("CN=x", UTF8, b"x,CN=admin"),
        ("CN=admin", UTF8, b"x,CN=admin"),
        ("CN=x,CN=admin", UTF8, b"x,CN=admin"),
    ],
)
def test_what_does_not(expected: str, tag: int, content: bytes) -> None:
    """No other string types as text, no control characters, no Unicode case or normalisation, no look-alikes."""
    assert compare_dn(parse_dn(expected), cn(tag, content)) is not None


def test_an_empty_name_matches_nothing() -> None:
    """Not even another empty name: empty is never true."""
    empty = decode_dn(b"\x30\x00")
    assert compare_dn(empty, empty) is not None
    assert compare_dn(parse_dn("CN=x"), empty) is not None
    assert "certificate has none" in str(compare_dn(parse_dn("CN=x"), empty))


def test_values_of_one_rdn_are_a_set() -> None:
    """Their order is insignificant, their number and types are not (RFC 4517 §4.2.15)."""
    name = decode_dn(tlv(0x30, tlv(0x31, attribute(OU, UTF8, b"Sales"), attribute(CN, UTF8, b"x"))))
    assert compare_dn(parse_dn("OU=Sales+CN=x"), name) is None
    assert compare_dn(parse_dn("CN=x+OU=Sales"), name) is None
    assert compare_dn(parse_dn("CN=x"), name) is not None
    assert compare_dn(parse_dn("CN=x,OU=Sales"), name) is not None
    assert compare_dn(parse_dn("CN=x+O=Sales"), name) is not None


NAME = decode_dn(tlv(0x30, rdn("2.5.4.6", PRINTABLE, b"DE"), rdn(O, UTF8, b"Example GmbH"), rdn(CN, UTF8, b"reports")))


@pytest.mark.parametrize(
    ("expected", "kind", "message"),
    [
        (
            "CN=reports,O=Example Ltd,C=DE",
            DNDifferenceKind.VALUE,
            "RDN 2 of 3: O: expected 'Example Ltd', certificate has 'Example GmbH'",
        ),
        (
            "CN=reports,C=DE",
            DNDifferenceKind.COUNT,
            "another number of RDNs: expected 'CN=reports,C=DE', certificate has 'CN=reports,O=Example GmbH,C=DE'",
        ),
        (
            "C=DE,O=Example GmbH,CN=reports",
            DNDifferenceKind.ORDER,
            (
                "the same RDNs in another order: expected 'C=DE,O=Example GmbH,CN=reports', "
                "certificate has 'CN=reports,O=Example GmbH,C=DE'"
            ),
        ),
        (
            "CN=reports,OU=Example GmbH,C=DE",
            DNDifferenceKind.TYPES,
            "RDN 2 of 3: expected 'OU', certificate has 'O'",
        ),
        (
            "CN=\u0433eports,O=Example GmbH,C=DE",
            DNDifferenceKind.VALUE,
            "RDN 1 of 3: CN: expected '\u0433eports' (that is '\\u0433eports'), certificate has 'reports'",
        ),
    ],
)
def test_the_first_difference_is_told(expected: str, kind: DNDifferenceKind, message: str) -> None:
    """Position, attribute, what was expected and what is there."""
    difference = compare_dn(parse_dn(expected), NAME)
    assert difference is not None
    assert difference.kind is kind
    assert str(difference) == message


def test_a_difference_in_a_value_that_is_no_text_says_what_to_register() -> None:
    """The hexadecimal form is shown, and that nothing else matches."""
    assert str(compare_dn(parse_dn("CN=a"), cn(BMP, b"\0a"))).endswith(
        "certificate has '#1e020061' (not text: only this hexadecimal form matches)"
    )


def test_long_values_are_cut_in_messages() -> None:
    """A certificate cannot flood the log."""
    assert len(str(compare_dn(parse_dn("CN=a"), cn(UTF8, b"x" * 60_000)))) < 400


def test_canonical_names_find_issuers() -> None:
    """A CA that changed its string type or case is still found by the name of its certificates' issuer."""
    assert canonical_name(cn(UTF8, b"Root  CA")) == canonical_name(cn(PRINTABLE, b"root ca"))
    assert canonical_name(cn(UTF8, b"Root")) != canonical_name(cn(BMP, b"\0R\0o\0o\0t"))
    assert canonical_name(cn(UTF8, b"a\nb")) == canonical_name(cn(UTF8, b"a\nb"))


def test_control_characters_are_found() -> None:
    """So that a registration that could never match is refused."""
    assert has_control_characters(parse_dn("CN=a\\0Ab"))
    assert not has_control_characters(parse_dn("CN=a b"))
