"""JSON Web Keys: what is read, what is left out, what spoils a set."""

import base64
import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc7517_jwk import MAX_KEYS, JWKError, JWKSet, parse_jwks, public_jwk, thumbprint
from tests.authority import Authority, new_key, self_signed

KINDS = ["P-256", "P-384", "RSA-2048", "Ed25519", "Ed448"]


def public(kind: str) -> Any:
    return new_key(kind).public_key()


def x5c(*certificates: bytes) -> list[str]:
    return [base64.b64encode(der).decode() for der in certificates]


@pytest.mark.parametrize("kind", KINDS)
def test_published_keys_are_read_back(kind: str) -> None:
    """The JWK of each kind of key is the key again, under its name (RFC 7517 §4)."""
    key = public(kind)
    (jwk,) = parse_jwks({"keys": [public_jwk(key, kid="one", algorithm="X")]}).keys
    assert (jwk.public_key, jwk.kid, jwk.algorithm, jwk.use, jwk.x5c) == (key, "one", "X", "sig", ())


def test_thumbprint_of_the_standard() -> None:
    """The example of RFC 7638 §3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajr"
        "n1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    (jwk,) = parse_jwks({"keys": [{"kty": "RSA", "n": modulus, "e": "AQAB", "kid": "2011-04-29"}]}).keys
    assert thumbprint(jwk.public_key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_ed25519_thumbprint_of_the_standard() -> None:
    """The example of RFC 8037 appendix A.3."""
    entry = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    (jwk,) = parse_jwks({"keys": [entry]}).keys
    assert thumbprint(jwk.public_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_find_knows_keys_by_kid_alone() -> None:
    """A key without `kid` stays in the set and is found by none."""
    named, nameless = public("P-256"), public("P-256")
    entry = public_jwk(nameless, kid="x", algorithm="ES256")
    del entry["kid"]
    keys = parse_jwks({"keys": [public_jwk(named, kid="n", algorithm="ES256"), entry]})
    found = keys.find("n")
    assert found is not None
    assert found.public_key == named
    assert len(keys.keys) == 2
    assert keys.find("") is None
    assert keys.find("x") is None


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_a_private_member_spoils_the_set(member: str) -> None:
    """Whoever published a private member has lost the key; even where its key would be left out."""
    good = public_jwk(public("P-256"), kid="good", algorithm="ES256")
    for entry in (
        {**public_jwk(public("RSA-2048"), kid="k", algorithm="PS256"), member: ""},
        {"kty": "?", member: None},
    ):
        with pytest.raises(JWKError, match="private"):
            parse_jwks({"keys": [good, entry]})


def test_a_symmetric_key_spoils_the_set() -> None:
    with pytest.raises(JWKError, match="symmetric"):
        parse_jwks({"keys": [{"kty": "oct"}]})


def test_one_key_with_two_certificates() -> None:
    """While a certificate is renewed its key stands there twice, perhaps under one name (RFC 8705 §2.2.2)."""
    key = new_key()
    old, new = self_signed(private_key=key), self_signed(private_key=key)
    entry = public_jwk(key.public_key(), kid="same", algorithm="ES256")  # type: ignore[arg-type] # a P-256 key
    keys = parse_jwks({"keys": [{**entry, "x5c": x5c(identity.der)} for identity in (old, new)]})
    assert [jwk.x5c for jwk in keys.keys] == [(old.der,), (new.der,)]


def test_repeated_kid_is_an_error() -> None:
    """Which of the two a token means would be a guess (RFC 7517 §4.5)."""
    entries = [public_jwk(public("P-256"), kid="same", algorithm="ES256") for _ in range(2)]
    with pytest.raises(JWKError, match="same kid"):
        parse_jwks({"keys": entries})


@pytest.mark.parametrize(
    "document",
    [None, [], "", 1, {}, {"keys": None}, {"keys": {}}, {"keys": [1]}, {"keys": [{"kty": "?"}] * (MAX_KEYS + 1)}],
)
def test_other_documents_are_errors(document: object) -> None:
    with pytest.raises(JWKError):
        parse_jwks(document)


def unusable_keys() -> list[dict[str, Any]]:
    ec = public_jwk(public("P-256"), kid="k", algorithm="ES256")
    ed = public_jwk(public("Ed25519"), kid="k", algorithm="EdDSA")
    big = public_jwk(public("RSA-2048"), kid="k", algorithm="PS256")
    weak = rsa.generate_private_key(65537, 1024).public_key()
    x = encode_base64url(x25519.X25519PrivateKey.generate().public_key().public_bytes_raw())
    return [
        {}, {"kty": None}, {"kty": ["EC"]}, {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"},
        {**ec, "crv": "secp256k1"}, {**ec, "crv": "P-384"}, {**ec, "y": ec["x"]}, {**ec, "x": 1},
        {**ec, "x": ec["x"] + "="}, {**ec, "x": "AA"}, {"kty": "EC", "crv": "P-256"}, {**ec, "kid": 1},
        {**ec, "kid": ""},
        {**ec, "kid": "k" * 300}, {**ec, "alg": []}, {**ec, "use": {}}, {**ec, "key_ops": ["encrypt"]},
        {**ec, "key_ops": "verify"},
        {"kty": "OKP", "crv": "X25519", "x": x}, {**ed, "crv": "Ed448"}, {**ed, "x": ed["x"][:-2]},
        public_jwk(weak, kid="k", algorithm="PS256"), {**big, "e": "AAAAAAAB"}, {**big, "e": "Ag"}, {**big, "e": ""},
        {**big, "n": encode_base64url(b"\0" * 255 + b"\x05")}, {**big, "n": encode_base64url(b"\xff" * 1025)},
        {**big, "n": encode_base64url(b"\xff" * 100_000)}, {**big, "n": 5},
    ]  # fmt: skip


def test_unusable_keys_are_left_out() -> None:
    """Unknown kinds and curves, points off the curve, wrong lengths and types, weak and huge RSA keys (RFC 7517 §5)."""
    good = public_jwk(public("P-256"), kid="good", algorithm="ES256")
    for entry in unusable_keys():
        keys = parse_jwks({"keys": [entry, good]}).keys
        assert [key.kid for key in keys] == ["good"], entry


def test_x5c_is_kept_as_der() -> None:
    """The chain stays in its order, the first certificate being the key's (RFC 7517 §4.7)."""
    authority = Authority.create()
    leaf = authority.issue()
    entry = public_jwk(leaf.certificate.public_key(), kid="k", algorithm="ES256")  # type: ignore[arg-type] # a P-256 key
    (key,) = parse_jwks({"keys": [{**entry, "x5c": x5c(leaf.der, authority.der)}]}).keys
    assert key.x5c == (leaf.der, authority.der)


