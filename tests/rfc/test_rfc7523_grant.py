"""RFC 7523 §2.1, §3: the claims of JWTs that other issuers signed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7523_grant import (
    ForeignClaims,
    ForeignTokenError,
    require_audience,
    require_grant,
    validate_foreign_claims,
)

ISSUER, HERE, AT = "https://jwt-idp.example.com", "https://as.example", 1_000_000.0
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "mailto:mike@example.com",
    "aud": HERE,
    "iat": AT,
    "exp": AT + 300,
    "jti": "1",
}


def judge(**changes: object) -> ForeignClaims:
    claims = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    return validate_foreign_claims(claims, issuer=ISSUER, at=AT, max_lifetime=3600)


def refusal_of(**changes: object) -> Refusal:
    with pytest.raises(ForeignTokenError) as caught:
        judge(**changes)
    return caught.value.refusal


def test_a_grant() -> None:
    """The claims of RFC 7523 §4, with the `jti` that this server wants."""
    assert require_grant(judge(), audience=HERE) == "1"
    assert judge().subject == "mailto:mike@example.com"


@pytest.mark.parametrize(
    "audience", ["https://other.example", HERE + "/", [HERE, "https://other.example"], [HERE, HERE]]
)
def test_a_grant_is_for_this_server_alone(audience: object) -> None:
    """§3, item 3: who else could receive it could use it here."""
    with pytest.raises(ForeignTokenError) as caught:
        require_grant(judge(aud=audience), audience=HERE)
    assert caught.value.refusal is Refusal.ASSERTION_WRONG_AUDIENCE


def test_an_array_of_one_is_that_one() -> None:
    """RFC 7519 §4.1.3: the general case is an array, and some issuers know no other."""
    assert require_grant(judge(aud=[HERE]), audience=HERE)


def test_a_grant_without_jti() -> None:
    with pytest.raises(ForeignTokenError):
        require_grant(judge(jti=...), audience=HERE)


def test_a_token_for_one_of_several() -> None:
    require_audience(judge(aud=["https://a.example", "https://b.example"]), among=["https://b.example"])
    with pytest.raises(ForeignTokenError):
        require_audience(judge(aud="https://a.example"), among=["https://b.example"])


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"iss": "https://jwt-idp.example.com/"}, Refusal.ASSERTION_MALFORMED),
        ({"iss": ...}, Refusal.ASSERTION_MALFORMED),
        ({"sub": ...}, Refusal.ASSERTION_MALFORMED),
        ({"sub": ""}, Refusal.ASSERTION_MALFORMED),
        ({"sub": 7}, Refusal.ASSERTION_MALFORMED),
        ({"aud": ...}, Refusal.ASSERTION_MALFORMED),
        ({"aud": []}, Refusal.ASSERTION_MALFORMED),
        ({"aud": [HERE, 1]}, Refusal.ASSERTION_MALFORMED),
        ({"exp": ...}, Refusal.ASSERTION_MALFORMED),
        ({"exp": "soon"}, Refusal.ASSERTION_MALFORMED),
        ({"exp": True}, Refusal.ASSERTION_MALFORMED),
        ({"exp": float("inf")}, Refusal.ASSERTION_MALFORMED),
        ({"exp": AT}, Refusal.ASSERTION_EXPIRED),
        ({"exp": AT + 3611}, Refusal.ASSERTION_LIFETIME_TOO_LONG),
        ({"iat": AT + 11}, Refusal.ASSERTION_NOT_YET_VALID),
        ({"nbf": AT + 11}, Refusal.ASSERTION_NOT_YET_VALID),
        ({"jti": 1}, Refusal.ASSERTION_MALFORMED),
    ],
)
def test_claims_that_do_not_count(changes: dict[str, object], refusal: Refusal) -> None:
    """§3, items 1 to 7."""
    assert refusal_of(**changes) is refusal


@given(
    st.dictionaries(
        st.sampled_from(sorted(GOOD)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text() | st.integers()),
    )
)
def test_claims_are_refused_by_one_error_alone(changes: dict[str, object]) -> None:
    try:
        judge(**changes)
    except ForeignTokenError:
        return
