"""The client's side: gets access tokens with a certificate and keeps them fresh, for httpx and others.

Adapters for other libraries stand in modules of their own: `mtls_as.client.requests`, `.aiohttp` and `.grpc`.
"""

from mtls_as.client.auth import MutualTLSAuth, fetch_token
from mtls_as.client.certificate_files import CertificateFiles
from mtls_as.client.credentials import CertificateSource, Credentials
from mtls_as.client.discovery import DiscoveredResource, discover_resource, discover_resource_async
from mtls_as.client.errors import (
    AuthorizationServerError,
    ClientConfigurationError,
    ClientError,
    DiscoveryError,
    InsecureRequest,
    TokenRequestError,
)
from mtls_as.client.exchange import AccessToken
from mtls_as.client.token_source import TokenSource

__all__ = [
    "AccessToken",
    "AuthorizationServerError",
    "CertificateFiles",
    "CertificateSource",
    "ClientConfigurationError",
    "ClientError",
    "Credentials",
    "DiscoveredResource",
    "DiscoveryError",
    "InsecureRequest",
    "MutualTLSAuth",
    "TokenRequestError",
    "TokenSource",
    "discover_resource",
    "discover_resource_async",
    "fetch_token",
]
