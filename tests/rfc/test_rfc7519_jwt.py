"""JSON Web Tokens: the shape, the header, the key, the signature."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc7517_jwk import JWK, JWKSet, parse_jwks
from mtls_as.rfc.rfc7519_jwt import (
    ALGORITHMS,
    BadSignatureError,
    JWTError,
    MalformedJWTError,
    UnknownKey,
    VerifiedJWT,
    sign,
    verify,
)
from tests.authority import new_key
from tests.verifier.issuer import OMIT, Issuer, segment

ISSUERS = {algorithm: Issuer(algorithm) for algorithm in ALGORITHMS}
ES256 = ISSUERS["ES256"]
KEYS = parse_jwks({"keys": [issuer.jwk for issuer in ISSUERS.values()]})


def check(token: str, keys: JWKSet = KEYS, *, algorithms: tuple[str, ...] = ALGORITHMS) -> VerifiedJWT:
    return verify(token, keys, type="at+jwt", algorithms=algorithms)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_round_trip(algorithm: str) -> None:
    """What is signed is verified, and its header holds nothing but alg, typ and kid."""
    issuer = ISSUERS[algorithm]
    token = sign({"a": "é"}, type="at+jwt", kid=issuer.kid, algorithm=algorithm, private_key=issuer.private_key)
    verified = check(token)
    assert verified.claims == {"a": "é"}
    assert verified.header == {"alg": algorithm, "typ": "at+jwt", "kid": issuer.kid}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_library_reads_our_tokens(algorithm: str) -> None:
    issuer = ISSUERS[algorithm]
    token = sign({"a": 1}, type="at+jwt", kid=issuer.kid, algorithm=algorithm, private_key=issuer.private_key)
    assert jwt.decode(token, issuer.private_key.public_key(), algorithms=[algorithm]) == {"a": 1}


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "none", "HS256", "RS256", ""])
@pytest.mark.parametrize("kind", ["P-384", "RSA-1024", "Ed448"])
def test_signing_needs_a_key_that_fits(algorithm: str, kind: str) -> None:
    """RFC 7518 §3.4 and §3.5, RFC 8037 §3.1."""
    with pytest.raises(JWTError, match="fit"):
        sign({}, type="at+jwt", kid="k", algorithm=algorithm, private_key=new_key(kind))  # type: ignore[arg-type] # wrong on purpose


def test_signing_refuses_what_verify_would_refuse() -> None:
    with pytest.raises(JWTError, match="long"):
        sign({"a": "x" * 13_000}, type="at+jwt", kid="k", algorithm="ES256", private_key=ES256.private_key)
    with pytest.raises(JWTError, match="long"):
        sign({}, type="at+jwt", kid="k" * 1_000, algorithm="ES256", private_key=ES256.private_key)


@pytest.mark.parametrize("spelling", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/at+JWT"])
def test_type_in_every_spelling(spelling: str) -> None:
    """RFC 7515 §4.1.9: a media type, case-insensitive, with or without `application/`."""
    assert check(ES256.token(None, header={"typ": spelling})).claims["sub"] == "reports"


@pytest.mark.parametrize(
    "value", ["JWT", "jwt", "", "at+jwt ", "x/at+jwt", "application/application/at+jwt", 1, None, OMIT]
)
def test_other_types(value: object) -> None:
    """RFC 8725 §3.11: a token of another kind is not an access token."""
    with pytest.raises(MalformedJWTError):
        check(ES256.token(None, header={"typ": value}))


@pytest.mark.parametrize("name", ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"])
@pytest.mark.parametrize("value", [["cnf"], [], {}, "https://attacker.example/jwks", None, True])
def test_headers_that_direct_the_verifier(name: str, value: object) -> None:
    """RFC 8725 §3.10, RFC 7515 §4.1.11: refused whatever they say, even with a good signature."""
    with pytest.raises(MalformedJWTError, match=name):
        check(ES256.token(None, header={name: value}))


def test_the_forgers_own_key_in_the_header() -> None:
    """A token signed by a key that travels in its own header."""
    forger = Issuer()
    for header in ({"jwk": forger.jwk}, {"jwk": forger.jwk, "kid": ES256.kid}):
        with pytest.raises(MalformedJWTError):
            check(forger.token(None, header=header))
    with pytest.raises(BadSignatureError):
        check(forger.token(None, header={"kid": ES256.kid}))


def hmac_forgeries() -> list[str]:
    key = ES256.private_key.public_key()
    secrets = [
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        json.dumps(ES256.jwk).encode(),
        json.dumps(ES256.jwk, separators=(",", ":")).encode(),
        b"\0",
    ]
    hmac = jwt.get_algorithm_by_name("HS256")
    header, payload = segment({"alg": "HS256", "typ": "at+jwt", "kid": ES256.kid}), segment(ES256.claims(None))
    signing_input = f"{header}.{payload}"
    return [f"{signing_input}.{encode_base64url(hmac.sign(signing_input.encode(), secret))}" for secret in secrets]


def test_public_key_as_hmac_secret() -> None:
    """RFC 8725 §2.1: HS256 with the public key as PEM, DER, point and JWK."""
    for token in hmac_forgeries():
        with pytest.raises(MalformedJWTError, match="HS256"):
            check(token)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "RS256", "ES384", "es256", "ES256 ", 1, None, OMIT, ["ES256"]]
)
def test_algorithms_that_are_not_allowed(algorithm: object) -> None:
    """RFC 8725 §3.1 and §3.2: an exact list, with the signature present, or empty."""
    token = ES256.token(None, header={"alg": algorithm})
    for forged in (token, token.rpartition(".")[0] + "."):
        with pytest.raises(MalformedJWTError):
            check(forged)


def test_algorithm_that_this_verifier_does_not_allow() -> None:
    with pytest.raises(MalformedJWTError, match="ES256"):
        check(ES256.token(None), algorithms=("PS256", "EdDSA"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "Ed25519", "Ed448"])
def test_algorithm_and_key_of_different_kinds(algorithm: str, kind: str) -> None:
    """The key's kind decides, not the token; nor is a key used for another algorithm than its own (RFC 8725 §3.1)."""
    key = new_key(kind).public_key()
    fits = {"ES256": "P-256", "PS256": "RSA-2048", "EdDSA": "Ed25519"}[algorithm] == kind
    for declared in (None, algorithm):
        keys = JWKSet((JWK(kid="k", algorithm=declared, use=None, public_key=key),))  # type: ignore[arg-type] # a public key of these kinds
        with pytest.raises(BadSignatureError if fits else MalformedJWTError):
            check(ISSUERS[algorithm].token(None, header={"kid": "k"}), keys)


