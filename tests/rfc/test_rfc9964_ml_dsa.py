"""ML-DSA in JOSE (RFC 9964): keys, thumbprints and tokens, wherever somebody asks for them."""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc7517_jwk import JWK, JWKError, JWKSet, parse_jwks, public_jwk, thumbprint
from mtls_as.rfc.rfc7519_jwt import (
    ALGORITHMS,
    EXPERIMENTAL_ALGORITHMS,
    MAX_TOKEN_LENGTH,
    BadSignatureError,
    JWTError,
    MalformedJWTError,
    sign,
    verify,
)
from tests.authority import new_key
from tests.verifier.issuer import Issuer

# RFC 9964 appendix A.1, also cose-wg/draft-ietf-cose-dilithium examples/jose: the key of the seed of 32 zeros.
THUMBPRINTS = {
    "ML-DSA-44": "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o",
    "ML-DSA-65": "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM",
    "ML-DSA-87": "tRn1JNIkgMsABVQBlXeDHxAIcclh-2IX0UdDEzPt5XU",
}
# FIPS 204 table 2: public key and signature, in bytes.
SIZES = {"ML-DSA-44": (1312, 2420), "ML-DSA-65": (1952, 3309), "ML-DSA-87": (2592, 4627)}
SEEDED: dict[str, Any] = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey, "ML-DSA-65": mldsa.MLDSA65PrivateKey, "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}  # fmt: skip
KEYS: dict[str, Any] = {name: new_key(name) for name in SIZES}


def key_set(algorithm: str) -> JWKSet:
    return parse_jwks({"keys": [public_jwk(KEYS[algorithm].public_key(), kid="k", algorithm=algorithm)]})


def token(algorithm: str, claims: dict[str, object] | None = None) -> str:
    return sign(claims or {"a": 1}, type="at+jwt", kid="k", algorithm=algorithm, private_key=KEYS[algorithm])


@pytest.mark.parametrize("algorithm", SIZES)
def test_published_thumbprints(algorithm: str) -> None:
    """RFC 9964 §6: over alg, kty and pub, in this order."""
    assert thumbprint(SEEDED[algorithm].from_seed_bytes(bytes(32)).public_key()) == THUMBPRINTS[algorithm]


@pytest.mark.parametrize("algorithm", SIZES)
def test_a_key_as_a_jwk(algorithm: str) -> None:
    """RFC 9964 §3: `kty` AKP, `alg` and `pub` required; the private part never."""
    key = KEYS[algorithm].public_key()
    jwk = public_jwk(key, kid="k", algorithm=algorithm)
    pub = encode_base64url(key.public_bytes_raw())
    assert jwk == {"kty": "AKP", "alg": algorithm, "pub": pub, "kid": "k", "use": "sig"}
    assert len(key.public_bytes_raw()) == SIZES[algorithm][0]
    found = key_set(algorithm).find("k")
    assert found is not None
    assert found.public_key == key


def test_a_private_part_spoils_the_set() -> None:
    """RFC 9964 §3: `priv` must not be in public keys."""
    jwk = public_jwk(KEYS["ML-DSA-44"].public_key(), kid="k", algorithm="ML-DSA-44")
    with pytest.raises(JWKError, match="private"):
        parse_jwks({"keys": [{**jwk, "priv": encode_base64url(bytes(32))}]})


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "ML-DSA-65"}, {"alg": None}, {"alg": "ES256"}, {"alg": "ml-dsa-44"}, {"alg": 44}, {"pub": None},
        {"pub": ""},
        {"pub": encode_base64url(bytes(1311))}, {"pub": encode_base64url(bytes(1313))}, {"pub": "="}, {"pub": 1},
        {"kty": "OKP", "crv": "ML-DSA-44"}, {"use": 1},
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_are_left_out(changes: dict[str, object]) -> None:
    """RFC 7517 §5: the rest of the set stays of use."""
    jwk = public_jwk(KEYS["ML-DSA-44"].public_key(), kid="k", algorithm="ML-DSA-44")
    entry = {name: value for name, value in {**jwk, **changes}.items() if value is not None}
    assert parse_jwks({"keys": [entry]}).keys == ()


