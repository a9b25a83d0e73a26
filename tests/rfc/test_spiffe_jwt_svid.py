"""JWT-SVID and draft-ietf-oauth-spiffe-client-auth-02 §3.1: which token proves a workload, here and now."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.spiffe_bundle import parse_bundle
from mtls_as.rfc.spiffe_jwt_svid import MAX_LIFETIME, JWTSVIDError, verify_jwt_svid
from tests.authority import new_key
from tests.workloads import ISSUER, TrustDomain, document, jwt_entry

DOMAIN = TrustDomain("td.example")
RSA = new_key("RSA-2048")
P384 = new_key("P-384")
ED25519 = new_key("Ed25519")
KEYS = parse_bundle(
    DOMAIN.bundle(jwt_entry(RSA, "rsa"), jwt_entry(P384, "p384"), jwt_entry(ED25519, "ed25519"))
).jwt_authorities
NOW = time.time()


@pytest.fixture(autouse=True)
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are made at the time they are judged at, however long the tests before these took."""
    monkeypatch.setattr(time, "time", lambda: NOW)


def verify(token: str, *, keys: JWKSet = KEYS, at: float = NOW) -> Any:
    return verify_jwt_svid(token, keys, trust_domain="td.example", audience=ISSUER, at=at)


def refusal_of(token: str, **options: Any) -> Refusal:
    with pytest.raises(JWTSVIDError) as caught:
        verify(token, **options)
    return caught.value.refusal


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    def segment(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{segment(header)}.{segment(claims)}.{segment('')}"


def test_a_jwt_svid() -> None:
    svid = verify(DOMAIN.jwt_svid("/a", exp=int(NOW) + 60))
    assert (str(svid.spiffe_id), svid.expires_at) == ("spiffe://td.example/a", int(NOW) + 60)


@pytest.mark.parametrize("kind", ["JWT", "JOSE", "jwt", None])
def test_types(kind: str | None) -> None:
    """JWT-SVID §2.3: JWT, JOSE, or none."""
    assert verify(DOMAIN.jwt_svid("/a", header={"typ": kind}))


@pytest.mark.parametrize("kind", ["at+jwt", "wit+jwt", "JWT-SVID", ""])
def test_other_types(kind: str) -> None:
    """An access token, or any other JWT of the same issuer, is no JWT-SVID."""
    header = {"alg": "ES256", "kid": DOMAIN.kid, "typ": kind}
    assert refusal_of(unsigned(header, {})) is Refusal.ASSERTION_MALFORMED


def test_ps256_is_accepted() -> None:
    assert verify(DOMAIN.sign({"sub": "spiffe://td.example/a"}, key=RSA, algorithm="PS256", header={"kid": "rsa"}))


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "rsa"), (RSA, "PS384", "rsa"), (P384, "ES384", "p384"), (ED25519, "EdDSA", "ed25519")],
)
def test_other_algorithms(key: Any, algorithm: str, kid: str) -> None:
    """JWT-SVID §2.1 knows no EdDSA; the others are left out on purpose."""
    token = DOMAIN.sign({"sub": "spiffe://td.example/a"}, key=key, algorithm=algorithm, header={"kid": kid})
    assert refusal_of(token) is Refusal.ASSERTION_MALFORMED


def test_none_and_symmetric_algorithms() -> None:
    """JWT-SVID §2.1: neither; our own public key is no secret."""
    claims = {"sub": "spiffe://td.example/a", "aud": ISSUER, "exp": NOW + 60}
    assert refusal_of(unsigned({"alg": "none", "kid": DOMAIN.kid}, claims)) is Refusal.ASSERTION_MALFORMED
    der = DOMAIN.jwt_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signing_input = unsigned({"alg": "HS256", "kid": DOMAIN.kid}, claims).rpartition(".")[0]
    mac = base64.urlsafe_b64encode(hmac.digest(der, signing_input.encode(), "sha256")).rstrip(b"=").decode()
    assert refusal_of(f"{signing_input}.{mac}") is Refusal.ASSERTION_MALFORMED


@pytest.mark.parametrize("header", [{"jku": "https://td.example"}, {"crit": ["exp"]}, {"cty": "JWT"}, {"x": 1}])
def test_no_other_headers(header: dict[str, Any]) -> None:
    """JWT-SVID §2: any header not described there MUST NOT be included."""
    assert refusal_of(DOMAIN.jwt_svid("/a", header=header)) is Refusal.ASSERTION_MALFORMED


def test_a_kid_is_needed() -> None:
    token = jwt.encode({"sub": "spiffe://td.example/a", "aud": ISSUER, "exp": NOW + 60}, DOMAIN.jwt_key, "ES256")
    assert refusal_of(token) is Refusal.ASSERTION_MALFORMED


def test_other_signers() -> None:
    """An unknown kid, and a known kid over another's signature."""
    other = TrustDomain("td.example")
    assert refusal_of(other.jwt_svid("/a")) is Refusal.ASSERTION_UNTRUSTED
    assert refusal_of(other.jwt_svid("/a", header={"kid": "unknown"})) is Refusal.ASSERTION_KEY_UNKNOWN
    assert refusal_of(DOMAIN.jwt_svid("/a"), keys=JWKSet(())) is Refusal.ASSERTION_KEY_UNKNOWN


