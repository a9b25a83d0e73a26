"""Client assertions: the claims of RFC 7523 §3 as FAPI 2.0 narrows them, and what is no assertion."""

import base64
import contextlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7517_jwk import JWKSet, parse_jwks
from mtls_as.rfc.rfc7523_assertion import (
    ClientAssertionClaims,
    ClientAssertionError,
    unverified_subject,
    validate_claims,
    verify_signature,
)
from tests.assertions import ISSUER, AssertingClient
from tests.authority import new_key

CLIENT = AssertingClient("batch")
KEYS = parse_jwks(CLIENT.jwks)
NOW = 1_700_000_000.0


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good assertion, changed; None leaves one out."""
    members = {"iss": "batch", "sub": "batch", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j"} | changed
    return {name: value for name, value in members.items() if value is not None}


def judge(members: dict[str, Any], at: float = NOW) -> ClientAssertionClaims:
    return validate_claims(members, client_id="batch", audience=ISSUER, at=at)


def refusal_of_claims(**changed: Any) -> Refusal:
    with pytest.raises(ClientAssertionError) as caught:
        judge(claims(**changed))
    return caught.value.refusal


def refusal_of(token: str, keys: JWKSet = KEYS) -> Refusal:
    with pytest.raises(ClientAssertionError) as caught:
        verify_signature(token, keys)
    return caught.value.refusal


def unsigned(header: dict[str, Any], payload: object = None) -> str:
    def segment(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{segment(header)}.{segment({} if payload is None else payload)}.{segment('')}"


def test_an_assertion_names_its_jti_and_its_end() -> None:
    assert judge(claims()) == ClientAssertionClaims(jwt_id="j", expires_at=NOW + 60)


@pytest.mark.parametrize("name", ["iss", "sub"])
@pytest.mark.parametrize("value", [None, "Batch", "batch ", ["batch"], 1, ""])
def test_iss_and_sub_are_the_client(name: str, value: object) -> None:
    """RFC 7523 §3, items 1 and 2 (B)."""
    assert refusal_of_claims(**{name: value}) is Refusal.SUBJECT_MISMATCH


@pytest.mark.parametrize(
    "audience",
    [
        None,
        [ISSUER],
        [ISSUER, "https://other.example"],
        ISSUER + "/",
        ISSUER + "/token",
        "https://LOCALHOST:8443",
        {"a": ISSUER},
        "",
    ],
)
def test_aud_is_the_issuer_as_a_string(audience: object) -> None:
    """FAPI 2.0 §5.3.2.1; RFC 7523 §3 item 3 would allow more."""
    assert refusal_of_claims(aud=audience) is Refusal.ASSERTION_WRONG_AUDIENCE


def test_exp_is_ahead_and_not_far() -> None:
    """RFC 7523 §3 item 4: without any leeway; five minutes, and the ten seconds that the client may be ahead."""
    assert judge(claims(exp=NOW + 310)).expires_at == NOW + 310
    assert refusal_of_claims(exp=NOW) is Refusal.ASSERTION_EXPIRED
    assert refusal_of_claims(exp=NOW - 300) is Refusal.ASSERTION_EXPIRED
    assert refusal_of_claims(exp=NOW + 311) is Refusal.ASSERTION_LIFETIME_TOO_LONG
    assert refusal_of_claims(exp=NOW + 10 * 365 * 86_400) is Refusal.ASSERTION_LIFETIME_TOO_LONG


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_iat_and_nbf_are_past_but_for_ten_seconds(name: str) -> None:
    """FAPI 2.0 §5.3.2.1: ten seconds ahead are accepted, sixty are not; nor is anything between, here."""
    assert judge(claims(**{name: NOW + 10}))
    assert judge(claims(**{name: NOW - 3_600}))
    assert judge(claims(**{name: None}))
    assert refusal_of_claims(**{name: NOW + 11}) is Refusal.ASSERTION_NOT_YET_VALID
    assert refusal_of_claims(**{name: NOW + 61}) is Refusal.ASSERTION_NOT_YET_VALID


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1700000060", True, [NOW], float("inf"), float("nan"), 10**400])
def test_times_are_numbers(name: str, value: object) -> None:
    """RFC 7519 §2, NumericDate."""
    assert refusal_of_claims(**{name: value}) is Refusal.ASSERTION_MALFORMED


def test_exp_is_required() -> None:
    assert refusal_of_claims(exp=None) is Refusal.ASSERTION_MALFORMED


@pytest.mark.parametrize("value", [None, "", "j" * 257, 1, ["j"]])
def test_jti_is_required_and_bounded(value: object) -> None:
    """Optional in RFC 7523 §3 item 7; what is used once must have a name."""
    assert refusal_of_claims(jti=value) is Refusal.ASSERTION_MALFORMED


def test_other_claims_do_not_matter() -> None:
    """RFC 7523 §3, item 8."""
    assert judge(claims(jti="j" * 256, extra={"a": 1}))


@pytest.mark.parametrize(("algorithm", "kind"), [("ES256", "P-256"), ("PS256", "RSA-2048"), ("EdDSA", "Ed25519")])
@pytest.mark.parametrize("kind_of_token", ["JWT", "client-authentication+jwt", "application/client-authentication+jwt"])
def test_algorithms_and_types(algorithm: str, kind: str, kind_of_token: str) -> None:
    """FAPI 2.0 §5.4.1; draft-ietf-oauth-rfc7523bis."""
    client = AssertingClient("batch", algorithm=algorithm, key=new_key(kind))
    token = client.assertion(header={"typ": kind_of_token})
    assert verify_signature(token, parse_jwks(client.jwks))["sub"] == "batch"


def test_rs256_is_refused() -> None:
    """FAPI 2.0 §5.4.1, even with a registered RSA key that names no algorithm."""
    client = AssertingClient("batch", algorithm="RS256", key=new_key("RSA-2048"))
    jwk = {name: value for name, value in client.jwk.items() if name != "alg"}
    assert refusal_of(client.assertion(), parse_jwks({"keys": [jwk]})) is Refusal.ASSERTION_MALFORMED


def test_symmetric_and_absent_signatures_are_refused() -> None:
    """RFC 8725 §3.1, §3.2: HS256 with the public key as its secret, and none."""
    assert refusal_of(unsigned({"alg": "none", "kid": "k1"}, claims())) is Refusal.ASSERTION_MALFORMED
    secret = json.dumps(CLIENT.jwk).encode()
    message = unsigned({"alg": "HS256", "kid": "k1"}, claims()).rstrip(".")
    mac = base64.urlsafe_b64encode(hmac.digest(secret, message.encode(), "sha256")).rstrip(b"=").decode()
    assert refusal_of(f"{message}.{mac}") is Refusal.ASSERTION_MALFORMED


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"jwk": CLIENT.jwk}, {"crit": ["x"]}])
def test_tokens_for_another_purpose_are_refused(header: dict[str, Any]) -> None:
    """RFC 8725 §3.11: an access token, or a proof, with the very same claims."""
    assert refusal_of(CLIENT.assertion(header=header)) is Refusal.ASSERTION_MALFORMED


def test_only_the_client_s_own_keys_count() -> None:
    """Another's key under the same kid, a kid of nobody, a key for another algorithm."""
    other = AssertingClient("batch")
    assert refusal_of(other.assertion()) is Refusal.ASSERTION_UNTRUSTED
    assert refusal_of(CLIENT.assertion(header={"kid": "k2"})) is Refusal.ASSERTION_KEY_UNKNOWN
    assert refusal_of(unsigned({"alg": "PS256", "kid": "k1"})) is Refusal.ASSERTION_KEY_UNKNOWN
    encryption = parse_jwks({"keys": [CLIENT.jwk | {"use": "enc"}]})
    assert refusal_of(CLIENT.assertion(), encryption) is Refusal.ASSERTION_KEY_UNKNOWN


