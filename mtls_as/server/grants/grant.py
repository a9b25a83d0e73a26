"""What a grant is: a name, and what it makes of an authenticated client's request."""

from typing import Protocol

from mtls_as.rfc.rfc6749_framework import Form
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.policy import Authorization


class Grant(Protocol):
    """A grant type of the token endpoint."""

    @property
    def grant_type(self) -> str:
        """The value of `grant_type` that selects it."""
        ...

    async def authorize(self, authenticated: AuthenticatedClient, form: Form, *, at: float) -> Authorization:
        """What the token may say and allow, for a request at a time in epoch seconds. Raises `OAuthError`."""
        ...
