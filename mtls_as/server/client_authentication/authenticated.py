"""What a request brings to authenticate its client, and the proof that it did."""

from msgspec import Struct

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.rfc6749_framework import Form
from mtls_as.rfc.rfc7591_client_metadata import CERTIFICATE_PROOFS
from mtls_as.rfc.spiffe_id import SpiffeID
from mtls_as.server.clients import Client


class AuthenticationRequest(Struct, frozen=True, kw_only=True):  # as `AuthenticatedClient`
    """The parts of a request that can authenticate a client.

    `certificate` is what the TLS layer saw: its key was proven on this connection, nothing else about it is verified.
    """

    form: Form
    certificate: PresentedCertificate | None
    at: float
    authorization: tuple[str, ...] = ()
    """The values of its Authorization headers, as they are."""

    __repr__ = object.__repr__  # there are secrets in it


class AuthenticatedClient(Struct, frozen=True, kw_only=True):  # one for each request, in a tenth of a dataclass's time
    """A registered, enabled client that proved who it is; made by `ClientAuthenticator` alone."""

    client: Client
    method: str
    certificate: PresentedCertificate | None
    """The one on the connection, whatever part it played: it binds the token (RFC 8705 §3)."""
    spiffe_id: SpiffeID | None = None
    """The workload, where the method proves one; a client may be many (draft-ietf-oauth-spiffe-client-auth-02 §5.1)."""

    @property
    def proof(self) -> PresentedCertificate | None:
        """The certificate, if it proved who the client is; beside an assertion or a secret it only binds the token."""
        return self.certificate if self.method in CERTIFICATE_PROOFS else None

    @property
    def vouching_domain(self) -> str | None:
        """The trust domain that vouched for the client, with `spiffe://` before it for one of SPIFFE."""
        return self.client.trust if self.spiffe_id is None else f"spiffe://{self.spiffe_id.trust_domain}"
