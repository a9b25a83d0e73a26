"""What a client may exchange and assert: read strictly, written down and read back."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
from mtls_as.server.client_policy import read_claims, read_exchange, read_jwt_bearer
from mtls_as.server.clients import ClientSource, format_client, parse_client

EXCHANGE, BEARER = (f"urn:ietf:params:oauth:grant-type:{name}" for name in ("token-exchange", "jwt-bearer"))
CLIENT: dict[str, Any] = {
    "client_id": "orders",
    "trust": "default",
    "token_endpoint_auth_method": "tls_client_auth",
    "tls_client_auth_san_dns": "orders.example",
    "grant_types": ["client_credentials", EXCHANGE, BEARER],
    "authorization_details_types": ["payment_initiation"],
    "resources": ["https://stock.example"],
    "exchange": {
        "audiences": ["https://orders.example"],
        "clients": ["frontend"],
        "issuers": ["https://idp.example"],
        "actors": ["agent"],
        "impersonation": True,
    },
    "jwt_bearer": {"issuers": ["https://idp.example"], "subjects": {"alice@idp.example": "alice"}},
    "claims": {"tenant": "example", "levels": [1, 2.5, {"deep": None}]},
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["audiences", "clients", "issuers", "subjects", "sub", "x"]), inner)
    ),
    max_leaves=10,
)


def problems(changes: dict[str, Any]) -> set[str]:
    members = {name: value for name, value in (CLIENT | changes).items() if value is not ...}
    with pytest.raises(ClientMetadataError) as caught:
        parse_client(members, ClientSource.CONFIGURATION)
    return {member for member, _ in caught.value.problems}


def test_a_registration_round_trips() -> None:
    """What is written down is read back the same."""
    client = parse_client(CLIENT, ClientSource.STORAGE)
    assert parse_client(format_client(client), ClientSource.STORAGE) == client
    assert CLIENT.items() <= format_client(client).items()


def test_by_default_nothing_is_allowed() -> None:
    """A client that may exchange may exchange its own tokens, and no other's."""
    members = CLIENT | {"grant_types": [EXCHANGE]}
    bare = {name: members[name] for name in ("client_id", "trust", "token_endpoint_auth_method", "grant_types")}
    client = parse_client({**bare, "tls_client_auth_san_dns": "orders.example"}, ClientSource.STORAGE)
    policy = client.exchange
    assert (policy.audiences, policy.clients, policy.issuers, policy.actors) == ((), (), (), ())
    assert not policy.impersonation
    assert "exchange" not in format_client(client)


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"exchange": {"audience": []}}, {"exchange.audience"}),
        ({"exchange": {"clients": "frontend"}}, {"exchange.clients"}),
        ({"exchange": {"impersonation": "yes"}}, {"exchange.impersonation"}),
        ({"exchange": []}, {"exchange"}),
        ({"jwt_bearer": {}}, {"jwt_bearer.issuers"}),
        ({"jwt_bearer": {"issuers": []}}, {"jwt_bearer.issuers"}),
        ({"jwt_bearer": {"issuers": ["https://idp.example"], "subjects": {}}}, {"jwt_bearer.subjects"}),
        ({"jwt_bearer": {"issuers": ["https://idp.example"], "subjects": {"a": ""}}}, {"jwt_bearer.subjects"}),
        ({"jwt_bearer": {"issuers": ["https://idp.example"], "subjects": {"a": 1}}}, {"jwt_bearer.subjects"}),
        ({"jwt_bearer": ...}, {"jwt_bearer"}),
        ({"grant_types": ["client_credentials"]}, {"exchange", "jwt_bearer"}),
        ({"grant_types": [EXCHANGE + "x"]}, {"grant_types"}),
        ({"claims": {"sub": "admin"}}, {"claims.sub"}),
        ({"claims": []}, {"claims"}),
        ({"resources": "https://stock.example"}, {"resources"}),
    ],
)
def test_what_cannot_be_registered(changes: dict[str, Any], places: set[str]) -> None:
    """Misspelt, of the wrong type, without its grant, or reserved; the place says where."""
    assert problems(changes) == places


def test_a_policy_without_its_grant_cannot_be_constructed() -> None:
    client = parse_client(CLIENT, ClientSource.STORAGE)
    metadata = replace(client.metadata, grant_types=("client_credentials",))
    with pytest.raises(ClientMetadataError):
        replace(client, metadata=metadata)


@given(json_values)
def test_no_values_raise_anything_else(value: object) -> None:
    """A parser of hostile input raises its own error alone."""
    reader = MemberReader({"a": value}, ("a",))
    read_exchange(reader, "a")
    read_jwt_bearer(reader, "a")
    read_claims(reader, "a")
    for member in ("exchange", "jwt_bearer", "claims"):
        with contextlib.suppress(ClientMetadataError):
            parse_client(CLIENT | {member: value}, ClientSource.STORAGE)
