"""SPIFFE Trust Domain and Bundle §4, X509-SVID §6, JWT-SVID §6: what a bundle is, and what is none."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.spiffe_bundle import MAX_BUNDLE_BYTES, BundleError, parse_bundle, read_bundle
from tests.authority import Authority, key_usage, new_key, uri
from tests.workloads import TrustDomain, document, jwt_entry, new_authority, x509_entry

DOMAIN = TrustDomain("td.example")
BUNDLE = DOMAIN.bundle()


def test_a_bundle() -> None:
    """§4.1: authorities by use, the sequence and the hint."""
    bundle = parse_bundle(BUNDLE)
    assert [certificate.der for certificate in bundle.x509_authorities] == [DOMAIN.authority.der]
    assert [key.kid for key in bundle.jwt_authorities.keys] == [DOMAIN.kid]
    assert (bundle.sequence, bundle.refresh_hint) == (1, 300)
    assert read_bundle(json.dumps(BUNDLE).encode()) == bundle


def test_sequence_and_hint_are_optional_and_other_members_ignored() -> None:
    """§4.1: unknown parameters of the set may be there."""
    bundle = parse_bundle(document(sequence=None, refresh_hint=None) | {"spiffe_vendor": {"a": 1}})
    assert (bundle.sequence, bundle.refresh_hint) == (None, None)


def test_a_bundle_may_be_empty() -> None:
    """§4.1.3: an empty array says that every key was withdrawn."""
    bundle = parse_bundle({"keys": []})
    assert bundle.x509_authorities == ()
    assert bundle.jwt_authorities.keys == ()


@pytest.mark.parametrize("use", [None, "sig", "wit-svid", "X509-SVID", "JWT-SVID", "", 1])
def test_keys_of_an_unknown_use_are_ignored(use: object) -> None:
    """§4.2.2: case-sensitive, and required."""
    entries = [{**entry, "use": use} for entry in BUNDLE["keys"]]
    bundle = parse_bundle(document(*entries))
    assert bundle.x509_authorities == ()
    assert bundle.jwt_authorities.keys == ()


def test_keys_of_an_unknown_type_are_ignored() -> None:
    """§4.2.1."""
    unknown = {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA", "kid": "pq", "use": "jwt-svid"}
    assert [key.kid for key in parse_bundle(DOMAIN.bundle(unknown)).jwt_authorities.keys] == [DOMAIN.kid]


def test_each_use_has_its_own_keys() -> None:
    """A JWT authority is no X.509 authority and the other way round, even where both are the same key."""
    key = new_key()
    authority = Authority.create("both", private_key=key)
    bundle = parse_bundle(document(x509_entry(authority)))
    assert bundle.jwt_authorities.keys == ()
    assert parse_bundle(document(jwt_entry(key, "k"))).x509_authorities == ()


@pytest.mark.parametrize("x5c", [None, []])
def test_an_x509_entry_without_a_certificate_is_ignored(x5c: object) -> None:
    """X509-SVID §6.2."""
    entry = x509_entry(DOMAIN.authority) | {"x5c": x5c}
    assert parse_bundle(document(entry)).x509_authorities == ()


def test_only_the_first_certificate_of_an_entry_counts() -> None:
    """X509-SVID §6.2: all others are ignored, junk among them."""
    entry = x509_entry(DOMAIN.authority)
    entry["x5c"] = [*entry["x5c"], "junk", base64.b64encode(new_authority("other.example").der).decode()]  # type: ignore[misc] # a list
    assert [c.der for c in parse_bundle(document(entry)).x509_authorities] == [DOMAIN.authority.der]


def test_a_kid_on_x509_entries_plays_no_part() -> None:
    """X509-SVID §6.1: it must not be there, so two that are equal are no contradiction."""
    entries = [x509_entry(authority) | {"kid": "same"} for authority in (DOMAIN.authority, new_authority("td.example"))]
    assert len(parse_bundle(document(*entries)).x509_authorities) == 2


def test_an_authority_counts_once() -> None:
    assert len(parse_bundle(DOMAIN.bundle(x509_entry(DOMAIN.authority))).x509_authorities) == 1


@pytest.mark.parametrize("name", ["spiffe://td.example", "spiffe://td.example/", "spiffe://parent.example"])
def test_names_of_authorities(name: str) -> None:
    """X509-SVID §3.2: an ID without a path; that it is in the same trust domain is only advice."""
    from cryptography import x509

    authority = Authority.create("CA", extensions=[(x509.SubjectAlternativeName([uri(name)]), False)])
    assert len(parse_bundle(document(x509_entry(authority))).x509_authorities) == 1


def workload_authority() -> Authority:
    from cryptography import x509

    san = x509.SubjectAlternativeName([uri("spiffe://td.example/workload")])
    return Authority.create("CA", extensions=[(san, False)])


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(x509_entry(DOMAIN.svid("/a")), id="a leaf"),
        pytest.param(x509_entry(Authority.create("CA", usage=key_usage(digital_signature=True))), id="keyCertSign"),
        pytest.param(x509_entry(workload_authority()), id="a workload's name"),
        pytest.param(x509_entry(DOMAIN.authority) | {"x5c": ["AAAA"]}, id="no certificate"),
        pytest.param(x509_entry(DOMAIN.authority) | {"x5c": "AAAA"}, id="no array"),
        pytest.param(
            x509_entry(DOMAIN.authority) | {"x5c": x509_entry(new_authority("td.example"))["x5c"]}, id="another key"
        ),
        pytest.param(jwt_entry(new_key(), "k") | {"kid": None}, id="null kid"),
        pytest.param(jwt_entry(new_key(), "k") | {"kid": ""}, id="empty kid"),
        pytest.param(jwt_entry(new_key(), DOMAIN.kid), id="repeated kid"),
        pytest.param(jwt_entry(new_key(), "k") | {"d": "AA"}, id="private key"),
        pytest.param({"kty": "oct", "k": "AAAA", "kid": "k", "use": "jwt-svid"}, id="symmetric key"),
    ],
)
def test_entries_that_nobody_means(entry: dict[str, object]) -> None:
    """Who publishes one of these has erred, and the bundle before it is the better one."""
    with pytest.raises(BundleError):
        parse_bundle(DOMAIN.bundle(entry))


@pytest.mark.parametrize("name", ["spiffe_sequence", "spiffe_refresh_hint"])
@pytest.mark.parametrize("value", [None, True, -1, 1.0, 1.5, "1", [], 2**63])
def test_numbers(name: str, value: object) -> None:
    """§4.1.1, §4.1.2: integers, if there."""
    with pytest.raises(BundleError, match=name):
        parse_bundle(BUNDLE | {name: value})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": [], "keys": []}',
        b'{"keys": [], "spiffe_sequence": NaN}',
        b'{"keys": [',
        b"\xff\xfe",
        b" " * (MAX_BUNDLE_BYTES + 1),
        b'{"keys": [' + b"{}," * 100 + b"{}]}",
        b"[" * 100_000,
    ],
)
def test_what_is_no_bundle(text: bytes) -> None:
    with pytest.raises(BundleError):
        read_bundle(text)


scalars: Any = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
values: Any = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_bundle_or_the_one_error(data: bytes) -> None:
    try:
        read_bundle(data)
    except BundleError:
        return


@given(
    st.sampled_from(BUNDLE["keys"]),
    st.dictionaries(st.sampled_from(["use", "kid", "kty", "crv", "x", "y", "x5c", "n", "e", "key_ops", "d"]), values),
    st.dictionaries(st.sampled_from(["spiffe_sequence", "spiffe_refresh_hint", "keys"]), values),
)
def test_any_change_leaves_a_bundle_or_the_one_error(
    entry: dict[str, object], changes: dict[str, object], members: dict[str, object]
) -> None:
    try:
        parse_bundle(BUNDLE | {"keys": [entry | changes]} | members)
    except BundleError:
        return
