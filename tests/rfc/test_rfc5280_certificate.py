"""RFC 5280: what is read of a certificate, and what is refused."""

import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_as.rfc.rfc5280_certificate import (
    CertificateError,
    DNSName,
    EmailName,
    IPName,
    OtherName,
    URIName,
    parse_certificate,
    parse_pem_certificates,
)
from mtls_as.rfc.rfc5280_public_key import read_public_key
from mtls_as.rfc.x690_der import DERError
from tests.authority import (
    Authority,
    dns,
    email,
    encode_oid,
    forge,
    ip,
    key_usage,
    name,
    new_key,
    self_signed,
    tlv,
    uri,
)

CA = Authority.create("Test CA")
PLAIN = CA.issue("plain")
SAN = "2.5.29.17"


def test_facts() -> None:
    """Names, times, usages, key and signature as they stand in the certificate (RFC 5280 §4.1)."""
    start, end = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2060, 1, 2, 3, 4, 5, tzinfo=UTC)
    identity = CA.issue(
        name("reports", organization="Example", country="DE"),
        san=[
            dns("Reports.example"),
            uri("spiffe://a.example/b"),
            email("a@b.example"),
            ip("192.0.2.1"),
            ip("2001:db8::1"),
        ],
        not_before=start,
        not_after=end,
        serial_number=0x1234,
    )
    certificate = parse_certificate(identity.der)
    assert str(certificate.subject) == "CN=reports,C=DE,O=Example"
    assert str(certificate.issuer) == "CN=Test CA"
    assert certificate.serial_number == 0x1234
    assert (certificate.not_before, certificate.not_after) == (start, end)
    assert certificate.subject_alternative_names == (
        DNSName("Reports.example"),
        URIName("spiffe://a.example/b"),
        EmailName("a@b.example"),
        IPName(bytes([192, 0, 2, 1])),
        IPName(ipaddress.ip_address("2001:db8::1").packed),
    )
    assert not certificate.is_ca
    assert certificate.key_usages == frozenset({"digitalSignature"})
    assert certificate.extended_key_usages == frozenset({"1.3.6.1.5.5.7.3.2"})
    assert certificate.key_description == "EC P-256"
    assert certificate.key_strength == 128
    assert certificate.signature_hash == "sha256"
    assert certificate.sha256 == identity.certificate.fingerprint(identity.certificate.signature_hash_algorithm)  # type: ignore[arg-type] # it is SHA-256
    assert certificate.der == identity.der
    assert certificate.public_key_info == identity.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def test_extensions_that_are_not_there() -> None:
    """No extension is None, and not an empty set."""
    certificate = parse_certificate(self_signed().der)
    assert certificate.key_usages is None
    assert certificate.extended_key_usages is None
    assert certificate.subject_alternative_names == ()
    assert not certificate.is_ca


def test_authorities() -> None:
    """BasicConstraints with cA true, and nothing else, makes a CA (RFC 5280 §4.2.1.9)."""
    authority = parse_certificate(Authority.create("Root", path_length=3).der)
    assert authority.is_ca
    assert authority.key_usages == frozenset({"keyCertSign", "cRLSign"})


def test_every_key_usage() -> None:
    """Nine bits, with the names of RFC 5280 §4.2.1.3."""
    usage = key_usage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=True, decipher_only=True,
    )  # fmt: skip
    assert parse_certificate(CA.issue(usage=usage).der).key_usages == frozenset({
        "digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "decipherOnly",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "description", "strength", "signature_hash"),
    [
        ("P-256", "EC P-256", 128, "sha256"),
        ("P-384", "EC P-384", 192, "sha256"),
        ("RSA-2048", "RSA 2048", 112, "sha256"),
        ("Ed25519", "Ed25519", 128, None),
        ("Ed448", "Ed448", 224, None),
    ],
)
def test_keys(kind: str, description: str, strength: int, signature_hash: str | None) -> None:
    """Strength by NIST SP 800-57 part 1, table 2."""
    certificate = parse_certificate(self_signed(private_key=new_key(kind)).der)
    assert certificate.key_description == description
    assert certificate.key_strength == strength
    assert certificate.signature_hash == signature_hash


def rsa_key_info(bits: int) -> bytes:
    """A modulus of that size, of which nobody knows the factors."""
    key = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("bits", "strength"), [(1024, 80), (2047, 80), (3072, 128), (4096, 128), (8192, 192), (16384, 256)]
)
def test_strength_of_rsa_keys(bits: int, strength: int) -> None:
    """A size between two rows of the table counts as the lower."""
    assert read_public_key(rsa_key_info(bits)).strength == strength


