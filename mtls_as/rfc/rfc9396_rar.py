"""RFC 9396, OAuth 2.0 Rich Authorization Requests: the parameter `authorization_details`, and its common data fields.

What else an object of some type must hold is for that type's schema to say. Where the standard leaves a choice: objects
compare whole, so nothing is ever taken to be part of something else.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from mtls_as.rfc.rfc8259_json import JSONError, parse_json
from mtls_as.rfc.rfc8707_resource import ResourceError, parse_resource

MAX_BYTES: Final = 8 * 1024
MAX_OBJECTS: Final = 16
MAX_DEPTH: Final = 8
"""How deep arrays and objects are nested, the parameter's own array and its objects among them."""
MAX_TYPE_LENGTH: Final = 256

Detail = Mapping[str, object]
"""One object of the array: JSON, with a `type` (§2)."""
Details = tuple[Detail, ...]

_TEXTS: Final = ("locations", "actions", "datatypes", "privileges")


class AuthorizationDetailsError(Exception):
    """The parameter is not what §2 says, or too large. The message quotes no value."""


def parse_authorization_details(text: str) -> Details:
    """Read the parameter: an array of 1 to 16 objects, each with its `type`, 8 KiB and 8 levels at most (§2).

    The common data fields (§2.2) are of the types that they have there, and `locations` are absolute URIs. Raises
    `AuthorizationDetailsError` and nothing else.
    """
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_BYTES:
        raise AuthorizationDetailsError(f"{len(data)} bytes, and {MAX_BYTES} are allowed")
    try:
        value = parse_json(data)
    except JSONError as error:
        raise AuthorizationDetailsError(str(error)) from None
    return read_authorization_details(value)


def read_authorization_details(value: object) -> Details:
    """The same for JSON that is parsed already: a claim of a token. Raises `AuthorizationDetailsError` alone."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_OBJECTS:
        raise AuthorizationDetailsError(f"it is an array of 1 to {MAX_OBJECTS} objects")
    if not _is_shallow(value, MAX_DEPTH):
        raise AuthorizationDetailsError(f"it is nested more than {MAX_DEPTH} deep, or holds no JSON")
    return tuple(_read(item) for item in value)


def types_of(details: Iterable[Detail]) -> tuple[str, ...]:
    """The types of some objects, each once, in their order."""
    return tuple(dict.fromkeys(str(detail["type"]) for detail in details))


def is_location_within(location: str, resource: str) -> bool:
    """Whether a location (§2.2) is a resource or stands below it, by the characters of its identifier."""
    return location == resource or location.startswith(resource.rstrip("/") + "/")


def equals(one: object, other: object) -> bool:
    """Whether two JSON values are the same; to Python, true would equal 1."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(equals(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(equals, one, other))
        case _:
            return type(one) is type(other) and one == other


def _read(item: object) -> Detail:
    if not isinstance(item, dict):
        raise AuthorizationDetailsError("it holds something that is not an object")
    kind = item.get("type")
    if not isinstance(kind, str) or not 0 < len(kind) <= MAX_TYPE_LENGTH:
        raise AuthorizationDetailsError(f"an object has no type, a string of 1 to {MAX_TYPE_LENGTH} characters")
    for name in _TEXTS:
        if name in item and not _are_texts(item[name]):
            raise AuthorizationDetailsError(f"{name} is not an array of strings")
    if "identifier" in item and not isinstance(item["identifier"], str):
        raise AuthorizationDetailsError("identifier is not a string")
    for location in item.get("locations", ()):
        try:
            parse_resource(location)
        except ResourceError:
            raise AuthorizationDetailsError("locations holds something that is not an absolute URI") from None
    return item


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


def _is_shallow(value: object, levels: int) -> bool:
    match value:
        case dict():
            return levels > 0 and all(isinstance(n, str) and _is_shallow(v, levels - 1) for n, v in value.items())
        case list():
            return levels > 0 and all(_is_shallow(item, levels - 1) for item in value)
        case _:
            return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
