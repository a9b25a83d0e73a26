"""`client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1): a secret that this server made for the client."""

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7591_client_metadata import ClientSecret
from mtls_as.server.client_authentication.credentials import Credential, PresentedSecret, wrong_method
from mtls_as.server.client_secrets import is_secret
from mtls_as.server.clients import Client


def verify_secret(authentication: ClientSecret, credential: Credential | None, *, client: Client, at: float) -> None:
    """Compare the secret with those of the client, in constant time. Raises `OAuthError` `invalid_client`.

    It must come the way that the client registered: one that was put into a form by mistake has been logged by now.
    """
    if not isinstance(credential, PresentedSecret) or credential.method != authentication.method:
        raise wrong_method(f"the client authenticates by {authentication.method}")
    if not is_secret(credential.text, client.secrets, at=at):
        detail = "the secret is none of the client's, or has ended"
        raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.WRONG_SECRET, detail)