@pytest.mark.parametrize(
    ("info", "description"),
    [
        (rsa_key_info(16392), "RSA 16392"),
        (tlv(0x30, tlv(0x30, encode_oid("1.2.3.4")), tlv(0x03, b"\0x")), "algorithm 1.2.3.4"),
        (tlv(0x30, tlv(0x30, encode_oid("1.3.101.112")), tlv(0x03, b"\0short")), "algorithm 1.3.101.112"),
        (tlv(0x30, tlv(0x30, encode_oid("1.3.101.110")), tlv(0x03, b"\0" + b"x" * 32)), "algorithm 1.3.101.110"),
        (tlv(0x30, tlv(0x30, encode_oid("2.16.840.1.101.3.4.3.17")), tlv(0x03, b"\0short")), "ML-DSA-44"),
    ],
)  # fmt: skip
def test_keys_without_strength(info: bytes, description: str) -> None:
    """Unknown algorithms, wrong sizes, keys that cannot sign, moduli that OpenSSL refuses: no policy accepts 0."""
    facts = read_public_key(info)
    assert (facts.description, facts.strength) == (description, 0)


@pytest.mark.parametrize(
    "info", [b"", b"x", tlv(0x30), tlv(0x30, tlv(0x30), tlv(0x03, b"\0")), tlv(0x30, tlv(0x30) * 2)]
)
def test_malformed_keys_raise_the_one_error(info: bytes) -> None:
    """What is no SubjectPublicKeyInfo is told apart from a key that is not known."""
    with pytest.raises(DERError):
        read_public_key(info)


@pytest.mark.parametrize(("number", "size", "strength"), [(17, 1312, 128), (18, 1952, 192), (19, 2592, 256)])
def test_ml_dsa_keys(number: int, size: int, strength: int) -> None:
    """FIPS 204 keys are known by their object identifier and their size."""
    oid = encode_oid(f"2.16.840.1.101.3.4.3.{number}")
    assert read_public_key(tlv(0x30, tlv(0x30, oid), tlv(0x03, bytes(size + 1)))).strength == strength


def test_explicit_curve_parameters_have_no_strength() -> None:
    """A curve of the attacker's choice (CVE-2020-0601) is not known by its size."""
    parameters = tlv(0x30, tlv(0x02, b"\x01"), tlv(0x30, encode_oid("1.2.840.10045.1.1"), tlv(0x02, b"\x07")))
    point = (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    info = tlv(0x30, tlv(0x30, encode_oid("1.2.840.10045.2.1"), parameters), tlv(0x03, b"\0" + point))
    assert read_public_key(info).strength == 0


def san(*names: bytes) -> tuple[object, ...]:
    """The SANs of a certificate with the given GeneralNames, DER."""
    encoding = forge(PLAIN, CA, extensions={SAN: tlv(0x30, *names)})
    return parse_certificate(encoding).subject_alternative_names


@pytest.mark.parametrize(
    ("tag", "content", "text"),
    [
        (0x82, b"*.example", "*.example"),
        (0x82, b"a.example.", "a.example."),
        (0x82, b"a.example\0.b.example", "a.example\\x00.b.example"),
        (0x82, b"\xc3\xa9.example", "\\xc3\\xa9.example"),
        (0x82, b"", ""),
        (0x82, b"-a.example", "-a.example"),
        (0x82, b"a b", "a b"),
        (0x82, b"a..example", "a..example"),
        (0x82, b"a" * 64, "a" * 64),
        (0x82, b".".join([b"a"] * 128), ".".join(["a"] * 128)),
        (0x86, b"//a.example/b", "//a.example/b"),
        (0x86, b"relative", "relative"),
        (0x86, b"https://a.example/ b", "https://a.example/ b"),
        (0x86, b"https://a.example/%zz", "https://a.example/%zz"),
        (0x86, b"https://a.example/\0", "https://a.example/\\x00"),
        (0x86, b"https:", "https:"),
        (0x81, b"a", "a"),
        (0x81, b"a@", "a@"),
        (0x81, b"a@b@c.example", "a@b@c.example"),
        (0x81, b"a@[192.0.2.1]", "a@[192.0.2.1]"),
        (0x81, b'"a b"@c.example', '"a b"@c.example'),
        (0x81, b"a@b.example\n", "a@b.example\\n"),
        (0x87, b"\xc0\0\2", "c00002"),
        (0x87, b"\xc0\0\2\1\xff\xff\xff\0", "c0000201ffffff00"),
        (0x88, b"\x2a\x03", "1.2.3"),
        (0x88, b"", ""),
        (0xA4, tlv(0x30, tlv(0x31, tlv(0x30, encode_oid("2.5.4.3"), tlv(0x0C, b"x")))), "CN=x"),
        (0xA4, b"x", "78"),
        (0xA0, b"x", "78"),
    ],
)  # fmt: skip
def test_names_that_never_match(tag: int, content: bytes, text: str) -> None:
    """What breaks the syntax of its type is kept for people, as a type that matches nothing (RFC 8705 §7.5)."""
    (found,) = san(tlv(tag, content))
    assert isinstance(found, OtherName)
    assert found.text == text


def test_conforming_names() -> None:
    """Underscores are in use; case stays as it stands."""
    assert san(tlv(0x82, b"_a.B-c.example")) == (DNSName("_a.B-c.example"),)
    assert san(tlv(0x86, b"URN:uuid:f81d4fae")) == (URIName("URN:uuid:f81d4fae"),)
    assert san(tlv(0x81, b"A.b+c@D.example")) == (EmailName("A.b+c@D.example"),)


def test_an_address_is_four_or_sixteen_octets() -> None:
    """And shown as RFC 5952 has it; a mapped address is not the IPv4 address."""
    v4, v6, mapped = san(
        tlv(0x87, bytes([97, 98, 99, 100])),
        tlv(0x87, bytes(15) + b"\1"),
        tlv(0x87, bytes(10) + b"\xff\xff" + bytes([1, 2, 3, 4])),
    )
    assert [str(address) for address in (v4, v6, mapped)] == ["97.98.99.100", "::1", "::ffff:1.2.3.4"]


def test_an_unknown_kind_of_name_is_refused() -> None:
    """GeneralName has nine alternatives (RFC 5280 §4.2.1.6)."""
    with pytest.raises(CertificateError, match="GeneralName"):
        san(tlv(0x89, b"x"))


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (SAN, b"x"),
        (SAN, tlv(0x31)),
        ("2.5.29.15", b"\x03\x02\x08\x80"),
        ("2.5.29.15", b"\x04\x01\x80"),
        ("2.5.29.19", b"\x30\x03\x01\x01\x01"),
        ("2.5.29.37", tlv(0x30, b"\x06\x01\x80")),
        ("2.5.29.37", tlv(0x30, *[encode_oid(f"1.2.{n}") for n in range(65)])),
    ],
)
def test_malformed_extensions_are_refused(oid: str, value: bytes) -> None:
    """An extension that cannot be read is not an extension that is not there."""
    with pytest.raises(CertificateError):
        parse_certificate(forge(PLAIN, CA, extensions={oid: value}))


