"""X509-SVID §2 to §5.2: the form of a workload's certificate."""

from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc5280_certificate import parse_certificate
from mtls_as.rfc.spiffe_x509_svid import X509SVIDError, read_x509_svid
from tests.authority import dns, email, forge, key_usage, tlv, uri
from tests.workloads import TrustDomain

DOMAIN = TrustDomain("td.example")
ID = "spiffe://td.example/a"
SAN_OID = "2.5.29.17"


def refusal_of(der: bytes) -> Refusal:
    with pytest.raises(X509SVIDError) as caught:
        read_x509_svid(parse_certificate(der))
    return caught.value.refusal


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"san": [dns("a.example"), uri(ID), email("a@td.example")]},
        {"extended_key_usages": None},
        {"usage": key_usage(digital_signature=True, key_encipherment=True, key_agreement=True)},
    ],
)
def test_an_svid(options: dict[str, Any]) -> None:
    """§2: one URI beside any other names; §4.3: further usages of a leaf; §4.4: without the extension too."""
    svid = DOMAIN.authority.issue_svid(ID, **options)
    assert str(read_x509_svid(parse_certificate(svid.der))) == ID


@pytest.mark.parametrize(
    "uris",
    [
        (ID, "spiffe://td.example/b"),
        (ID, ID),
        (ID, "https://td.example/a"),
        (),
        ("https://td.example/a",),
        ("spiffe://td.example",),
        ("spiffe://td.example/",),
        ("spiffe://Td.example/a",),
        ("SPIFFE://td.example/a",),
        ("spiffe://td.example:1/a",),
        ("spiffe://td.example/a%2fb",),
        ("spiffe://td.example/a/../b",),
        ("spiffe://td.example/a?x",),
    ],
)
def test_exactly_one_uri_that_names_a_workload(uris: tuple[str, ...]) -> None:
    """§2, §5.2: more than one URI MUST be rejected, whatever the others are."""
    assert refusal_of(DOMAIN.authority.issue_svid(*uris, san=[dns("x.example"), *map(uri, uris)]).der) is (
        Refusal.NOT_AN_SVID
    )


@pytest.mark.parametrize("second", [b"spiffe://td.example/b\x00", b"not a uri", b"", b"spiffe://td.example/\xc3\xa4"])
def test_a_malformed_uri_counts_as_a_second_one(second: bytes) -> None:
    """What the SAN parser would set aside must not make an ambiguous certificate a clear one."""
    svid = DOMAIN.svid("/a")
    names = tlv(0x30, tlv(0x86, ID.encode()), tlv(0x86, second))
    assert refusal_of(forge(svid, DOMAIN.authority, extensions={SAN_OID: names})) is Refusal.NOT_AN_SVID
    alone = tlv(0x30, tlv(0x86, second))
    assert refusal_of(forge(svid, DOMAIN.authority, extensions={SAN_OID: alone})) is Refusal.NOT_AN_SVID


def test_not_a_ca() -> None:
    """§5.2: CA MUST be false."""
    assert refusal_of(DOMAIN.svid("/a", ca=True).der) is Refusal.CA_CERTIFICATE_AS_LEAF


@pytest.mark.parametrize(
    "usage",
    [
        key_usage(key_agreement=True),
        key_usage(digital_signature=True, key_cert_sign=True),
        key_usage(digital_signature=True, crl_sign=True),
    ],
)
def test_key_usage(usage: Any) -> None:
    """§4.3: digitalSignature, neither keyCertSign nor cRLSign."""
    assert refusal_of(DOMAIN.svid("/a", usage=usage).der) is Refusal.WRONG_KEY_USAGE


def test_extended_key_usage() -> None:
    """§4.4: with the extension, clientAuth is in it."""
    svid = DOMAIN.svid("/a", extended_key_usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert refusal_of(svid.der) is Refusal.WRONG_EXTENDED_KEY_USAGE


@given(st.lists(st.tuples(st.sampled_from([0x81, 0x82, 0x86]), st.binary(max_size=40)), max_size=3))
def test_any_names_give_an_id_or_the_one_error(names: list[tuple[int, bytes]]) -> None:
    encoded = tlv(0x30, *(tlv(tag, value) for tag, value in names))
    certificate = parse_certificate(forge(SVID, DOMAIN.authority, extensions={SAN_OID: encoded}))
    try:
        read_x509_svid(certificate)
    except X509SVIDError:
        return


SVID = DOMAIN.svid("/a")
