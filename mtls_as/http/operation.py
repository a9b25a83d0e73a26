"""What a route does, said for machines: the typed description that stands beside each route (OpenAPI 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Schema = Mapping[str, object]
"""A JSON Schema (2020-12), or a reference to one of `mtls_as.http.schemas`."""

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


class Security(StrEnum):
    """What a caller may prove itself by; the members are the names of OpenAPI security schemes."""

    MUTUAL_TLS = "mutualTLS"
    CLIENT_SECRET = "clientSecret"  # noqa: S105 # a scheme's name
    INITIAL_ACCESS_TOKEN = "initialAccessToken"  # noqa: S105 # a scheme's name
    REGISTRATION_ACCESS_TOKEN = "registrationAccessToken"  # noqa: S105 # a scheme's name
    BOUND_ACCESS_TOKEN = "boundAccessToken"  # noqa: S105 # a scheme's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A body of one media type."""

    media_type: str = JSON
    schema: Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer: what it means, and the bodies that it can have; none for an empty one."""

    description: str
    contents: tuple[Content, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names of headers, and what each says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path below its listener's URL. A part in braces stands for any text without slash."""

    name: str
    """In camel case: `operationId`."""
    method: str
    path: str
    summary: str
    standard: str
    """Where it is specified: “RFC 7009 §2”."""
    tag: str
    request: Content | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    """The parameters that its query may have."""
    responses: Mapping[int, Response]
    """By status; the refusals that every operation shares need not be named."""
    security: tuple[tuple[Security, ...], ...] = ()
    """Ways to prove oneself, each a set of schemes; an empty way among them is none at all."""