@pytest.mark.parametrize(("algorithm", "use"), [("ES256", "enc"), ("ES384", "sig"), ("ECDH-ES", None)])
def test_key_for_something_else(algorithm: str, use: str | None) -> None:
    """RFC 7517 §4.2 and §4.4: `use` and `alg` of the key are kept to."""
    keys = JWKSet((JWK(kid=ES256.kid, algorithm=algorithm, use=use, public_key=ES256.private_key.public_key()),))
    with pytest.raises(MalformedJWTError, match="not for"):
        check(ES256.token(None), keys)


def test_unknown_key_names_its_kid() -> None:
    with pytest.raises(UnknownKey) as caught:
        check(ES256.token(None, header={"kid": "new\n"}))
    assert caught.value.kid == "new\n"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kid", [OMIT, None, 1, ["k"], {}])
def test_kid_must_be_there(kid: object) -> None:
    """A token that names no key is not tried with every one."""
    with pytest.raises(MalformedJWTError, match="kid"):
        check(ES256.token(None, header={"kid": kid}))


def test_signature_covers_everything() -> None:
    """One bit anywhere, a signature of another token, one in DER, an empty and a cut one."""
    token = ES256.token(None)
    header, payload, signature = token.split(".")
    other = ES256.token(None, sub="admin").split(".")
    in_der = ES256.private_key.sign(f"{header}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    forgeries = [
        f"{header}.{other[1]}.{signature}", f"{header}.{payload}.{other[2]}", f"{header}.{payload}.{signature[:-6]}",
        f"{header}.{payload}.{encode_base64url(bytes(64))}", f"{header}.{payload}.{encode_base64url(bytes(63))}",
        f"{header}.{payload}.{encode_base64url(in_der)}",
        f"{segment({'typ': 'at+jwt', 'alg': 'ES256', 'kid': ES256.kid})}.{payload}.{signature}",
    ]  # fmt: skip
    for forged in forgeries:
        with pytest.raises(BadSignatureError):
            check(forged)