def test_an_altered_claim_breaks_the_signature() -> None:
    head, _, signature = CLIENT.assertion().split(".")
    _, payload, _ = CLIENT.assertion(sub="admin").split(".")
    assert refusal_of(f"{head}.{payload}.{signature}") is Refusal.ASSERTION_UNTRUSTED


def test_the_unverified_subject_only_names_a_client() -> None:
    """RFC 7521 §4.2: nothing is verified yet, so a forged one is read as well."""
    assert unverified_subject(unsigned({"alg": "none"}, {"sub": "batch"})) == "batch"
    for payload in ({}, {"sub": 1}, {"sub": ""}, []):
        with pytest.raises(ClientAssertionError):
            unverified_subject(unsigned({}, payload))


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{1,20}\.[A-Za-z0-9_-]{1,20}\.[A-Za-z0-9_-]{1,20}", fullmatch=True))
def test_no_text_raises_anything_else(text: str) -> None:
    for read in (unverified_subject, lambda token: verify_signature(token, KEYS)):
        with contextlib.suppress(ClientAssertionError):
            read(text)


@given(
    st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("batch") | st.just(ISSUER),
    )
)
def test_no_claims_raise_anything_else(members: dict[str, Any]) -> None:
    with contextlib.suppress(ClientAssertionError):
        judge(members, at=time.time())
    with contextlib.suppress(ClientAssertionError):
        judge(claims() | members)