def test_x5c_of_another_key_spoils_the_set() -> None:
    """The first certificate MUST hold the key (RFC 7517 §4.7); nor may anything but certificates stand there."""
    mine, other = self_signed(), self_signed()
    entry = public_jwk(mine.certificate.public_key(), kid="k", algorithm="ES256")  # type: ignore[arg-type] # a P-256 key
    good = x5c(mine.der)[0]
    values: tuple[object, ...] = (
        x5c(other.der), x5c(other.der, mine.der), [], [1], "", {}, [good + "\n"], [good.replace("M", "-", 1)], ["AA=="],
        [good] * 11, [good[:-8]], ["é"], [mine.pem],
    )  # fmt: skip
    for value in values:
        with pytest.raises(JWKError):
            parse_jwks({"keys": [{**entry, "x5c": value}]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["EC", "P-256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "x5c"])


@given(JSON | st.fixed_dictionaries({"keys": st.lists(st.dictionaries(MEMBERS, JSON, max_size=6), max_size=3)}))
def test_only_jwk_error_escapes(document: object) -> None:
    """Any JSON gives a set or a `JWKError`."""
    with contextlib.suppress(JWKError):
        assert isinstance(parse_jwks(document), JWKSet)


@given(st.sampled_from(["kty", "crv", "x", "y", "kid", "alg", "use", "key_ops", "x5c"]), JSON)
def test_a_spoilt_member_is_left_out_or_an_error(member: str, value: object) -> None:
    """A good key with one member replaced never raises anything else."""
    entry: dict[str, Any] = dict(json.loads(SAMPLE)) | {member: value}
    with contextlib.suppress(JWKError):
        parse_jwks({"keys": [entry]})


SAMPLE = json.dumps(public_jwk(public("P-256"), kid="k", algorithm="ES256"))
