"""Makes access tokens: RFC 9068 claims, bound to what the client holds, in the form that the resource takes.

That is a JWT signed with the active key, or an opaque token whose claims the server tells by introspection.
"""

import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, Confirmation, DPoPBinding
from mtls_as.rfc.rfc8705_mtls import certificate_thumbprint
from mtls_as.rfc.rfc9068_at_jwt import ACCESS_TOKEN_TYPE, encode_claims
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.opaque_tokens import OpaqueTokens
from mtls_as.server.policy import Authorization
from mtls_as.server.resources import TokenFormat
from mtls_as.server.signing_keys import SigningKey
from mtls_as.server.status_indices import StatusPlaces
from mtls_as.server.token_signing import TokenSigner

_NO_STATUS: Final[Mapping[str, object]] = MappingProxyType({})


class IssuedToken(Struct, frozen=True, kw_only=True):  # one for each request, in a tenth of a dataclass's time
    """A new access token; `expires_in` in seconds."""

    access_token: str
    token_id: str
    expires_in: int
    scope: tuple[str, ...]
    confirmation: Confirmation | None
    """What it is bound to; None for a bearer token."""

    __repr__ = object.__repr__  # the token is a secret where it is not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenIssuer:
    """Issues the tokens of one issuer. `new_token_id` gives an unguessable `jti` at each call."""

    issuer: str
    algorithm: str
    """What signs, unless the resource has an algorithm of its own."""
    signer: TokenSigner
    opaque_tokens: OpaqueTokens
    new_token_id: Callable[[], str]
    format: TokenFormat = TokenFormat.JWT
    """The form of the tokens, unless the resource has one of its own."""
    resource_formats: Mapping[str, TokenFormat] = field(default_factory=dict)
    """By the identifier of a resource, the form of its tokens."""
    resource_algorithms: Mapping[str, str] = field(default_factory=dict)
    """By the identifier of a resource, the algorithm that its tokens are signed with."""
    status: StatusPlaces | None = None
    """Gives JWTs their places in status lists, if there are any."""

    async def issue(
        self,
        authenticated: AuthenticatedClient,
        authorization: Authorization,
        *,
        at: float,
        dpop_key: str | None = None,
    ) -> IssuedToken:
        """Issue a token for what `authorization` allows, bound to what the client's registration says.

        That is the certificate of this connection (RFC 8705 §3), or the key of its DPoP proof, by its thumbprint
        `dpop_key` (RFC 9449 §5). A token ends with its certificate at the latest, and before the key that signs it
        leaves the key set.

        Raises `OAuthError`: `invalid_client` when there is to be a certificate, and there is none or nothing left of
        its life; `invalid_dpop_proof` when there is to be a proof, and `invalid_request` when it would be a second
        binding; `temporarily_unavailable` where nothing can sign.
        """
        client = authenticated.client
        key = self._key(authorization.resource, at)
        certificate = self._bound_certificate(authenticated)
        confirmation = _confirmation(authenticated, certificate, dpop_key)
        issued_at = int(at)
        expires_at = issued_at + authorization.lifetime
        if certificate is not None:
            expires_at = min(expires_at, int(certificate.leaf.not_after.timestamp()))
        if expires_at <= issued_at:
            detail = "nothing is left of the certificate's life"
            raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.CERTIFICATE_EXPIRED, detail)
        if key is not None:
            expires_at = min(expires_at, _last_second(key, issued_at=issued_at) or expires_at)
        if authorization.ends_by is not None:
            expires_at = min(expires_at, int(authorization.ends_by))
        token_id, status = self.new_token_id(), _NO_STATUS
        if self.status is not None and key is not None:
            token_id, status = await self.status.take(
                token_id, client.client_id, confirmation, issued_at=issued_at, expires_at=expires_at
            )
        claims = encode_claims(
            issuer=self.issuer,
            subject=authorization.subject or client.client_id,
            client_id=client.client_id,
            audience=(authorization.resource,),
            scope=authorization.scope,
            issued_at=issued_at,
            expires_at=expires_at,
            jwt_id=token_id,
            confirmation=confirmation,
        )
        claims = {**authorization.further_claims(self.issuer), **claims, **status}
        return IssuedToken(
            access_token=await self._write(claims, key),
            token_id=token_id,
            expires_in=expires_at - issued_at,
            scope=authorization.scope,
            confirmation=confirmation,
        )

    def _bound_certificate(self, authenticated: AuthenticatedClient) -> PresentedCertificate | None:
        """The certificate to bind to; None only for a client that asked for DPoP or for bearer tokens (RFC 8705 §3.4).

        Bearer tokens are for a client that has no certificate, or has one because its method needs one. A certificate
        that plays no other part is there to bind the token.
        """
        if authenticated.client.metadata.dpop_bound_access_tokens:
            return None
        if not authenticated.client.metadata.tls_client_certificate_bound_access_tokens:
            return None if authenticated.proof is not None else authenticated.certificate
        if authenticated.certificate is None:
            detail = "the client's tokens are bound, and the connection carries no certificate"
            raise OAuthError(ErrorCode.INVALID_CLIENT, Refusal.NO_CERTIFICATE, detail)
        return authenticated.certificate

    def _key(self, resource: str, at: float) -> SigningKey | None:
        """What signs a token for a resource; None for an opaque one. Raises `OAuthError` `temporarily_unavailable`."""
        if self.resource_formats.get(resource, self.format) is TokenFormat.OPAQUE:
            return None
        return self.signer.key(self.resource_algorithms.get(resource, self.algorithm), at)

    def _write(self, claims: Mapping[str, object], key: SigningKey | None) -> Coroutine[Any, Any, str]:
        """The token with these claims, signed with the key, or else opaque. Raises `OAuthError`."""
        if key is None:
            return self.opaque_tokens.write(claims)
        return self.signer.sign(claims, type=ACCESS_TOKEN_TYPE, key=key)


def new_token_id() -> str:
    """An unguessable `jti`: 128 bits of what `secrets` is made of, in base64url."""
    return encode_base64url(os.urandom(16))


def _confirmation(
    authenticated: AuthenticatedClient, certificate: PresentedCertificate | None, dpop_key: str | None
) -> Confirmation | None:
    """The one binding of a token. A proof of a client that never registered for DPoP binds what nothing else does."""
    if dpop_key is None:
        if authenticated.client.metadata.dpop_bound_access_tokens:
            detail = "the client's tokens are bound to DPoP keys, and there is no DPoP header"
            raise OAuthError(ErrorCode.INVALID_DPOP_PROOF, Refusal.DPOP_PROOF_MISSING, detail)
        return None if certificate is None else CertificateBinding(certificate_thumbprint(certificate.leaf))
    if certificate is not None:
        detail = "the certificate binds the client's tokens, and there is a DPoP proof too"
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.DPOP_NOT_REGISTERED, detail)
    return DPoPBinding(dpop_key)


def _last_second(key: SigningKey, *, issued_at: int) -> int | None:
    """When the key leaves the key set, if that is known: nobody could verify a token from then on."""
    if key.expires_at is None:
        return None
    if int(key.expires_at) <= issued_at:
        detail = f"the {key.algorithm} key that signs ends now, and has no successor"
        raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, detail)
    return int(key.expires_at)
