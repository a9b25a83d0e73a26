"""Certificates made to break parsers: one documented error, in bounded time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc5280_certificate import MAX_CERTIFICATE_BYTES, CertificateError, parse_certificate
from mtls_as.rfc.rfc8705_mtls import registration_lines
from tests.authority import Authority, dns, email, encode_oid, forge, ip, name, rdn, tlv, uri

CA = Authority.create("Test CA")
VICTIM = CA.issue(
    name("victim", organization="Example", country="DE"),
    san=[dns("victim.example"), uri("spiffe://victim.example/a"), email("a@victim.example"), ip("192.0.2.1")],
)
UTF8, BMP = 0x0C, 0x1E
CN = "2.5.4.3"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


@pytest.mark.parametrize(
    "encoding",
    [
        forge(VICTIM, CA, extensions={"2.5.29.17": tlv(0x30, *[tlv(0x82, b"a.example")] * 5_000)}),
        forge(VICTIM, CA, extensions={"2.5.29.17": tlv(0x30, *[tlv(0x82, b"a")] * 10_000)}),
        forge(VICTIM, CA, extensions={"2.5.29.17": tlv(0x30, *[tlv(0x82, b"a")] * 257)}),
        forge(VICTIM, CA, extensions={"1.2.3": b"x" * 100_000}),
        forge(VICTIM, CA, extensions={f"1.2.{n}": b"" for n in range(65)}),
        forge(VICTIM, CA, subject=tlv(0x30, *[rdn(CN, UTF8, b"x")] * 5_000)),
        forge(VICTIM, CA, subject=tlv(0x30, rdn(CN, UTF8, b"\xff\xfe"))),
        forge(VICTIM, CA, subject=tlv(0x30, rdn(CN, UTF8, b"\xed\xa0\x80"))),
        forge(VICTIM, CA, subject=tlv(0x30, rdn("2.5." + str(1 << 200), UTF8, b"x"))),
        forge(VICTIM, CA, subject=tlv(0x30, tlv(0x31, tlv(0x30, tlv(0x06, b"\xff" * 20_000 + b"\x01"), b"\x0c\x01x")))),
        forge(VICTIM, CA, subject=tlv(0x31)),
        forge(VICTIM, CA, serial_number=b"\x00"),
        forge(VICTIM, CA, serial_number=b"\xff"),
        forge(VICTIM, CA, serial_number=b"\x80" + bytes(19)),
        forge(VICTIM, CA, serial_number=b""),
        forge(VICTIM, CA, serial_number=b"\x01" * 40),
        VICTIM.der + b"\0",
        VICTIM.der * 2,
        VICTIM.der[:-1],
        b"",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        VICTIM.pem.encode(),
    ],
)  # fmt: skip
def test_absurd_certificates_are_refused_at_once(encoding: bytes) -> None:
    """10,000 SANs, 100 KB, thousands of attributes, absurd OIDs, invalid UTF-8, negative serials, junk around."""
    with within(0.1), pytest.raises(CertificateError) as caught:
        parse_certificate(encoding)
    assert len(str(caught.value)) < 400


def test_the_largest_certificate_is_read_in_bounded_time() -> None:
    """What stays below every limit costs little."""
    names = [tlv(0x82, b"a" * 60 + b"." + b"b" * 60) for _ in range(256)]
    subject = tlv(0x30, *[rdn(CN, UTF8, b"x" * 200)] * 64)
    encoding = forge(VICTIM, CA, subject=subject, extensions={"2.5.29.17": tlv(0x30, *names)})
    assert len(encoding) < MAX_CERTIFICATE_BYTES
    with within(0.1):
        registration_lines(parse_certificate(encoding))


def test_deep_nesting_costs_nothing() -> None:
    """A value is an encoding to compare, whatever is in it: nothing descends."""
    nested = b""
    for _ in range(5_000):
        nested = tlv(0x30, nested)
    with within(0.2):
        certificate = parse_certificate(
            forge(VICTIM, CA, subject=tlv(0x30, tlv(0x31, tlv(0x30, encode_oid(CN), nested))))
        )
        assert str(certificate.subject).startswith("CN=#30")


def test_the_two_signature_algorithms_must_agree() -> None:
    """RFC 5280 §4.1.1.2: the one that is signed and the one outside."""
    outer = VICTIM.der.rindex(encode_oid("1.2.840.10045.4.3.2"))
    changed = VICTIM.der[:outer] + encode_oid("1.2.840.10045.4.3.3") + VICTIM.der[outer + 10 :]
    with pytest.raises(CertificateError, match="two different signature algorithms"):
        parse_certificate(changed)


def check(encoding: bytes) -> None:
    """Parse; whatever is read must be usable, and whatever is not must be a `CertificateError`."""
    try:
        certificate = parse_certificate(encoding)
    except CertificateError:
        return
    repr(certificate)
    registration_lines(certificate)


@given(st.integers(0, len(VICTIM.der) - 1), st.integers(1, 255))
def test_changed_octets(position: int, mask: int) -> None:
    """A real certificate with one octet changed."""
    changed = bytearray(VICTIM.der)
    changed[position] ^= mask
    check(bytes(changed))


@given(st.integers(0, len(VICTIM.der)), st.integers(0, len(VICTIM.der)))
def test_removed_octets(start: int, end: int) -> None:
    """A real certificate with a part cut out, or cut off."""
    check(VICTIM.der[: min(start, end)] + VICTIM.der[max(start, end) :])


@given(st.integers(0, len(VICTIM.der)), st.binary(min_size=1, max_size=16))
def test_inserted_octets(position: int, inserted: bytes) -> None:
    """A real certificate with something put in."""
    check(VICTIM.der[:position] + inserted + VICTIM.der[position:])


@given(st.binary(max_size=64))
def test_random_octets(data: bytes) -> None:
    """Junk, bare and inside the right wrapping."""
    check(data)
    check(tlv(0x30, tlv(0x30, data), tlv(0x30, data), tlv(0x03, data)))


@given(
    st.sampled_from(["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"]),
    st.one_of(st.binary(max_size=32), st.builds(tlv, st.just(0x30), st.binary(max_size=32))),
)
def test_random_extensions(oid: str, value: bytes) -> None:
    """A properly signed certificate whose extensions hold junk."""
    check(forge(VICTIM, CA, extensions={oid: value}))


@given(st.binary(max_size=40), st.sampled_from([0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E, 0x30]))
def test_random_names(content: bytes, tag: int) -> None:
    """A properly signed certificate whose subject holds junk in any string type."""
    check(forge(VICTIM, CA, subject=tlv(0x30, rdn(CN, tag, content))))
