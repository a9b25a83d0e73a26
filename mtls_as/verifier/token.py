"""What a resource server learns from an access token that was verified."""

from dataclasses import dataclass

from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, DPoPBinding
from mtls_as.rfc.rfc9068_at_jwt import AccessTokenClaims
from mtls_as.verifier.claims import Chain, Details, actors_of, details_of


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """An access token that was verified for one request. Made by `AccessTokenVerifier` alone."""

    claims: AccessTokenClaims

    @property
    def client_id(self) -> str:
        """The client that the token was issued to."""
        return self.claims.client_id

    @property
    def subject(self) -> str:
        """Whom the token speaks for; with the client credentials grant this is the client itself."""
        return self.claims.subject

    @property
    def scope(self) -> tuple[str, ...]:
        """What the token allows."""
        return self.claims.scope

    @property
    def expires_at(self) -> float:
        """Epoch seconds."""
        return self.claims.expires_at

    @property
    def thumbprint(self) -> str | None:
        """The thumbprint of the connection's certificate (`x5t#S256`), or None for a token that goes without one."""
        confirmation = self.claims.confirmation
        return confirmation.thumbprint if isinstance(confirmation, CertificateBinding) else None

    @property
    def dpop_thumbprint(self) -> str | None:
        """The thumbprint of the key that the request's DPoP proof is by (`jkt`), or None without one."""
        confirmation = self.claims.confirmation
        return confirmation.thumbprint if isinstance(confirmation, DPoPBinding) else None

    @property
    def actors(self) -> Chain:
        """Who acts for the subject: first who acts now; empty if the subject does (RFC 8693 §4.1)."""
        return actors_of(self.claims)

    @property
    def authorization_details(self) -> Details:
        """What exactly was authorized beside the scope (RFC 9396 §9.1)."""
        return details_of(self.claims)