def test_a_changed_claim_breaks_the_signature() -> None:
    head, _, signature = DOMAIN.jwt_svid("/a").split(".")
    _, body, _ = DOMAIN.jwt_svid("/b").split(".")
    assert refusal_of(f"{head}.{body}.{signature}") is Refusal.ASSERTION_UNTRUSTED


@pytest.mark.parametrize(
    ("subject", "refusal"),
    [
        (None, Refusal.ASSERTION_MALFORMED),
        ("", Refusal.NOT_AN_SVID),
        ("a", Refusal.NOT_AN_SVID),
        ("spiffe://td.example", Refusal.NOT_AN_SVID),
        ("spiffe://td.example/", Refusal.NOT_AN_SVID),
        ("spiffe://td.example/a/..", Refusal.NOT_AN_SVID),
        ("spiffe://other.example/a", Refusal.NOT_AN_SVID),
        ("spiffe://td.example.evil/a", Refusal.NOT_AN_SVID),
    ],
)
def test_subjects(subject: str | None, refusal: Refusal) -> None:
    """JWT-SVID §3.1: the SPIFFE ID of a workload; its own trust domain's key, no other's, signs for it."""
    assert refusal_of(DOMAIN.sign({"sub": subject})) is refusal


@pytest.mark.parametrize("audience", [ISSUER, [ISSUER]])
def test_audiences(audience: object) -> None:
    """Draft §3.1: the issuer, in either form."""
    assert verify(DOMAIN.jwt_svid("/a", aud=audience))


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        [],
        {},
        1,
        [ISSUER, "https://other.example"],
        ["https://other.example", ISSUER],
        [ISSUER, ISSUER],
        [[ISSUER]],
        {"aud": ISSUER},
        f"{ISSUER}/",
        f"{ISSUER}/token",
        ISSUER.upper(),
        ISSUER.removeprefix("https://"),
        ISSUER.replace("https", "http"),
        f" {ISSUER}",
    ],
)
def test_other_audiences(audience: object) -> None:
    """Draft §3.1: the issuer is the sole value of `aud`; a near miss is a miss."""
    assert refusal_of(DOMAIN.jwt_svid("/a", aud=audience)) is Refusal.ASSERTION_WRONG_AUDIENCE


def test_expiry() -> None:
    """JWT-SVID §3.3: required, and in the future to the second; bounded here."""
    token = DOMAIN.jwt_svid("/a", exp=int(NOW) + 60)
    assert verify(token, at=int(NOW) + 59.9)
    assert refusal_of(token, at=int(NOW) + 60) is Refusal.ASSERTION_EXPIRED
    assert verify(DOMAIN.jwt_svid("/a", exp=int(NOW + MAX_LIFETIME)))
    assert refusal_of(DOMAIN.jwt_svid("/a", exp=int(NOW + MAX_LIFETIME) + 2)) is Refusal.ASSERTION_LIFETIME_TOO_LONG
    assert refusal_of(DOMAIN.jwt_svid("/a", exp=10**400)) is Refusal.ASSERTION_MALFORMED


@pytest.mark.parametrize("value", [None, "soon", True, [], {}])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_times_are_numbers(name: str, value: object) -> None:
    """RFC 7519 §2. Only `exp` must be there."""
    claims = {"sub": "spiffe://td.example/a", "aud": ISSUER, "exp": NOW + 60, name: value}
    if value is None:
        del claims[name]
    token = jwt.api_jws.encode(
        json.dumps(claims).encode(), DOMAIN.jwt_key, algorithm="ES256", headers={"kid": DOMAIN.kid}
    )
    if value is None and name != "exp":
        assert verify(token)
    else:
        assert refusal_of(token) is Refusal.ASSERTION_MALFORMED


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_clocks_may_differ_by_ten_seconds(name: str) -> None:
    assert verify(DOMAIN.jwt_svid("/a", **{name: int(NOW) + 9}))
    assert refusal_of(DOMAIN.jwt_svid("/a", **{name: int(NOW) + 12})) is Refusal.ASSERTION_NOT_YET_VALID


def test_a_bundle_without_jwt_keys_vouches_for_no_jwt() -> None:
    """JWT-SVID §6.2."""
    keys = parse_bundle(document()).jwt_authorities
    assert refusal_of(DOMAIN.jwt_svid("/a"), keys=keys) is Refusal.ASSERTION_KEY_UNKNOWN


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["sub", "aud", "exp", "iat", "nbf", "jti"]), json_values))
def test_any_claims_prove_a_workload_or_give_the_one_error(claims: dict[str, object]) -> None:
    payload = json.dumps({"sub": "spiffe://td.example/a", "aud": ISSUER, "exp": NOW + 60} | claims).encode()
    token = jwt.api_jws.encode(payload, DOMAIN.jwt_key, algorithm="ES256", headers={"kid": DOMAIN.kid})
    try:
        verify(token)
    except JWTSVIDError:
        return


@given(st.text(max_size=100))
def test_any_text_is_the_one_error(token: str) -> None:
    with pytest.raises(JWTSVIDError):
        verify(token)
