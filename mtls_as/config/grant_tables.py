"""The tables of `config.toml` about what tokens are given for and say: issuers, authorization details, claims hooks."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc6749_framework import parse_scope
from mtls_as.rfc.rfc9396_rar import MAX_TYPE_LENGTH


def check_name(text: str) -> str | None:
    """A path, a name, or the beginning of one."""
    return None if text and text.isprintable() else "must be a text that is not empty"


def check_url(text: str) -> str | None:
    """An endpoint."""
    return None if is_https_url(text) else "must be an https URL with a host, without user and fragment"


def check_other_issuer(text: str) -> str | None:
    """Another issuer: a slash at its end is a part of its name."""
    return "must not have a query" if "?" in text else check_url(text)


def check_scope(text: str) -> str | None:
    """Scopes, separated by spaces (RFC 6749 §3.3)."""
    try:
        parse_scope(text)
    except ValueError as error:
        return str(error)
    return None


def check_details_type(text: str) -> str | None:
    """A type of authorization details (RFC 9396 §2)."""
    if 0 < len(text) <= MAX_TYPE_LENGTH and text.isprintable():
        return None
    return f"must have 1 to {MAX_TYPE_LENGTH} printable characters"


Name = Annotated[str, check_name]
URL = Annotated[str, check_url]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: unknown keys are errors."""


class IssuerTable(_Table, frozen=True):
    issuer: Annotated[str, check_other_issuer]
    scope: Annotated[str, check_scope]
    jwks: dict[str, Any] | None = None
    jwks_uri: URL | None = None
    algorithms: Annotated[
        list[Literal["ES256", "PS256", "EdDSA", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]], Meta(min_length=1)
    ] = field(default_factory=lambda: ["ES256", "PS256", "EdDSA"])
    subject_prefix: Name | None = None
    max_lifetime: Annotated[int, Meta(ge=30, le=86_400)] = 3600


class AuthorizationDetailsTable(_Table, frozen=True):
    schema: Name


class ClaimsHookTable(_Table, frozen=True):
    entry_point: Name | None = None
    url: URL | None = None
    timeout: Annotated[float, Meta(ge=0.05, le=10)] = 1.0
    fail: Literal["closed", "open"] = "closed"
    ca: Name | None = None
    certificate: Name | None = None
    private_key: Name | None = None
