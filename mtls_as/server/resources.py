"""Protected resources: whom access tokens are for, and the scopes each resource understands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class TokenFormat(StrEnum):
    """The form of access tokens: signed claims (RFC 9068), or a text that only introspection explains (RFC 7662)."""

    JWT = "jwt"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource server's identifier (an absolute URI, RFC 8707 §2) and the scopes it knows (RFC 6749 §3.3)."""

    identifier: str
    scopes: tuple[str, ...]
    algorithm: str | None = None
    """What signs its tokens; None for the server's own choice."""
    token_format: TokenFormat | None = None
    """The form of its tokens; None for the server's own choice."""
    introspection_clients: tuple[str, ...] = ()
    """The clients that this resource server is: they may introspect the tokens that are for it (RFC 7662 §2.1)."""
    authorization_details_types: tuple[str, ...] = ()
    """The types of `authorization_details` that it knows (RFC 9396 §2)."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """Further claims of its tokens, none of them reserved."""
