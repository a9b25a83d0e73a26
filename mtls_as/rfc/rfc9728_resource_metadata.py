"""RFC 9728, OAuth 2.0 Protected Resource Metadata: the document, and where it stands.

Where the standard leaves a choice: a resource that publishes metadata is named by a URL without a query, as §1.2
recommends; documents are not signed (§2.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final
from urllib.parse import urlsplit

from mtls_as.rfc.rfc3986_uri import is_https_url

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


class ResourceMetadataError(ValueError):
    """The resource or its metadata breaks a rule of RFC 9728. The message says which, and quotes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """What a protected resource says of itself (§2); members have the names that they have there.

    `resource` is its identifier: the audience of its tokens. The defaults are those of a resource that takes tokens
    bound to certificates, in the Authorization header. Raises `ResourceMetadataError` for what the standard excludes.
    """

    resource: str
    authorization_servers: tuple[str, ...] = ()
    """Issuers, as in `iss`."""
    scopes_supported: tuple[str, ...] = ()
    bearer_methods_supported: tuple[str, ...] = ("header",)
    tls_client_certificate_bound_access_tokens: bool = True
    dpop_bound_access_tokens_required: bool = False
    dpop_signing_alg_values_supported: tuple[str, ...] = ()
    authorization_details_types_supported: tuple[str, ...] = ()
    jwks_uri: str | None = None
    resource_name: str | None = None
    resource_documentation: str | None = None
    resource_policy_uri: str | None = None
    resource_tos_uri: str | None = None

    def __post_init__(self) -> None:
        metadata_url(self.resource)
        for name in _LISTS:  # any iterable of strings will do, but a string alone is a mistake
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(member, str) and member for member in value):
                raise ResourceMetadataError(f"{name} is a list of texts")
            object.__setattr__(self, name, tuple(value))
        if not all(map(is_https_url, self.authorization_servers)):
            raise ResourceMetadataError("authorization_servers are https URLs")
        if self.jwks_uri is not None and not is_https_url(self.jwks_uri):
            raise ResourceMetadataError("jwks_uri is not an https URL")

    @property
    def url(self) -> str:
        """Where clients find the document."""
        return metadata_url(self.resource)

    @property
    def path(self) -> str:
        """The path of `url`."""
        return urlsplit(self.url).path

    def document(self) -> dict[str, object]:
        """The JSON document (§3.2): what has no value is left out, and so is what is false by default."""
        members = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in members.items() if v}


_LISTS: Final = (
    "authorization_servers",
    "scopes_supported",
    "bearer_methods_supported",
    "dpop_signing_alg_values_supported",
    "authorization_details_types_supported",
)
_FLAGS: Final = ("tls_client_certificate_bound_access_tokens", "dpop_bound_access_tokens_required")
_TEXTS: Final = ("jwks_uri", "resource_name", "resource_documentation", "resource_policy_uri", "resource_tos_uri")


def metadata_url(resource: str) -> str:
    """The URL of a resource's metadata: the well-known path stands between host and path (§3.1).

    Raises `ResourceMetadataError` for an identifier that is not an `https` URL without query and fragment (§1.2).
    """
    if not is_https_url(resource) or "?" in resource:
        raise ResourceMetadataError("a resource with metadata is an https URL with a host, without query and fragment")
    parts = urlsplit(resource)
    return f"https://{parts.netloc}{WELL_KNOWN}{'' if parts.path == '/' else parts.path}"


def parse_resource_metadata(document: object, *, resource: str) -> ResourceMetadata:
    """Read a document fetched for `resource`, which it must name to the character (§3.3).

    Where its URL came from a challenge, `resource` is the URL that the client asked, or the resource identifier that
    the client knows it by: else anybody could speak for anybody (§7.3). Members that are not known are left out (§3.2).
    Raises `ResourceMetadataError` and nothing else.
    """
    if not isinstance(document, dict):
        raise ResourceMetadataError("metadata is an object")
    if document.get("resource") != resource:
        raise ResourceMetadataError("the metadata is of another resource")
    members: dict[str, object] = {name: _list(document, name) for name in _LISTS}
    members |= {name: _flag(document, name) for name in _FLAGS}
    members |= {name: _text(document, name) for name in _TEXTS}
    return ResourceMetadata(resource=resource, **members)  # type: ignore[arg-type] # each was read by its own type


def _list(document: Mapping[str, object], name: str) -> tuple[object, ...]:
    value = document.get(name, [])
    if not isinstance(value, list):
        raise ResourceMetadataError(f"{name} is not an array")
    return tuple(value)


def _flag(document: Mapping[str, object], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise ResourceMetadataError(f"{name} is neither true nor false")
    return value


def _text(document: Mapping[str, object], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise ResourceMetadataError(f"{name} is not a text")
    return value
