"""The client credentials grant (RFC 6749 §4.4): the client asks for itself."""

from dataclasses import dataclass
from typing import ClassVar

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import NONE
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.policy import Authorization, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentialsGrant:
    """Scope and resource are all there is to decide."""

    grant_type: ClassVar[str] = "client_credentials"
    policy: Policy

    async def authorize(self, authenticated: AuthenticatedClient, form: Form, *, at: float) -> Authorization:  # noqa: ARG002 # as `Grant`
        """What the client may have of what it asks for.

        Raises `OAuthError`: `unauthorized_client` for a public client (RFC 6749 §4.4.2), `invalid_scope`,
        `invalid_target`, `invalid_authorization_details`.
        """
        if authenticated.method == NONE:
            detail = "the client did not authenticate, which this grant demands"
            raise OAuthError(ErrorCode.UNAUTHORIZED_CLIENT, Refusal.GRANT_NOT_ALLOWED, detail)
        return self.policy.authorize(authenticated.client, form)
