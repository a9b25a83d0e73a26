"""Makes access tokens: RFC 9068 claims, bound to the certificate (RFC 8705 §3.1), signed with the active key."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7519_jwt import sign
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from mtls_as.rfc.rfc9068_at_jwt import ACCESS_TOKEN_TYPE, encode_claims
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.policy import Authorization
from mtls_as.server.ports import SigningKeySource
from mtls_as.server.signing_keys import NoSigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A signed access token; `expires_in` in seconds."""

    access_token: str = field(repr=False)
    token_id: str
    expires_in: int
    scope: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenIssuer:
    """Issues the tokens of one issuer. `new_token_id` gives an unguessable `jti` at each call."""

    issuer: str
    algorithm: str
    signing_keys: SigningKeySource
    new_token_id: Callable[[], str]

    def issue(self, authenticated: AuthenticatedClient, authorization: Authorization, *, at: float) -> IssuedToken:
        """Issue a token for what `authorization` allows, to be used with the certificate of this connection.

        It ends with the certificate at the latest. Raises `OAuthError`: `invalid_client` when binding is required and
        there is no certificate or nothing left of its life, `temporarily_unavailable` without an active key.
        """
        client = authenticated.client
        certificate = self._bound_certificate(authenticated)
        issued_at = int(at)
        expires_at = issued_at + authorization.lifetime
        if certificate is not None:
            expires_at = min(expires_at, int(certificate.leaf.not_after.timestamp()))
        if expires_at <= issued_at:
            detail = "nothing is left of the certificate's life"
            raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.CERTIFICATE_EXPIRED, detail)
        token_id = self.new_token_id()
        claims = encode_claims(
            issuer=self.issuer,
            subject=client.client_id,
            client_id=client.client_id,
            audience=(authorization.resource,),
            scope=authorization.scope,
            issued_at=issued_at,
            expires_at=expires_at,
            jwt_id=token_id,
            confirmation=None if certificate is None else x5t_s256(certificate.leaf.der),
        )
        return IssuedToken(
            access_token=self._sign(claims, at=at),
            token_id=token_id,
            expires_in=expires_at - issued_at,
            scope=authorization.scope,
        )

    def _bound_certificate(self, authenticated: AuthenticatedClient) -> PresentedCertificate | None:
        """The certificate to bind to; None only for a client that asked for bearer tokens (RFC 8705 §3.4)."""
        if not authenticated.client.metadata.tls_client_certificate_bound_access_tokens:
            return None
        if authenticated.certificate is None:
            detail = "the client's tokens are bound, and the connection carries no certificate"
            raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.NO_CERTIFICATE, detail)
        return authenticated.certificate

    def _sign(self, claims: dict[str, object], *, at: float) -> str:
        try:
            key = self.signing_keys.current().active(self.algorithm, at)
        except NoSigningKey as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None
        return sign(claims, type=ACCESS_TOKEN_TYPE, kid=key.kid, algorithm=key.algorithm, private_key=key.private_key)
