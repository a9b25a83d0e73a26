"""What every endpoint for clients begins with: a form, and the client that sends it."""

from msgspec import Struct

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.rfc6749_framework import parse_form
from mtls_as.rfc.rfc8705_mtls import certificate_thumbprint
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient, AuthenticationRequest
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.client_authentication.credentials import claimed_client_id
from mtls_as.server.events import RequestEvent


class ClientRequest(Struct, frozen=True, kw_only=True):  # one for each request, in a tenth of a dataclass's time
    """A request of a client. `certificate` is the one whose key this connection proved, `at` is in epoch seconds."""

    body: bytes
    accept: tuple[str, ...] = ()
    """The values of the Accept headers, as they are."""
    authorization: tuple[str, ...] = ()
    """The values of the Authorization headers, likewise."""
    dpop: tuple[str, ...] = ()
    """The values of the DPoP headers, likewise."""
    certificate: PresentedCertificate | None
    at: float

    __repr__ = object.__repr__  # there are secrets in it


def read_form(request: ClientRequest, event: RequestEvent) -> AuthenticationRequest:
    """The form of a request, with all that can authenticate its client; what it says of itself is noted in `event`.

    Raises `OAuthError` `invalid_request`.
    """
    if request.certificate is not None:
        event.certificate_thumbprint = certificate_thumbprint(request.certificate.leaf)
    attempt = AuthenticationRequest(
        form=parse_form(request.body),
        authorization=request.authorization,
        certificate=request.certificate,
        at=request.at,
    )
    event.unverified_client_id = claimed_client_id(attempt)
    return attempt


async def authenticate(
    authenticator: ClientAuthenticator, attempt: AuthenticationRequest, event: RequestEvent
) -> AuthenticatedClient:
    """The client, noted in `event`. Raises `OAuthError` as `ClientAuthenticator.authenticate`."""
    authenticated = await authenticator.authenticate(attempt)
    event.client_id = authenticated.client.client_id
    event.authentication_method = authenticated.method
    event.trust = authenticated.vouching_domain
    proof = authenticated.proof
    event.certificate = None if proof is None else proof.leaf
    event.spiffe_id = None if authenticated.spiffe_id is None else str(authenticated.spiffe_id)
    if authenticator.spend is not None:
        authenticator.spend(event.endpoint, authenticated.client.client_id)
    return authenticated
