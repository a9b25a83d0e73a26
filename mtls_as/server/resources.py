"""Protected resources: whom access tokens are for, and the scopes each resource understands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource server's identifier (an absolute URI, RFC 8707 §2) and the scopes it knows (RFC 6749 §3.3)."""

    identifier: str
    scopes: tuple[str, ...]