def test_repeated_extensions_are_refused() -> None:
    """RFC 5280 §4.2: at most one of each kind; two parsers might each pick another."""
    value = tlv(0x30, tlv(0x82, b"a.example"))
    twice = forge(PLAIN, CA, extensions={SAN: value, "2.5.29.18": value}).replace(
        encode_oid("2.5.29.18"), encode_oid(SAN)
    )
    with pytest.raises(CertificateError, match="two extensions"):
        parse_certificate(twice)


def test_pem_files() -> None:
    """Every certificate of a file, in order, whatever stands between (RFC 7468 §2)."""
    text = f"leaf:\n{PLAIN.pem}\nand its CA:\r\n{CA.pem}".encode()
    assert [c.der for c in parse_pem_certificates(text)] == [PLAIN.der, CA.der]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no PEM certificate"),
        (b"junk", "no PEM certificate"),
        (PLAIN.der, "DER, not PEM"),
        (PLAIN.key_pem.encode(), "private key and no certificate"),
        (PLAIN.pem.encode()[:-40], "cut off"),
        (PLAIN.pem.encode() + CA.pem.encode()[:-40], "cut off"),
        (PLAIN.pem.encode().replace(b"M", b"!", 1), "cut off"),
        (b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----", "certificate 1 of 1: "),
        (b"-----BEGIN CERTIFICATE-----\nQUJ\n-----END CERTIFICATE-----", "certificate 1 of 1 is not base64"),
        (PLAIN.pem.encode() + b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----", "certificate 2 of 2: "),
    ],
)
def test_bad_pem_files_say_what_is_wrong(text: bytes, message: str) -> None:
    """Empty, DER, a key, cut off, damaged: each told apart."""
    with pytest.raises(CertificateError, match=message):
        parse_pem_certificates(text)


def test_reading_agrees_with_the_library() -> None:
    """Two parsers, one certificate: the same names and usages."""
    identity = CA.issue(
        x509.Name.from_rfc4514_string("CN=a\\,b+OU=c,O=d"),
        san=[dns("a.example"), ip("192.0.2.7")],
        extended_key_usages=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
    )
    certificate, library = parse_certificate(identity.der), identity.certificate
    assert str(certificate.subject) == library.subject.rfc4514_string()
    usages = library.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert certificate.extended_key_usages == frozenset(usage.dotted_string for usage in usages)
