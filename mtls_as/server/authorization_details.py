"""The declared types of `authorization_details` (RFC 9396 §2), each with the JSON Schema that its objects must pass.

Schemas are the operator's own, of the draft 2020-12; each is compiled once. What a schema refers to stands in itself:
nothing is fetched, and nothing else is read. What checks them is imported where a type is declared.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from mtls_as.rfc.rfc8259_json import JSONError, parse_json
from mtls_as.rfc.rfc9396_rar import AuthorizationDetailsError, Detail

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

MAX_SCHEMA_BYTES: Final = 64 * 1024

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES: Final = ("$ref", "$dynamicRef")


class SchemaUnusable(Exception):  # noqa: N818 - it says what is the case
    """A schema that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class AuthorizationDetailsTypes:
    """The types there are."""

    _validators: Mapping[str, "Draft202012Validator"] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, schemas: Mapping[str, object]) -> Self:
        """The types with these schemas, parsed JSON, by their names. Raises `SchemaUnusable`."""
        return cls(MappingProxyType({name: _compile(schema) for name, schema in schemas.items()}))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the types, in the order of the configuration."""
        return tuple(self._validators)

    def check(self, details: Iterable[Detail]) -> None:
        """Raise `AuthorizationDetailsError` unless each object is of a type that is declared, and passes its schema."""
        for detail in details:
            validator = self._validators.get(str(detail["type"]))
            if validator is None:
                raise AuthorizationDetailsError("an object is of a type that is not declared")
            error = next(validator.iter_errors(detail), None)
            if error is not None:
                # Where the object fails, and against which rule: its values are not for the log.
                raise AuthorizationDetailsError(f"{detail['type']} {error.json_path}: against {error.validator}")


def read_schema(file: Path) -> object:
    """The JSON of a schema's file. Raises `SchemaUnusable`."""
    try:
        data = file.read_bytes()
        if len(data) > MAX_SCHEMA_BYTES:
            raise SchemaUnusable(f"{file}: has more than {MAX_SCHEMA_BYTES} bytes")
        return parse_json(data)
    except OSError as error:
        raise SchemaUnusable(f"{file}: {error.strerror or error}") from None
    except JSONError as error:
        raise SchemaUnusable(f"{file}: {error}") from None


def _compile(schema: object) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, dict):
        raise SchemaUnusable("a schema is an object")
    if schema.get("$schema", _DIALECT) != _DIALECT:
        raise SchemaUnusable(f"$schema must be {_DIALECT}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SchemaUnusable(f"{error.json_path}: {error.message[:200]}") from None
    except RecursionError:
        raise SchemaUnusable("it is nested too deeply") from None
    for members in _objects(schema):
        if "$id" in members or "$anchor" in members or "$dynamicAnchor" in members:
            raise SchemaUnusable("$id and anchors are not supported: refer to parts of the schema by #/$defs/NAME")
        for keyword in _REFERENCES:
            _check_reference(members.get(keyword, "#"), schema)
    validator = Draft202012Validator(schema, registry=_empty_registry())
    try:
        next(validator.iter_errors({"type": "x"}), None)
    except RecursionError:
        raise SchemaUnusable("it refers to itself without end") from None
    return validator


def _empty_registry() -> Any:  # noqa: ANN401 # the library's own type is generic over what it calls a schema
    """Knows no other schema, and fetches none."""
    from referencing import Registry

    return Registry()


def _objects(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _objects(item)


def _check_reference(reference: object, schema: dict[str, object]) -> None:
    """A pointer into the schema itself (RFC 6901), to something that is there."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise SchemaUnusable(f"{json.dumps(reference)[:200]} refers to something outside of the schema")
    found: object = schema
    for step in reference.split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if not isinstance(found, dict | bool):
        raise SchemaUnusable(f"{json.dumps(reference)[:200]} refers to something that is not there")
