"""RFC 8414, authorization server metadata: the document, where it stands, and the aliases of RFC 8705 §5."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from mtls_as.rfc.rfc3986_uri import is_https_url

WELL_KNOWN: Final = "/.well-known/oauth-authorization-server"


class MetadataError(ValueError):
    """The issuer or its metadata breaks a rule of RFC 8414 or RFC 8705 §5. The message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """What this project reads from an authorization server's metadata. All URLs are absolute `https` URLs."""

    issuer: str
    token_endpoint: str | None
    introspection_endpoint: str | None
    jwks_uri: str | None
    mtls_endpoint_aliases: Mapping[str, str]

    @property
    def mtls_token_endpoint(self) -> str | None:
        """Where a client with a certificate asks for tokens: the alias comes first (RFC 8705 §5)."""
        return self.mtls_endpoint_aliases.get("token_endpoint", self.token_endpoint)

    @property
    def mtls_introspection_endpoint(self) -> str | None:
        """Where a resource server with a certificate asks about tokens, likewise."""
        return self.mtls_endpoint_aliases.get("introspection_endpoint", self.introspection_endpoint)


def metadata_url(issuer: str) -> str:
    """The URL of an issuer's metadata: the well-known path stands between host and path (RFC 8414 §3.1).

    Raises `MetadataError` for an issuer that is not an `https` URL without query and fragment (§2).
    """
    if not is_https_url(issuer) or "?" in issuer:
        raise MetadataError("an issuer is an https URL with a host, without query, fragment and user information")
    parts = urlsplit(issuer)
    return f"https://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}"


def authorization_server_metadata(
    *,
    issuer: str,
    endpoints: Mapping[str, str],
    aliases: Mapping[str, str] | None,
    grant_types: Iterable[str],
    token_endpoint_auth_methods: Iterable[str],
    scopes: Iterable[str],
    certificate_bound: bool,
    assertion_algorithms: Iterable[str] = (),
    introspection_algorithms: Iterable[str] = (),
    dpop_algorithms: Iterable[str] = (),
    authorization_details_types: Iterable[str] = (),
) -> dict[str, object]:
    """The metadata document (RFC 8414 §2). `endpoints` are members and URLs (`token_endpoint`, `jwks_uri`, …).

    `aliases` are the endpoints of the listener that asks for certificates (RFC 8705 §5), by the same names: each must
    also stand in `endpoints`, end in `_endpoint` and not be the authorization endpoint, which no client calls itself.
    `assertion_algorithms` sign client assertions, if some method takes any; `introspection_algorithms` sign answers to
    introspection (RFC 9701 §7), if there is any; `dpop_algorithms` sign DPoP proofs; the
    `authorization_details_types` are those of RFC 9396 §10. Raises `MetadataError`.
    """
    metadata_url(issuer)
    for name, url in (*endpoints.items(), *(aliases or {}).items()):
        if not is_https_url(url):
            raise MetadataError(f"{name} is not an https URL")
    for name in aliases or ():
        if name not in endpoints or not name.endswith("_endpoint") or name == "authorization_endpoint":
            raise MetadataError(f"{name} cannot have an alias")
    document: dict[str, object] = {
        "issuer": issuer,
        **endpoints,
        "grant_types_supported": list(grant_types),
        "response_types_supported": [],  # required by §2, and there is no authorization endpoint
        "scopes_supported": list(scopes),
        **_authentication(endpoints, list(token_endpoint_auth_methods), list(assertion_algorithms)),
        "tls_client_certificate_bound_access_tokens": certificate_bound,
    }
    if signing := list(introspection_algorithms):
        document["introspection_signing_alg_values_supported"] = signing
    if dpop := list(dpop_algorithms):
        document["dpop_signing_alg_values_supported"] = dpop  # RFC 9449 §5.1
    if details_types := list(authorization_details_types):
        document["authorization_details_types_supported"] = details_types
    if aliases:
        document["mtls_endpoint_aliases"] = dict(aliases)
    return document


def _authentication(
    endpoints: Mapping[str, str], methods: Sequence[str], algorithms: Sequence[str]
) -> dict[str, list[str]]:
    """How clients authenticate at each endpoint: the same everywhere, but who introspects must prove who it is."""
    members = {}
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        if name in endpoints:
            taken = [method for method in methods if name != "introspection_endpoint" or method != "none"]
            members[f"{name}_auth_methods_supported"] = taken
            if algorithms:
                members[f"{name}_auth_signing_alg_values_supported"] = list(algorithms)
    return members


def parse_metadata(document: object, *, issuer: str) -> ServerMetadata:
    """Read a metadata document fetched for `issuer`, which it must name to the character (RFC 8414 §3.3).

    Raises `MetadataError` and nothing else. The message quotes nothing of the document.
    """
    if not isinstance(document, dict):
        raise MetadataError("metadata is an object")
    if document.get("issuer") != issuer:
        raise MetadataError("the metadata is of another issuer")
    aliases = document.get("mtls_endpoint_aliases", {})
    if not isinstance(aliases, dict):
        raise MetadataError("mtls_endpoint_aliases is not an object")
    # Aliases of names that do not end in `_endpoint` mean nothing (RFC 8705 §5).
    urls = {name: _url(aliases, name) for name in aliases if name.endswith("_endpoint")}
    return ServerMetadata(
        issuer=issuer,
        token_endpoint=_url(document, "token_endpoint"),
        introspection_endpoint=_url(document, "introspection_endpoint"),
        jwks_uri=_url(document, "jwks_uri"),
        mtls_endpoint_aliases=MappingProxyType({name: url for name, url in urls.items() if url is not None}),
    )


def _url(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not is_https_url(value):
        raise MetadataError(f"{name} is not an https URL")
    return value
