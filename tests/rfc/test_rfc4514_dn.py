"""RFC 4514: names as strings, and the names inside certificates."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4514_dn import DistinguishedNameError, decode_dn, parse_dn
from mtls_as.rfc.rfc4517_matching import compare_dn
from mtls_as.rfc.rfc4519_attributes import NAME_OF
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from tests.authority import Authority, attribute, encode_oid, forge, rdn, tlv
from tests.programs import require_program

CN, O, OU, C = "2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6"  # noqa: E741 # the name of the attribute
DC, EMAIL = "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"
UTF8, PRINTABLE, IA5, T61, UNIVERSAL, BMP = 0x0C, 0x13, 0x16, 0x14, 0x1C, 0x1E


def texts(dn: str) -> list[list[tuple[str, str | None]]]:
    """Labels and texts, in the order of the encoding."""
    return [[(attribute.label, attribute.text) for attribute in rdn] for rdn in parse_dn(dn).rdns]


@pytest.mark.parametrize(
    ("dn", "rdns"),
    [
        ("UID=jsmith,DC=example,DC=net", [[("DC", "net")], [("DC", "example")], [("UID", "jsmith")]]),
        (
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            [[("DC", "net")], [("DC", "example")], [("OU", "Sales"), ("CN", "J.  Smith")]],
        ),
        (
            'CN=James \\"Jim\\" Smith\\, III,DC=example,DC=net',
            [[("DC", "net")], [("DC", "example")], [("CN", 'James "Jim" Smith, III')]],
        ),
        ("CN=Before\\0dAfter,DC=example,DC=net", [[("DC", "net")], [("DC", "example")], [("CN", "Before\rAfter")]]),
        ("1.3.6.1.4.1.1466.0=#04024869", [[("1.3.6.1.4.1.1466.0", None)]]),
        ("CN=Lu\\C4\\8Di\\C4\\87", [[("CN", "Lučić")]]),
    ],
)
def test_examples_of_rfc_4514(dn: str, rdns: list[list[tuple[str, str | None]]]) -> None:
    """RFC 4514 §4."""
    assert texts(dn) == rdns


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a\\,b", "a,b"),
        ("a\\2Cb", "a,b"),
        ("a\\+b\\=c\\;d\\<e\\>f\\\\g", "a+b=c;d<e>f\\g"),
        ("a=b", "a=b"),
        ("\\ a\\ ", " a "),
        ("\\20a b\\20", " a b "),
        ("\\#1", "#1"),
        ("a#1", "a#1"),
        ("Müller", "Müller"),
        ("M\\c3\\BCller", "Müller"),
    ],
)
def test_escapes(written: str, value: str) -> None:
    """RFC 4514 §2.4 and §3: special characters, hexadecimal pairs, spaces and '#' at the ends."""
    assert texts(f"CN={written}") == [[("CN", value)]]


@pytest.mark.parametrize(
    ("dn", "label"),
    [
        ("cn=x", "CN"),
        ("commonName=x", "CN"),
        ("2.5.4.3=x", "CN"),
        ("E=x", "emailAddress"),
        ("emailaddress=x", "emailAddress"),
        ("1.2.840.113549.1.9.1=x", "emailAddress"),
        ("serialNumber=x", "serialNumber"),
        ("surname=x", "SN"),
        ("street=x", "STREET"),
        ("organizationIdentifier=x", "organizationIdentifier"),
    ],
)
def test_names_of_types(dn: str, label: str) -> None:
    """Short names in any case, long names and dotted forms are the same type (RFC 4512 §1.4)."""
    assert texts(dn) == [[(label, "x")]]


@pytest.mark.parametrize(
    ("dn", "message"),
    [
        ("", "empty"),
        ("/C=DE/O=Example/CN=x", "write the last part first"),
        ("CN", "not type=value"),
        ("CN=Smith, John", "not type=value"),
        ("CN=x, O=y", "no spaces"),
        ("CN =x", "no spaces"),
        ("CN=x,", "not type=value"),
        (",CN=x", "not type=value"),
        ("CN=x,,O=y", "not type=value"),
        ("CN=x+", "not type=value"),
        ("CN=x;O=y", "separates nothing"),
        ('CN="x"', "quoted"),
        ('CN=a"b', "must be escaped"),
        ("CN=a<b", "must be escaped"),
        ("CN=", "is empty"),
        ("CN=\\ \\ ", "is empty"),
        ("CN= x", "begins or ends with a space"),
        ("CN=x ", "begins or ends with a space"),
        ("CN=x\\", "backslash"),
        ("CN=\\zz", "backslash"),
        ("CN=\\4", "backslash"),
        ("CN=\\FF", "not UTF-8"),
        ("CN=\ud800", "not UTF-8"),
        ("CN=a\\00b", "NUL"),
        ("CN=a\0b", "must be escaped"),
        ("CN=#", "hexadecimal"),
        ("CN=#0", "hexadecimal"),
        ("CN=#0g", "hexadecimal"),
        ("CN=#0c0278", "not DER"),
        ("CN=#0c017878", "not DER"),
        ("XX=x", "not a known attribute type"),
        ("=x", "not a known attribute type"),
        ("1.2.3=x", "hexadecimal DER"),
        ("01.2=#0500", "not a known attribute type"),
        ("CN=x+CN=y", "two values of one type"),
        ("CN=" + "x" * 20_000, "more than 16384"),
        (",".join(["OU=x"] * 65), "more than 64"),
        ("CN=x,\u041e=y", "not a known attribute type"),
    ],
)
def test_errors_say_what_is_wrong(dn: str, message: str) -> None:
    """Other forms than RFC 4514 §3 are errors, and never guessed at."""
    with pytest.raises(DistinguishedNameError, match=message):
        parse_dn(dn)


def test_string_form_begins_with_the_last_rdn() -> None:
    """RFC 4514 §2.1."""
    name = decode_dn(tlv(0x30, rdn(C, PRINTABLE, b"DE"), rdn(O, UTF8, b"Example"), rdn(CN, UTF8, b"reports")))
    assert str(name) == "CN=reports,O=Example,C=DE"


@pytest.mark.parametrize(
    ("oid", "tag", "content", "text"),
    [
        (CN, UTF8, b"reports", "CN=reports"),
        (CN, PRINTABLE, b"reports", "CN=reports"),
        (CN, UTF8, b' a,CN=admin+O=x;"<>\\ ', 'CN=\\ a\\,CN=admin\\+O=x\\;\\"\\<\\>\\\\\\ '),
        (CN, UTF8, b"#0500", "CN=\\#0500"),
        (CN, UTF8, "Müller".encode(), "CN=Müller"),
        (CN, UTF8, "a\u202eb".encode(), "CN=a\\e2\\80\\aeb"),
        (CN, UTF8, b"a\0b", "CN=#0c03610062"),
        (CN, UTF8, b"a\rb", "CN=#0c03610d62"),
        (CN, UTF8, b"", "CN=#0c00"),
        (CN, UTF8, b"  ", "CN=#0c022020"),
        (CN, PRINTABLE, b"a*b", "CN=#1303612a62"),
        (CN, PRINTABLE, b"\xe9", "CN=#1301e9"),
        (CN, IA5, b"a", "CN=#160161"),
        (CN, BMP, b"\0a", "CN=#1e020061"),
        (CN, T61, b"a", "CN=#140161"),
        (CN, UNIVERSAL, b"\0\0\0a", "CN=#1c0400000061"),
        (CN, 0x2C, b"\x0c\x01a", "CN=#2c030c0161"),
        (DC, IA5, b"example", "DC=example"),
        (DC, UTF8, b"example", "DC=#0c076578616d706c65"),
        (EMAIL, IA5, b"a@b.example", "emailAddress=a@b.example"),
        (EMAIL, IA5, b"\xe9", "emailAddress=#1601e9"),
        ("1.2.3", UTF8, b"a", "1.2.3=#0c0161"),
    ],
)
def test_values_of_certificates(oid: str, tag: int, content: bytes, text: str) -> None:
    """Text where its type compares as text, else '#' and the encoding; both read back to what matches."""
    name = decode_dn(tlv(0x30, rdn(oid, tag, content)))
    assert str(name) == text
    assert compare_dn(parse_dn(text), name) is None


def test_multi_valued_rdns() -> None:
    """The values of one RDN are joined by '+' (RFC 4514 §2.2)."""
    name = decode_dn(tlv(0x30, tlv(0x31, attribute(OU, UTF8, b"Sales"), attribute(CN, UTF8, b"x"))))
    assert str(name) == "OU=Sales+CN=x"


def test_the_empty_name_can_be_decoded_and_not_parsed() -> None:
    """Certificates may have an empty subject (RFC 5280 §4.1.2.6); nobody can register one."""
    assert decode_dn(b"\x30\x00").is_empty
    with pytest.raises(DistinguishedNameError):
        parse_dn("")


@pytest.mark.parametrize(
    "encoding",
    [
        b"",
        b"\x30\x00\x00",
        b"\x31\x00",
        tlv(0x30, tlv(0x30)),
        tlv(0x30, tlv(0x31)),
        tlv(0x30, tlv(0x31, tlv(0x30))),
        tlv(0x30, tlv(0x31, tlv(0x30, encode_oid(CN)))),
        tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x0C, b"x"), encode_oid(CN)))),
        tlv(0x30, tlv(0x31, tlv(0x30, encode_oid(CN), tlv(0x0C, b"x"), tlv(0x0C, b"y")))),
        tlv(0x30, rdn(CN, UTF8, b"\xff\xfe")),
        tlv(0x30, tlv(0x31, attribute(CN, UTF8, b"x"), attribute(CN, UTF8, b"y"))),
        tlv(0x30, *[rdn(OU, UTF8, b"x")] * 65),
        tlv(0x30, tlv(0x31, *[attribute(f"1.2.{n}", UTF8, b"x") for n in range(33)]) * 2),
    ],
    ids=["nothing", "trailing", "a set", "no set", "empty set", "empty attribute", "no value", "no type", "two values",
         "invalid UTF-8", "a type twice", "65 RDNs", "66 attributes"],
)  # fmt: skip
def test_malformed_names_are_refused(encoding: bytes) -> None:
    """Each with the one documented error."""
    with pytest.raises(DistinguishedNameError):
        decode_dn(encoding)


values = st.text(min_size=1, max_size=20).filter(lambda text: text.strip(" ") and "\0" not in text)


def test_reads_what_openssl_prints(tmp_path: Path) -> None:
    """`openssl x509 -nameopt RFC2253` is the form that people have at hand."""
    openssl = require_program("openssl")
    rdns = [
        rdn(C, PRINTABLE, b"DE"),
        rdn(DC, IA5, b"example"),
        rdn(O, UTF8, 'Müller, "Söhne" + Co; <x> \\'.encode()),
        rdn(OU, UTF8, b" #spaces "),
        rdn("2.5.4.5", PRINTABLE, b"12345"),
        rdn("2.5.4.97", UTF8, b"VATDE-1"),
        rdn("1.2.3.4", UTF8, b"x"),
        tlv(0x31, attribute(CN, UTF8, b"#reports"), attribute(EMAIL, IA5, b"a@b.example")),
    ]
    authority = Authority.create("CA")
    encoding = forge(authority.issue(), authority, subject=tlv(0x30, *rdns))
    (tmp_path / "leaf.der").write_bytes(encoding)
    command = [
        openssl,
        "x509",
        "-inform",
        "DER",
        "-in",
        str(tmp_path / "leaf.der"),
        "-noout",
        "-subject",
        "-nameopt",
        "RFC2253",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    subject = parse_certificate(encoding).subject
    assert compare_dn(parse_dn(printed.removeprefix("subject=")), subject) is None
    assert compare_dn(parse_dn(str(subject)), subject) is None


@given(st.lists(st.tuples(st.sampled_from(sorted(NAME_OF)), values), min_size=1, max_size=4))
def test_names_of_certificates_survive_their_string_form(pairs: list[tuple[str, str]]) -> None:
    """What `str` writes, `parse_dn` reads, and it matches what it was written for."""
    name = decode_dn(tlv(0x30, *[rdn(oid, UTF8, value.encode()) for oid, value in pairs]))
    assert compare_dn(parse_dn(str(name)), name) is None
    assert str(parse_dn(str(name))) == str(name)


@given(st.one_of(st.text(max_size=40), st.text(alphabet='CNO=,+;\\"#<> 0123aF\0é.', max_size=40)))
def test_hostile_text_raises_the_one_error(text: str) -> None:
    """Whatever comes in: a name that is written in a form that reads back, or `DistinguishedNameError`."""
    try:
        name = parse_dn(text)
    except DistinguishedNameError:
        return
    assert parse_dn(str(name)) == name
    assert not name.is_empty


@given(st.binary(max_size=64))
def test_hostile_bytes_raise_the_one_error(data: bytes) -> None:
    """Random bytes are names or `DistinguishedNameError`."""
    for encoding in (data, tlv(0x30, data), tlv(0x30, tlv(0x31, data)), tlv(0x30, tlv(0x31, tlv(0x30, data)))):
        try:
            str(decode_dn(encoding))
        except DistinguishedNameError:
            continue
