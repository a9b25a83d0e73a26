"""DPoP proofs: the examples of the standard, and each thing that makes a proof worthless."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3986_uri import normalise_https_url
from mtls_as.rfc.rfc7517_jwk import thumbprint
from mtls_as.rfc.rfc9449_dpop import (
    ALGORITHMS,
    MAX_AGE,
    Proof,
    ProofError,
    access_token_hash,
    single_proof,
    verify_proof,
)
from tests.authority import new_key
from tests.dpop import DPoPKey, private_members
from tests.verifier.issuer import OMIT, segment

# RFC 9449 §4.1 (figure 2), §6.1 (figure 8), §7.1 (figure 12); the signatures there are real.
HEADER = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
)
TOKEN_PROOF = (
    f"{HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2Vu"
    "IiwiaWF0IjoxNTYyMjYyNjE2fQ"
    ".2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
RESOURCE_PROOF = (
    f"{HEADER}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90"
    "ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9"
    ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
EXAMPLE_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
EXAMPLE_THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

NOW = 1_800_000_000.0
URL = "https://as.example/token"
KEYS = {algorithm: DPoPKey(algorithm, clock=lambda: NOW) for algorithm in ALGORITHMS}
KEY = KEYS["ES256"]


def check(proof: str, *, method: str = "POST", url: str = URL, at: float = NOW, token: str | None = None) -> Proof:
    return verify_proof(proof, method=method, url=url, at=at, access_token=token)


def refusal(proof: str, **request: Any) -> Refusal:
    with pytest.raises(ProofError) as caught:
        check(proof, **request)
    return caught.value.refusal


def test_the_example_for_a_token_request() -> None:
    """RFC 9449 §4.1 and §6.1: the proof is good, and its key has the thumbprint of the token's `cnf`."""
    proof = verify_proof(TOKEN_PROOF, method="POST", url="https://server.example.com/token", at=1562262616 + 5)
    assert proof.thumbprint == EXAMPLE_THUMBPRINT
    assert proof.use == f"dpop {EXAMPLE_THUMBPRINT} -BwC3ESc6acc2lTc"
    assert proof.ends_at == 1562262616 + MAX_AGE


def test_the_example_for_a_resource_request() -> None:
    """RFC 9449 §7.1: the proof is good with its access token, and with no other."""
    url, at = "https://resource.example.org/protectedresource", 1562262618.0
    assert access_token_hash(EXAMPLE_TOKEN) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    proof = check(RESOURCE_PROOF, method="GET", url=url, at=at, token=EXAMPLE_TOKEN)
    assert proof.thumbprint == EXAMPLE_THUMBPRINT
    other = refusal(RESOURCE_PROOF, method="GET", url=url, at=at, token=EXAMPLE_TOKEN + "x")
    assert other is Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_good_proofs(algorithm: str) -> None:
    key = KEYS[algorithm]
    proof = check(key.proof("POST", URL, jti="1", nonce="n"))
    assert (proof.thumbprint, proof.nonce, proof.ends_at) == (key.thumbprint, "n", NOW + MAX_AGE)
    assert check(key.proof("POST", URL)).nonce is None


def test_a_use_is_of_one_key_and_one_jti() -> None:
    """RFC 9449 §11.1: the same `jti` by another key is another proof; nobody can use up that of somebody else."""
    uses = {check(key.proof("POST", URL, jti=jti)).use for key in KEYS.values() for jti in ("1", "2", "1 2")}
    assert len(uses) == 9
    assert check(KEY.proof("POST", URL, jti="1")).use == check(KEY.proof("POST", URL, jti="1", iat=int(NOW) - 9)).use


@pytest.mark.parametrize("headers", [[], ["a", "b"], [TOKEN_PROOF, TOKEN_PROOF]])
def test_one_header(headers: list[str]) -> None:
    """RFC 9449 §4.3, item 1."""
    with pytest.raises(ProofError) as caught:
        single_proof(headers)
    assert caught.value.refusal is (Refusal.DPOP_PROOF_MALFORMED if headers else Refusal.DPOP_PROOF_MISSING)
    assert single_proof(["a"]) == "a"


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "x",
        "a.b",
        "a.b.c.d",
        f"{TOKEN_PROOF}, {TOKEN_PROOF}",
        f" {TOKEN_PROOF}",
        TOKEN_PROOF + "=",
        "é.é.é",
        "a." * 9000,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_no_jwt(proof: str) -> None:
    """RFC 9449 §4.3, item 2; two proofs joined by a comma are what a proxy may make of two headers."""
    assert refusal(proof) is Refusal.DPOP_PROOF_MALFORMED


