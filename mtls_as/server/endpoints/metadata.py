"""The metadata document (RFC 8414), derived once from what is switched on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from mtls_as.rfc.rfc7523_assertion import ALGORITHMS
from mtls_as.rfc.rfc7591_client_metadata import CERTIFICATE_METHODS, PRIVATE_KEY_JWT
from mtls_as.rfc.rfc8414_metadata import authorization_server_metadata
from mtls_as.rfc.rfc9449_dpop import ALGORITHMS as DPOP_ALGORITHMS

STATUS_PATH: Final = "/status"
"""Below the URL of the listener whose documents need no certificate: where all status lists are, and each below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataEndpoint:
    """What one server says of itself, and the URLs its listeners are reached by (no slash at the end)."""

    issuer: str
    mtls_url: str
    public_url: str | None
    """The listener that asks for no certificate, if there is one."""
    document: Mapping[str, object]

    @classmethod
    def of(
        cls,
        *,
        issuer: str,
        mtls_url: str,
        public_url: str | None,
        grant_types: Iterable[str],
        scopes: Iterable[str],
        authentication_methods: Iterable[str] = CERTIFICATE_METHODS,
        introspection_algorithms: Iterable[str] = (),
        authorization_details_types: Iterable[str] = (),
        has_registration: bool = False,
        has_status_lists: bool = False,
    ) -> Self:
        """Describe a server. With a public listener, clients find the mutual-TLS endpoints as aliases (RFC 8705 §5).

        There is introspection where something signs its answers (`introspection_algorithms`). Raises `MetadataError`
        for an issuer or a URL that metadata cannot name.
        """
        methods = tuple(authentication_methods)
        signing = tuple(introspection_algorithms)
        endpoints = {"token_endpoint": f"{mtls_url}/token", "revocation_endpoint": f"{mtls_url}/revoke"}
        if signing:
            endpoints["introspection_endpoint"] = f"{mtls_url}/introspect"
        if has_registration:
            endpoints["registration_endpoint"] = f"{mtls_url}/register"
        documents = {"jwks_uri": f"{public_url or mtls_url}/jwks"}
        if has_status_lists:
            documents["status_list_aggregation_endpoint"] = f"{public_url or mtls_url}{STATUS_PATH}"
        document = authorization_server_metadata(
            issuer=issuer,
            endpoints={**endpoints, **documents},
            aliases=endpoints if public_url else None,
            grant_types=grant_types,
            token_endpoint_auth_methods=methods,
            scopes=scopes,
            certificate_bound=True,
            assertion_algorithms=ALGORITHMS if PRIVATE_KEY_JWT in methods else (),
            introspection_algorithms=signing,
            dpop_algorithms=DPOP_ALGORITHMS,
            authorization_details_types=authorization_details_types,
        )
        return cls(issuer=issuer, mtls_url=mtls_url, public_url=public_url, document=document)
