"""RFC 8693: the request, chains of actors, and `may_act`, with the examples of the RFC."""

import contextlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError, parse_form
from mtls_as.rfc.rfc8693_token_exchange import (
    ACCESS_TOKEN,
    JWT,
    MAX_CHAIN,
    ActorError,
    Party,
    check_may_act,
    delegate,
    format_chain,
    parse_chain,
    parse_exchange_request,
)

ISSUER = "https://issuer.example.com"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["act", "sub", "iss", "x"]), inner),
    max_leaves=10,
)


def form(**parameters: str) -> str:
    return urlencode(parameters)


def party(subject: str, issuer: str = ISSUER) -> Party:
    return Party(issuer=issuer, subject=subject)


def test_the_request_of_the_example() -> None:
    """RFC 8693 §2.3, figure 2: a resource server exchanges the token it was called with."""
    body = (
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
        b"&resource=https%3A%2F%2Fbackend.example.com%2Fapi"
        b"&subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"
        b"&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
    )
    request = parse_exchange_request(parse_form(body))
    assert request.subject.text == "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"
    assert (request.subject.type, request.actor, request.requested_token_type) == (ACCESS_TOKEN, None, ACCESS_TOKEN)
    assert "accVkjc" not in repr(request)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"subject_token": "t"},
        {"subject_token_type": JWT},
        {"subject_token": "t", "subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"subject_token": "t", "subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"subject_token": "t", "subject_token_type": JWT, "actor_token": "a"},
        {"subject_token": "t", "subject_token_type": JWT, "actor_token_type": JWT},
        {"subject_token": "t", "subject_token_type": JWT, "requested_token_type": "jwt"},
        {"subject_token": "t", "subject_token_type": JWT, "requested_token_type": JWT + " "},
    ],
)
def test_requests_that_are_refused(parameters: dict[str, str]) -> None:
    """§2.1: tokens come with their types; §2.2.2: what is wrong here is `invalid_request`."""
    with pytest.raises(OAuthError) as caught:
        parse_exchange_request(parse_form(form(**parameters).encode()))
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_the_chain_of_the_example() -> None:
    """§4.1, figure 6: the current actor, and the one before, whose names may be of another issuer."""
    claims = {
        "sub": "user@example.com",
        "act": {
            "sub": "https://service16.example.com",
            "act": {"sub": "https://service77.example.com", "iss": "https://other.example"},
        },
    }
    chain = parse_chain(claims, issuer=ISSUER)
    assert chain == (
        party("https://service16.example.com"),
        party("https://service77.example.com", "https://other.example"),
    )
    assert format_chain(chain, issuer=ISSUER) == claims["act"]


def test_what_identifies_nobody_is_not_taken_along() -> None:
    """§4.1: `exp` and the like mean nothing within `act`."""
    chain = parse_chain({"act": {"sub": "a", "exp": 1, "scope": "admin"}}, issuer=ISSUER)
    assert format_chain(chain, issuer=ISSUER) == {"sub": "a"}


@pytest.mark.parametrize(
    "act", [None, "a", [], {}, {"sub": ""}, {"sub": 1}, {"sub": "a", "iss": 1}, {"sub": "a" * 3000}]
)
def test_chains_that_are_none(act: object) -> None:
    with pytest.raises(ActorError):
        parse_chain({"act": act}, issuer=ISSUER)


def test_depth_is_bounded() -> None:
    """A chain ends, and so does its parsing."""
    claims: dict[str, object] = {}
    for number in range(MAX_CHAIN):
        claims = {"act": {"sub": str(number), **claims}}
    chain = parse_chain(claims, issuer=ISSUER)
    assert len(chain) == MAX_CHAIN
    with pytest.raises(ActorError):
        delegate(chain, to=party("next"), subject=party("user"))
    with pytest.raises(ActorError):
        parse_chain({"act": {"sub": "next", **claims}}, issuer=ISSUER)


def test_an_exchange_with_oneself_adds_no_link() -> None:
    """Neither the subject nor the current actor becomes an actor for itself; an earlier one becomes it again."""
    user, a, b = party("user"), party("a"), party("b")
    assert delegate((), to=user, subject=user) == ()
    assert delegate((a,), to=a, subject=user) == (a,)
    assert delegate((a,), to=b, subject=user) == (b, a)
    assert delegate((b, a), to=a, subject=user) == (a, b, a)
    assert delegate((a,), to=user, subject=user) == (user, a)


def test_may_act_of_the_example() -> None:
    """§4.4, figure 8: `admin@example.com` may act, and nobody else."""
    claims = {"sub": "user@example.com", "may_act": {"sub": "admin@example.com"}}
    check_may_act(claims, party("admin@example.com"), issuer=ISSUER)
    for other in (party("user@example.com"), party("admin@example.com", "https://other.example")):
        with pytest.raises(ActorError):
            check_may_act(claims, other, issuer=ISSUER)


def test_without_may_act_it_forbids_nothing() -> None:
    check_may_act({"sub": "user"}, party("anybody"), issuer=ISSUER)


@pytest.mark.parametrize(
    "may_act", [None, [], "admin", {}, {"iss": ISSUER}, {"sub": "admin", "email": "a@b.example"}, {"sub": ["admin"]}]
)
def test_what_may_act_cannot_prove_refuses(may_act: object) -> None:
    """A demand that is not understood is not met."""
    with pytest.raises(ActorError):
        check_may_act({"may_act": may_act}, party("admin"), issuer=ISSUER)


@given(json_values)
def test_claims_are_refused_by_one_error_alone(value: object) -> None:
    for claims in ({"act": value}, {"may_act": value}):
        try:
            chain = parse_chain(claims, issuer=ISSUER)
            check_may_act(claims, party("a"), issuer=ISSUER)
        except ActorError:
            continue
        again = format_chain(chain, issuer=ISSUER)
        assert parse_chain({} if again is None else {"act": again}, issuer=ISSUER) == chain


@given(
    st.dictionaries(
        st.sampled_from(["subject_token", "subject_token_type", "actor_token", "actor_token_type"]), st.text()
    )
)
def test_requests_are_refused_by_one_error_alone(parameters: dict[str, str]) -> None:
    with contextlib.suppress(OAuthError):
        parse_exchange_request(parse_form(urlencode(parameters, errors="surrogatepass").encode()))