HEADERS: dict[str, dict[str, Any]] = {
    "no typ": {"typ": OMIT},
    "another typ": {"typ": "JWT"},
    "typ of access tokens": {"typ": "at+jwt"},
    "no alg": {"alg": OMIT},
    "alg none": {"alg": "none"},
    "symmetric": {"alg": "HS256"},
    "RS256": {"alg": "RS256"},
    "algorithm of another kind of key": {"alg": "EdDSA"},
    "experimental": {"alg": "ML-DSA-44"},
    "no jwk": {"jwk": OMIT},
    "jwk null": {"jwk": None},
    "jwk text": {"jwk": "x"},
    "jwk of an unknown kind": {"jwk": {"kty": "X"}},
    "jwk symmetric": {"jwk": {"kty": "oct", "k": "AAAA"}},
    "jwk off the curve": {"jwk": KEY.jwk | {"x": segment(bytes(32)), "y": segment(bytes(31) + b"\1")}},
    "jwk for encryption": {"jwk": KEY.jwk | {"use": "enc"}},
    "jwk for another algorithm": {"jwk": KEY.jwk | {"alg": "ES384"}},
    "jku": {"jku": "https://evil.example/jwks"},
    "x5u": {"x5u": "https://evil.example/c"},
    "x5c": {"x5c": ["AA=="]},
    "crit": {"crit": ["b64"]},
    "b64": {"b64": False},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers(header: dict[str, Any]) -> None:
    """RFC 9449 §4.3, items 4 and 5; RFC 8725 §3.1 and §3.10."""
    assert refusal(KEY.proof("POST", URL, header=header)) is Refusal.DPOP_PROOF_MALFORMED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_jwk_with_private_members(algorithm: str) -> None:
    """RFC 9449 §4.3, item 7: whoever sends its private key has lost it."""
    key = KEYS[algorithm]
    for name, value in (private_members(key.private_key) | {"k": "AAAA", "priv": "AAAA"}).items():
        proof = key.proof("POST", URL, header={"jwk": key.jwk | {name: value}})
        assert refusal(proof) is Refusal.DPOP_PROOF_MALFORMED


def test_weak_keys() -> None:
    """RSA of less than 2048 bits proves nothing, and curves beside P-256 have no algorithm here."""
    key = DPoPKey("PS256", clock=lambda: NOW)
    key.private_key = new_key("RSA-1024")
    numbers = key.private_key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": segment(numbers.n.to_bytes(128)), "e": "AQAB"}
    with pytest.raises(Exception, match="fit"):
        key.proof("POST", URL, header={"jwk": jwk})  # nor would our own signer use it
    good = KEYS["PS256"].proof("POST", URL).split(".")
    assert refusal(f"{segment({'typ': 'dpop+jwt', 'alg': 'PS256', 'jwk': jwk})}.{good[1]}.{good[2]}") is (
        Refusal.DPOP_PROOF_MALFORMED
    )
    point = new_key("P-384").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    wrong = {"kty": "EC", "crv": "P-384", "x": segment(point[1:49]), "y": segment(point[49:])}
    assert refusal(KEY.proof("POST", URL, header={"jwk": wrong})) is Refusal.DPOP_PROOF_MALFORMED


def test_a_signature_by_another_key() -> None:
    """RFC 9449 §4.3, item 6: naming somebody's key is not holding it."""
    victim = DPoPKey(clock=lambda: NOW)
    assert refusal(KEY.proof("POST", URL, header={"jwk": victim.jwk})) is Refusal.DPOP_PROOF_UNTRUSTED
    header, payload, signature = KEY.proof("POST", URL).split(".")
    changed = segment(KEY.claims("GET", URL))
    assert refusal(f"{header}.{changed}.{signature}", method="GET") is Refusal.DPOP_PROOF_UNTRUSTED
    assert refusal(f"{header}.{payload}.{segment(bytes(64))}") is Refusal.DPOP_PROOF_UNTRUSTED


def test_the_thumbprint_is_of_the_key_and_not_of_its_spelling() -> None:
    """RFC 7638 §3: further members and their order do not make another key."""
    jwk = dict(reversed((KEY.jwk | {"kid": "x", "use": "sig", "alg": "ES256", "ext": True}).items()))
    assert check(KEY.proof("POST", URL, header={"jwk": jwk})).thumbprint == KEY.thumbprint
    assert KEY.thumbprint == thumbprint(KEY.private_key.public_key())


CLAIMS: dict[str, dict[str, Any]] = {
    "no jti": {"jti": OMIT},
    "empty jti": {"jti": ""},
    "jti number": {"jti": 1},
    "long jti": {"jti": "x" * 257},
    "no iat": {"iat": OMIT},
    "iat text": {"iat": str(int(NOW))},
    "iat true": {"iat": True},
    "iat null": {"iat": None},
    "iat infinite": {"iat": float("inf")},
    "iat beyond floats": {"iat": 10**400},
    "exp text": {"exp": "x"},
    "nbf text": {"nbf": "x"},
    "no htu": {"htu": OMIT},
    "htu list": {"htu": [URL]},
    "nonce number": {"nonce": 1},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
def test_claims_that_are_missing_or_malformed(claims: dict[str, Any]) -> None:
    """RFC 9449 §4.3, item 3."""
    assert refusal(KEY.proof("POST", URL, **claims)) is Refusal.DPOP_PROOF_MALFORMED


def test_a_jti_of_256_characters() -> None:
    assert check(KEY.proof("POST", URL, jti="x" * 256))


@pytest.mark.parametrize("offset", [-59, -10, 0, 10])
def test_times_that_are_near(offset: int) -> None:
    """FAPI 2.0 §5.3.2.1: ten seconds either way are accepted."""
    assert check(KEY.proof("POST", URL, iat=int(NOW) + offset)).ends_at == NOW + offset + MAX_AGE
    assert check(KEY.proof("POST", URL, iat=int(NOW) + offset, nbf=int(NOW) + offset, exp=int(NOW) + 300))


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iat": int(NOW) - 60}, Refusal.DPOP_PROOF_EXPIRED),
        ({"iat": int(NOW) - 3600}, Refusal.DPOP_PROOF_EXPIRED),
        ({"iat": 0}, Refusal.DPOP_PROOF_EXPIRED),
        ({"iat": int(NOW) + 11}, Refusal.DPOP_PROOF_NOT_YET_VALID),
        ({"iat": int(NOW) + 3600}, Refusal.DPOP_PROOF_NOT_YET_VALID),
        ({"nbf": int(NOW) + 11}, Refusal.DPOP_PROOF_NOT_YET_VALID),
        ({"exp": int(NOW)}, Refusal.DPOP_PROOF_EXPIRED),
        ({"exp": int(NOW) - 300}, Refusal.DPOP_PROOF_EXPIRED),
    ],
)  # fmt: skip
def test_times_that_are_far_off(claims: dict[str, int], expected: Refusal) -> None:
    """RFC 9449 §4.3, item 11; `exp` and `nbf` are no claims of proofs, and hold where they stand."""
    assert refusal(KEY.proof("POST", URL, **claims)) is expected


