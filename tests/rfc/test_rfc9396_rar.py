"""RFC 9396: the parameter `authorization_details`, with the examples of the RFC."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc9396_rar import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_OBJECTS,
    AuthorizationDetailsError,
    equals,
    is_location_within,
    parse_authorization_details,
    read_authorization_details,
    types_of,
)

# RFC 9396 §2, figure 2; and §2.2, figure 5.
PAYMENT = {
    "type": "payment_initiation",
    "actions": ["initiate", "status", "cancel"],
    "locations": ["https://example.com/payments"],
    "instructedAmount": {"currency": "EUR", "amount": "123.50"},
    "creditorName": "Merchant A",
    "creditorAccount": {"iban": "DE02100100109307118603"},
    "remittanceInformationUnstructured": "Ref Number Merchant",
}
CUSTOMERS = {
    "type": "customer_information",
    "locations": ["https://example.com/customers"],
    "actions": ["read", "write"],
    "datatypes": ["contacts", "photos"],
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "locations", "actions", "identifier", "x"]), inner)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("details", [[PAYMENT], [PAYMENT, CUSTOMERS]])
def test_examples_of_the_rfc(details: list[dict[str, object]]) -> None:
    assert list(parse_authorization_details(json.dumps(details))) == details
    assert types_of(details)[0] == "payment_initiation"


def test_types_stand_once() -> None:
    assert types_of([CUSTOMERS, PAYMENT, CUSTOMERS]) == ("customer_information", "payment_initiation")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "[1]",
        '[{"actions":["read"]}]',
        '[{"type":""}]',
        '[{"type":["a"]}]',
        '[{"type":"a","type":"b"}]',
        '[{"type":"a","actions":"read"}]',
        '[{"type":"a","actions":[1]}]',
        '[{"type":"a","identifier":1}]',
        '[{"type":"a","locations":["relative"]}]',
        '[{"type":"a","locations":["https://u@host.example/"]}]',
        '[{"type":"a","amount":NaN}]',
        '[{"type":"a","amount":1e999}]',
        '[{"type":"a","x":"\\ud800"}]',
        '[{"type":"a"}',
        '[{"type":"' + "a" * 300 + '"}]',
        '[{"type":"a","x":"' + "a" * MAX_BYTES + '"}]',
        json.dumps([{"type": "a"}] * (MAX_OBJECTS + 1)),
        '[{"type":"a","x":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}]",
        "[" * 5000,
    ],
)
def test_what_is_refused(text: str) -> None:
    """§5: unknown shapes, sizes beyond the bounds, and JSON with two meanings."""
    with pytest.raises(AuthorizationDetailsError):
        parse_authorization_details(text)


def test_the_deepest_that_is_allowed() -> None:
    parse_authorization_details('[{"type":"a","x":' + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2) + "}]")


def test_locations_stand_below_a_resource_by_whole_segments() -> None:
    assert is_location_within("https://api.example", "https://api.example")
    assert is_location_within("https://api.example/payments", "https://api.example")
    assert is_location_within("https://api.example/a", "https://api.example/")
    assert not is_location_within("https://api.example.evil", "https://api.example")
    assert not is_location_within("https://api.example", "https://api.example/payments")


def test_values_compare_as_json_does() -> None:
    assert equals({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]})
    for one, other in (
        (True, 1),
        (1, 1.0),
        ([1], [1, 1]),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, {"b": 1}),
        ("1", 1),
    ):
        assert not equals(one, other)


@given(st.text() | json_values.map(json.dumps))
def test_texts_are_refused_by_one_error_alone(text: str) -> None:
    try:
        details = parse_authorization_details(text)
    except AuthorizationDetailsError:
        return
    assert 0 < len(details) <= MAX_OBJECTS
    assert all(isinstance(detail["type"], str) for detail in details)


@given(json_values)
def test_claims_are_refused_by_one_error_alone(value: object) -> None:
    try:
        read_authorization_details(value)
    except AuthorizationDetailsError:
        return
