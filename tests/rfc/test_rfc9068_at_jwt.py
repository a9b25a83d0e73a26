"""The claims of access tokens: required, of the right type, for us, and now."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7800_confirmation import CertificateBinding
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.rfc.rfc9068_at_jwt import (
    AccessTokenClaims,
    ClaimsError,
    TokenExpired,
    encode_claims,
    validate_claims,
)

NOW = 1_800_000_000
THUMBPRINT = x5t_s256(b"certificate")
CLAIMS: dict[str, Any] = {
    "iss": "https://as.example",
    "sub": "reports",
    "client_id": "reports",
    "aud": "https://api.example",
    "scope": "a b",
    "iat": NOW,
    "exp": NOW + 300,
    "jti": "1",
    "cnf": {"x5t#S256": THUMBPRINT},
}


def validate(claims: dict[str, Any], *, at: float = NOW) -> AccessTokenClaims:
    return validate_claims(claims, issuer="https://as.example", audience="https://api.example", at=at, leeway=10)


def test_claims_are_read_back() -> None:
    """What the server encodes, the resource server reads (RFC 9068 §2.2, RFC 8705 §3.1)."""
    encoded = encode_claims(
        issuer="https://as.example",
        subject="s",
        client_id="c",
        audience=["https://api.example", "https://other.example"],
        scope=("a", "b"),
        issued_at=NOW,
        expires_at=NOW + 300,
        jwt_id="1",
        confirmation=CertificateBinding(THUMBPRINT),
    )
    assert encoded["cnf"] == {"x5t#S256": THUMBPRINT}
    assert encoded["scope"] == "a b"
    assert validate(encoded) == AccessTokenClaims(
        issuer="https://as.example",
        subject="s",
        client_id="c",
        audience=("https://api.example", "https://other.example"),
        scope=("a", "b"),
        issued_at=NOW,
        expires_at=NOW + 300,
        jwt_id="1",
        confirmation=CertificateBinding(THUMBPRINT),
        other={},
    )


def test_bearer_token_without_scope() -> None:
    """One audience is a string; neither scope nor cnf stands there when there is none."""
    encoded = encode_claims(
        issuer="https://as.example", subject="s", client_id="c", audience=("https://api.example",), scope=(),
        issued_at=NOW, expires_at=NOW + 1, jwt_id="1", confirmation=None,
    )  # fmt: skip
    assert encoded["aud"] == "https://api.example"
    assert not {"scope", "cnf"} & set(encoded)
    claims = validate(encoded)
    assert (claims.scope, claims.confirmation) == ((), None)


def test_further_claims_are_kept() -> None:
    assert validate(CLAIMS | {"roles": ["x"], "nbf": NOW}).other == {"roles": ["x"], "nbf": NOW}


@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
def test_required_claims(name: str) -> None:
    """RFC 9068 §2.2: each MUST be there, of its type, and not empty."""
    claims = dict(CLAIMS)
    del claims[name]
    for spoilt in (claims, *(CLAIMS | {name: value} for value in (None, "", [], {}, True, [1]))):
        with pytest.raises(ClaimsError) as caught:
            validate(spoilt)
        assert caught.value.claim == name


@pytest.mark.parametrize(
    "issuer",
    ["https://as.example/", "https://AS.example", "http://as.example", "https://as.example:443", " https://as.example"],
)
def test_issuer_to_the_character(issuer: str) -> None:
    """RFC 9068 §4: exactly the issuer; not with a slash more."""
    with pytest.raises(ClaimsError, match="iss"):
        validate(CLAIMS | {"iss": issuer})


@pytest.mark.parametrize(
    "audience",
    [
        "https://api.example/", "https://api.exampl", "https://API.example", "https://api.example https://b.example",
        ["https://api.example/"], ["https://api.example", 1], {"https://api.example": 1},
    ],
)  # fmt: skip
def test_audience_to_the_character(audience: object) -> None:
    """RFC 9068 §4: the resource server itself must be named; near misses are misses."""
    with pytest.raises(ClaimsError, match="aud"):
        validate(CLAIMS | {"aud": audience})


def test_audience_among_several() -> None:
    assert len(validate(CLAIMS | {"aud": ["x", "https://api.example"]}).audience) == 2


@pytest.mark.parametrize(
    ("changes", "at", "good"),
    [
        ({"exp": NOW}, NOW + 9.9, True),
        ({"exp": NOW}, NOW + 10, False),
        ({"iat": NOW + 10}, NOW, True),
        ({"iat": NOW + 11}, NOW, False),
        ({"nbf": NOW + 10}, NOW, True),
        ({"nbf": NOW + 11}, NOW, False),
        ({"iat": NOW + 61, "nbf": NOW + 61}, NOW, False),
        ({"exp": NOW + 0.5}, NOW + 10.4, True),
    ],
)
def test_times_at_their_edges(changes: dict[str, Any], at: float, good: bool) -> None:
    """RFC 7519 §4.1.4 to §4.1.6 with ten seconds of leeway; FAPI 2.0: 10 s ahead is fine, 60 s is not."""
    if good:
        validate(CLAIMS | changes, at=at)
    else:
        with pytest.raises(ClaimsError):
            validate(CLAIMS | changes, at=at)


def test_expiry_is_told_from_other_errors() -> None:
    with pytest.raises(TokenExpired):
        validate(CLAIMS, at=NOW + 1000)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [str(NOW), True, None, -1, float("inf"), float("nan"), 1e300, 10**400, [NOW], {}])
def test_times_are_numbers(name: str, value: object) -> None:
    """NumericDate (RFC 7519 §2), and one that a calendar has."""
    with pytest.raises(ClaimsError, match=name):
        validate(CLAIMS | {name: value})


@pytest.mark.parametrize("scope", [1, None, ["a"], " a", "a ", "a  b", 'a"', "a\n", "é"])
def test_scope_is_scope_tokens(scope: object) -> None:
    """RFC 6749 §3.3."""
    with pytest.raises(ClaimsError, match="scope"):
        validate(CLAIMS | {"scope": scope})


@pytest.mark.parametrize(
    "cnf",
    [
        None, "", THUMBPRINT, [], {}, {"x5t#S256": None}, {"x5t#S256": 1}, {"x5t#S256": [THUMBPRINT]}, {"x5t#S256": ""},
        {"x5t#S256": THUMBPRINT + "="}, {"x5t#S256": THUMBPRINT[:-1]}, {"x5t#S256": THUMBPRINT + "A"},
        {"x5t#S256": THUMBPRINT + "\n"}, {"x5t#S256": THUMBPRINT, "jkt": THUMBPRINT}, {"jkt": 1},
        {"x5t#s256": THUMBPRINT}, {"x5t": THUMBPRINT}, {"x5t#S256": THUMBPRINT, "x": 1}, {"jwk": {}},
    ],
)  # fmt: skip
def test_confirmation_is_one_thumbprint(cnf: object) -> None:
    """RFC 8705 §3.1: a confirmation that is not understood in full confirms nothing."""
    with pytest.raises(ClaimsError, match="cnf"):
        validate(CLAIMS | {"cnf": cnf})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "x"]), JSON, max_size=3))
def test_only_claims_error_escapes(changes: dict[str, Any]) -> None:
    """Good claims with any of them replaced by any JSON are judged, or a `ClaimsError`."""
    try:
        claims = validate(CLAIMS | changes)
    except ClaimsError:
        return
    assert claims.confirmation == CertificateBinding(THUMBPRINT)