@pytest.mark.parametrize("method", ["GET", "post", "", None, OMIT, ["POST"]])
def test_another_method(method: Any) -> None:
    """RFC 9449 §4.3, item 8: methods have a case (RFC 9110 §9.1)."""
    assert refusal(KEY.proof(method, URL)) is Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/token",
        "https://as.example.evil.example/token",
        "https://as.example:8443/token",
        "http://as.example/token",
        "https://as.example/Token",
        "https://as.example/token/",
        "https://as.example/",
        "https://as.example",
        "https://as.example/token%2F",
        "https://as.example/x/token",
        "https://user@as.example/token",
        "https://as.example\\@evil.example/token",
        "https://as.example/token\n",
        "https://äs.example/token",
        "//as.example/token",
        "/token",
        "token",
        "",
        "https://",
        "https://as.example:99999/token",
        "https://[/token",
        "https://as.example/" + "x" * 9_000,
    ],
)
def test_another_url(url: str) -> None:
    """RFC 9449 §4.3, item 9: another host, port, scheme, path or case of the path."""
    if len(url) > 2_048:
        assert refusal(KEY.proof("POST", url)) is Refusal.DPOP_PROOF_MALFORMED
    else:
        assert refusal(KEY.proof("POST", url)) is Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST


@pytest.mark.parametrize(
    "url",
    [
        "https://as.example:443/token",
        "https://as.example:/token",
        "HTTPS://AS.EXAMPLE/token",
        "https://as.example/%74oken",
        "https://as.example/x/../token",
        "https://as.example/./token",
        "https://as.example/token?a=b",
        "https://as.example/token#f",
        "https://as.example/token?",
    ],
)
def test_other_spellings_of_the_url(url: str) -> None:
    """RFC 9449 §4.3, item 9 and its note: compared after normalisation, without query and fragment."""
    assert check(KEY.proof("POST", url))


def test_a_request_whose_url_is_not_known_proves_nothing() -> None:
    assert refusal(KEY.proof("POST", "x"), url="x") is Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST


@pytest.mark.parametrize("ath", [OMIT, None, "", 1, "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"])
def test_the_hash_of_the_access_token(ath: Any) -> None:
    """RFC 9449 §4.3, item 12: with a token the hash must be there, and be that of this token."""
    expected = {Refusal.DPOP_PROOF_MALFORMED, Refusal.DPOP_PROOF_OF_ANOTHER_REQUEST}
    assert refusal(KEY.proof("POST", URL, token="t", ath=ath), token="t") in expected
    assert check(KEY.proof("POST", URL, token="t"), token="t")


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda octets: f"{HEADER}.{segment(octets)}.AAAA"))
def test_only_proof_error_escapes_for_any_text(proof: str) -> None:
    with pytest.raises(ProofError):
        check(proof)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(["typ", "alg", "jwk", "kid", "x"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from(["jti", "htm", "htu", "iat", "nbf", "exp", "ath", "nonce"]), JSON, max_size=2),
)
def test_only_proof_error_escapes(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """A good proof with any members replaced by any JSON, and signed, is good or a `ProofError`."""
    try:
        proof = check(KEY.proof("POST", URL, token="t", header=header, **claims), token="t")
    except ProofError:
        return
    assert proof.thumbprint == KEY.thumbprint


@given(st.text("abAB%2fF.é/?#:@[]\\0~-", max_size=20))
def test_normalising_twice_changes_nothing(rest: str) -> None:
    """RFC 3986 §6.2.2: one form for each resource; anything else is None."""
    once = normalise_https_url("https://as.example/" + rest)
    assert once is None or normalise_https_url(once) == once
