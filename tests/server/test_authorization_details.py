"""The schemas of authorization details: what they may say, and what passes them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.rfc.rfc9396_rar import AuthorizationDetailsError
from mtls_as.server.authorization_details import (
    MAX_SCHEMA_BYTES,
    AuthorizationDetailsTypes,
    SchemaUnusable,
    read_schema,
)

PAYMENT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["type", "instructedAmount"],
    "properties": {
        "type": {"const": "payment_initiation"},
        "instructedAmount": {"$ref": "#/$defs/amount"},
        "creditorName": {"type": "string", "maxLength": 70},
    },
    "additionalProperties": False,
    "$defs": {
        "amount": {
            "type": "object",
            "required": ["currency", "amount"],
            "properties": {"currency": {"enum": ["EUR"]}, "amount": {"type": "string", "pattern": "^[0-9]{1,9}$"}},
        }
    },
}
GOOD = {"type": "payment_initiation", "instructedAmount": {"currency": "EUR", "amount": "123"}}


@pytest.fixture(scope="module")
def types() -> AuthorizationDetailsTypes:
    return AuthorizationDetailsTypes.of({"payment_initiation": PAYMENT, "anything": {}})


def test_what_passes(types: AuthorizationDetailsTypes) -> None:
    types.check([GOOD, {"type": "anything", "x": 1}])
    assert types.names == ("payment_initiation", "anything")


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "unknown"},
        {"instructedAmount": {"currency": "USD", "amount": "1"}},
        {"instructedAmount": {"currency": "EUR", "amount": 1}},
        {"instructedAmount": None},
        {"more": 1},
    ],
)
def test_what_does_not(types: AuthorizationDetailsTypes, changes: dict[str, object]) -> None:
    """The message says where, and quotes no value."""
    with pytest.raises(AuthorizationDetailsError) as caught:
        types.check([GOOD | changes])
    assert "USD" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        [],
        {"type": "objekt"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$ref": "https://schemas.example/payment.json"},
        {"properties": {"a": {"$ref": "other.json"}}},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"properties": {"a": {"$ref": "#anchor"}}},
        {"properties": {"a": {"$ref": 1}}},
        {"items": [{"$dynamicRef": "#meta"}]},
        {"$id": "https://schemas.example/"},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_schemas_that_cannot_be_used(schema: object) -> None:
    """Nothing outside of the schema is referred to, and no reference goes round in circles."""
    with pytest.raises(SchemaUnusable):
        AuthorizationDetailsTypes.of({"a": schema})


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    with pytest.raises(SchemaUnusable, match="No such file"):
        read_schema(file)
    file.write_text("{")
    with pytest.raises(SchemaUnusable, match="JSON"):
        read_schema(file)
    file.write_bytes(b" " * (MAX_SCHEMA_BYTES + 1))
    with pytest.raises(SchemaUnusable, match="more than"):
        read_schema(file)
    file.write_text("{}")
    assert read_schema(file) == {}


@given(st.dictionaries(st.sampled_from([*GOOD, "creditorName", "x"]), st.none() | st.integers() | st.text()))
def test_objects_are_refused_by_one_error_alone(types: AuthorizationDetailsTypes, changes: dict[str, object]) -> None:
    try:
        types.check([{**GOOD, **changes, "type": "payment_initiation"}])
    except AuthorizationDetailsError:
        return