def test_payload_is_not_read_before_the_signature_is_good() -> None:
    """A payload that is no JSON at all is first of all a bad signature."""
    header, _, signature = ES256.token(None).split(".")
    with pytest.raises(BadSignatureError):
        check(f"{header}.{segment(b'not JSON')}.{signature}")


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'"x"', b"null", b'{"a":1,"a":2}', b"{'a':1}", b"\xff{}", b'{"a":NaN}']
)
def test_payloads_that_are_not_one_object(payload: bytes) -> None:
    """Signed though they are: claims are a JSON object without repeated members (RFC 7519 §4)."""
    header = segment({"alg": "ES256", "typ": "at+jwt", "kid": ES256.kid})
    with pytest.raises(MalformedJWTError):
        check(ES256.sign(header, segment(payload)))


@pytest.mark.parametrize(
    "header",
    [
        b"", b"[]", b"null", b"{", b'{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"k"}',
        b'{"alg":"ES256","typ":"at+jwt","kid":"k","kid":"l"}', b"\xff",
        b'{"alg":"ES256","typ":"at+jwt","kid":"\\ud800"}', b'{"x":' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"x":"' + b"x" * 800 + b'"}',
    ],
)  # fmt: skip
def test_headers_that_are_not_one_small_object(header: bytes) -> None:
    """RFC 7515 §4: repeated members, other JSON, deep nesting, more than 1 KiB."""
    with pytest.raises(MalformedJWTError):
        check(ES256.sign(segment(header), segment({})))


def test_shapes_that_are_not_three_segments() -> None:
    """Two, four or five segments, padding, white space, the other base64, JSON serialisation, unused bits, 16 KiB."""
    token = ES256.token(None)
    header, payload, signature = token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelt = signature[:-1] + last[last.index(signature[-1]) + 1]
    shapes = [
        "", ".", "..", "a.b", f"{header}.{payload}", f"{header}.{payload}.", f".{payload}.{signature}", token + ".",
        token + ".x", token + "=", token + "\n", " " + token, token.replace(".", ".\n"),
        json.dumps({"payload": payload}),
        "\0", "é.é.é", f"{header}.{payload}.{respelt}", f"{header}.{'A' * 17_000}.{signature}",
        f"{header}.{payload}.A", "٣.٣.٣",
        f"{header}=.{payload}.{signature}", f"{header}.{payload}.{signature}".replace("_", "/").replace("-", "+") + "/",
    ]  # fmt: skip
    for shape in shapes:
        with pytest.raises(MalformedJWTError):
            check(shape)


def test_claims_are_for_others_to_judge() -> None:
    """An expired token of another issuer is authentic all the same."""
    assert check(ES256.token(None, iss="https://other.example", exp=1)).claims["exp"] == 1


BASE64URL = st.binary(max_size=40).map(encode_base64url)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["ES256", "none", "HS256", "PS256"]),
        "typ": st.sampled_from(["at+jwt", "JWT"]),
        "kid": st.just(ES256.kid) | st.text(max_size=3),
        "crit": st.just(["x"]),
    },
).map(segment)


@given(st.text(max_size=50) | st.tuples(HEADERS | BASE64URL, BASE64URL | HEADERS, BASE64URL).map(".".join))
def test_nothing_but_jwt_error_for_what_was_not_signed(token: str) -> None:
    """Any text, and any three segments, are a `JWTError`: nothing is accepted and nothing else raised."""
    with pytest.raises(JWTError):
        check(token)


@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=1, max_value=127))
def test_every_changed_character_is_noticed(position: int, change: int) -> None:
    """A token with any one character changed is refused."""
    token = TOKEN
    position %= len(token)
    changed: Any = token[:position] + chr(ord(token[position]) ^ change) + token[position + 1 :]
    with pytest.raises(JWTError):
        check(changed)


TOKEN = ES256.token(None)
