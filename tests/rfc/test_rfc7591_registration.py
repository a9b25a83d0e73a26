"""What registrants send: read, or one documented error."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc7519_jwt import JWTError
from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
from mtls_as.rfc.rfc7591_registration import judge_statement, parse_registration_request, parse_update_request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=10,
)


def test_unknown_members_are_ignored_and_null_is_absent() -> None:
    """RFC 7591 §2, RFC 7592 §2.2."""
    request = parse_registration_request(b'{"scope": "a", "client_name": null, "logo_uri": "x", "client_id": "mine"}')
    assert request.unverified_members == {"scope": "a"}
    assert request.client_id is None


def test_the_statement_wins() -> None:
    """RFC 7591 §2.3."""
    request = parse_registration_request(b'{"scope": "a", "client_name": "mine", "software_statement": "x"}')
    claims = {"iss": "https://s.example", "client_name": "theirs", "scope": None}
    assert request.with_claims(claims) == {"scope": "a", "client_name": "theirs"}


@given(st.binary(max_size=200) | st.sampled_from([b'{"client_id":[]}', b'{"client_id":"a","client_secret":1}', b"{}"]))
def test_one_documented_error_and_no_other(body: bytes) -> None:
    """Whatever the bytes are."""
    for parse in (parse_registration_request, parse_update_request):
        with contextlib.suppress(ClientMetadataError):
            parse(body)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat"]), JSON))
def test_claims_are_judged_or_refused(claims: dict[str, object]) -> None:
    """No claim of any type raises anything else."""
    with contextlib.suppress(JWTError):
        judge_statement(claims, issuer="https://s.example", audience="https://as.example", at=1_000.0)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"iss": "https://s.example/"},
        {"iss": "https://s.example", "exp": 1_000},
        {"iss": "https://s.example", "iat": 1_011},
        {"iss": "https://s.example", "nbf": 1_011},
        {"iss": "https://s.example", "aud": ["https://other.example"]},
        {"iss": "https://s.example", "aud": []},
    ],
    ids=str,
)
def test_claims_that_do_not_hold(claims: dict[str, object]) -> None:
    """At the edges: `exp` is the first second that is too late, ten seconds are forgiven ahead."""
    with pytest.raises(JWTError):
        judge_statement(claims, issuer="https://s.example", audience="https://as.example", at=1_000.0)
