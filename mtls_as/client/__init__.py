"""The client's side: gets access tokens with a certificate and keeps them fresh, for httpx."""

from mtls_as.client.auth import MutualTLSAuth, fetch_token
from mtls_as.client.errors import (
    AuthorizationServerError,
    ClientConfigurationError,
    ClientError,
    InsecureRequest,
    TokenRequestError,
)
from mtls_as.client.exchange import AccessToken

__all__ = [
    "AccessToken",
    "AuthorizationServerError",
    "ClientConfigurationError",
    "ClientError",
    "InsecureRequest",
    "MutualTLSAuth",
    "TokenRequestError",
    "fetch_token",
]