@given(
    st.dictionaries(st.sampled_from(["kty", "alg", "pub", "kid"]), st.sampled_from(["AKP", "ML-DSA-44", "", "AAAA", 1]))
)
def test_nothing_but_jwk_error(entry: dict[str, object]) -> None:
    """Any members of such a key are a key, none, or the documented error."""
    parse_jwks({"keys": [entry | {"kty": "AKP"}]})


@pytest.mark.parametrize("algorithm", SIZES)
def test_a_token_round_trip(algorithm: str) -> None:
    """RFC 9964 §5: pure ML-DSA with an empty context, and signatures of the standard's size."""
    signed = token(algorithm)
    verified = verify(signed, key_set(algorithm), type="at+jwt", algorithms=[algorithm])
    assert verified.claims == {"a": 1}
    assert verified.header["alg"] == algorithm
    assert len(signed.rpartition(".")[2]) == -(-SIZES[algorithm][1] * 4 // 3)
    raw = signed.rpartition(".")[0].encode()
    KEYS[algorithm].public_key().verify(KEYS[algorithm].sign(raw), raw, context=b"")


@pytest.mark.parametrize("algorithm", SIZES)
def test_the_largest_token_holds_all_the_claims_it_may(algorithm: str) -> None:
    """Six KiB of claims still fit beside the largest signature."""
    claims: dict[str, object] = {"a": "x" * 6_000}
    signed = token(algorithm, claims)
    assert len(signed) <= MAX_TOKEN_LENGTH
    assert verify(signed, key_set(algorithm), type="at+jwt", algorithms=[algorithm]).claims == claims


def test_no_default_has_them() -> None:
    """They are opted into."""
    assert not set(ALGORITHMS) & set(EXPERIMENTAL_ALGORITHMS)
    with pytest.raises(MalformedJWTError, match="not allowed"):
        verify(token("ML-DSA-65"), key_set("ML-DSA-65"), type="at+jwt", algorithms=ALGORITHMS)


@pytest.mark.parametrize("algorithm", [*SIZES, "ES256"])
@pytest.mark.parametrize("kind", [*SIZES, "P-256"])
def test_a_key_is_for_its_own_algorithm_alone(algorithm: str, kind: str) -> None:
    """RFC 9964 §3: `alg` is part of the key; no token can choose another."""
    if algorithm in (kind, {"P-256": "ES256"}.get(kind)):
        return
    key: Any = KEYS.get(kind) or new_key(kind)
    with pytest.raises(JWTError, match="fit"):
        sign({}, type="at+jwt", kid="k", algorithm=algorithm, private_key=key)
    signed = Issuer("ES256").token(None, header={"kid": "k"}) if algorithm == "ES256" else token(algorithm)
    keys = JWKSet((JWK(kid="k", algorithm=None, use=None, public_key=key.public_key()),))
    with pytest.raises(MalformedJWTError, match="not for"):
        verify(signed, keys, type="at+jwt", algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", SIZES)
def test_forged_signatures(algorithm: str) -> None:
    """Another message, another key, one bit, another length, nothing but zeros, and a context."""
    message, _, signature = token(algorithm).rpartition(".")
    other = new_key(algorithm)
    with_context = encode_base64url(KEYS[algorithm].sign(message.encode(), context=b"x"))
    size = SIZES[algorithm][1]
    forgeries = [
        token(algorithm, {"a": 2}).rpartition(".")[2], encode_base64url(other.sign(message.encode())),  # type: ignore[call-arg] # ML-DSA takes the message alone
        signature[:-1], signature + "AAAA", encode_base64url(bytes(size)), encode_base64url(bytes(64)), with_context,
        ("B" if signature[0] == "A" else "A") + signature[1:],
        encode_base64url(hashlib.sha512(message.encode()).digest()),
    ]  # fmt: skip
    for forged in forgeries:
        with pytest.raises((BadSignatureError, MalformedJWTError)):
            verify(f"{message}.{forged}", key_set(algorithm), type="at+jwt", algorithms=[algorithm])
