"""What a registrant may register: as much as its credential allows, and no more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.member_reader import MemberReader
from mtls_as.rfc.rfc3986_uri import normalise_https_url
from mtls_as.rfc.rfc6749_framework import format_scope
from mtls_as.rfc.rfc7591_client_metadata import (
    GENERAL_METHODS,
    TLS_CLIENT_AUTH,
    ClientMetadata,
    ClientMetadataError,
    JWKSUri,
    PrivateKeyJwt,
    SelfSignedTlsClientAuth,
)

REGISTRABLE_METHODS: Final = GENERAL_METHODS
"""The methods that a policy can allow: those of SPIFFE would let the registrant choose a trust domain."""
REGISTRABLE_MEMBERS: Final = (
    "token_endpoint_auth_method",
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
    "jwks",
    "jwks_uri",
    "grant_types",
    "scope",
    "tls_client_certificate_bound_access_tokens",
    "dpop_bound_access_tokens",
    "client_name",
    "trust",
)
"""The members that a registrant may set. Any other member of a registration is the operator's to decide."""
_POLICY_MEMBERS: Final = ("trust", "scope", "grant_types", "methods", "jwks_uri_prefixes")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPolicy:
    """What one credential allows. Of `trust` and `methods` the first is what a registrant gets that asks for none."""

    scope: tuple[str, ...]
    """The most; also the default."""
    trust: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ("client_credentials",)
    methods: tuple[str, ...] = (TLS_CLIENT_AUTH,)
    jwks_uri_prefixes: tuple[str, ...] = ()
    """https URLs that end with a slash; keys may be published below these, and nowhere else."""

    def members(self, requested: Mapping[str, object]) -> dict[str, object]:
        """The members of a registration: what is requested, and the defaults of this policy for the rest.

        Raises `ClientMetadataError` for what the policy does not allow. Values of a wrong type stay, for whoever reads
        the registration to refuse.
        """
        problems = list(self._problems(requested))
        if problems:
            raise ClientMetadataError(problems)
        members: dict[str, object] = {
            "token_endpoint_auth_method": self.methods[0],
            "grant_types": list(self.grant_types),
            **requested,
        }
        if self.scope:
            members.setdefault("scope", format_scope(self.scope))
        if members["token_endpoint_auth_method"] == TLS_CLIENT_AUTH and self.trust:
            members.setdefault("trust", self.trust[0])
        return members

    def check(self, metadata: ClientMetadata) -> None:
        """Check what only the metadata as it was read shows. Raises `ClientMetadataError`."""
        if not metadata.tls_client_certificate_bound_access_tokens and not metadata.dpop_bound_access_tokens:
            member = "tls_client_certificate_bound_access_tokens"
            raise ClientMetadataError([(member, "must not be false: registrants get no bearer tokens")])
        if not set(metadata.scope) <= set(self.scope):
            raise ClientMetadataError([("scope", "holds more than the credential allows")])
        if not set(metadata.grant_types) <= set(self.grant_types):
            raise ClientMetadataError([("grant_types", "holds more than the credential allows")])
        match metadata.authentication:
            case SelfSignedTlsClientAuth(keys=JWKSUri(url=url)) | PrivateKeyJwt(keys=JWKSUri(url=url)):
                self._check_jwks_uri(url)

    def _problems(self, requested: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for name in requested:
            if name not in REGISTRABLE_MEMBERS:
                yield name, "cannot be registered dynamically"
        if "trust" in requested and requested["trust"] not in self.trust:
            yield "trust", "is not one that the credential allows"
        method = requested.get("token_endpoint_auth_method")
        if method is not None and method not in self.methods:
            yield "token_endpoint_auth_method", "is not one that the credential allows"

    def _check_jwks_uri(self, url: str) -> None:
        """A server that fetches what a stranger names would be the stranger's hand in the network."""
        normal = normalise_https_url(url)
        if "?" in url or normal != url or not any(url.startswith(prefix) for prefix in self.jwks_uri_prefixes):
            raise ClientMetadataError([("jwks_uri", "is not below a prefix that the credential allows")])


def is_prefix(text: str) -> bool:
    """Whether this can be one of `jwks_uri_prefixes`: in its plainest spelling, with a slash at the end."""
    return text.endswith("/") and normalise_https_url(text) == text


def format_policy(policy: RegistrationPolicy) -> dict[str, object]:
    """The members that `parse_policy` reads back to the same policy; JSON types only."""
    return {
        "trust": list(policy.trust),
        "scope": list(policy.scope),
        "grant_types": list(policy.grant_types),
        "methods": list(policy.methods),
        "jwks_uri_prefixes": list(policy.jwks_uri_prefixes),
    }


def parse_policy(members: Mapping[str, object]) -> RegistrationPolicy:
    """Read a stored policy. Raises `ClientMetadataError`."""
    reader = MemberReader(members, _POLICY_MEMBERS)
    found = {name: reader.texts(name) for name in _POLICY_MEMBERS}
    if reader.problems or any(value is None for value in found.values()):
        raise ClientMetadataError(reader.problems or [("", "a member of the policy is missing")])
    return RegistrationPolicy(**{name: value for name, value in found.items() if value is not None})
