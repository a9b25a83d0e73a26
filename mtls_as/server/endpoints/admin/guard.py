"""The one way into the administration over HTTP: an access token of this server, bound to the caller's certificate.

Nothing is granted by the address that a request comes from, by a header, or by the certificate alone. Tokens are
judged by the server's own state rather than by what it publishes, so one that was revoked opens nothing at once.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mtls_as.pki.path import CertificateRefused
from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc6750_bearer import MalformedBearerRequest, bearer_token
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, parse_confirmation
from mtls_as.rfc.rfc8705_mtls import ConfirmationError, thumbprints_equal, x5t_s256
from mtls_as.server.endpoints.admin.call import Administrator
from mtls_as.server.endpoints.admin.routes import AdminScope
from mtls_as.server.events import RequestEvent
from mtls_as.server.issued_tokens import ActiveTokens, GenuineToken, TokenNotActive
from mtls_as.server.ports import TrustSource


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminCredentials:
    """What a request shows. `certificate` is the one whose key this connection proved, `at` is in epoch seconds."""

    authorization: tuple[bytes, ...] = field(repr=False)
    """The values of the Authorization headers, as they are."""
    query: bytes = field(repr=False)
    certificate: PresentedCertificate | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminGuard:
    """Lets administrators in. `audience` is the resource that their tokens are for."""

    audience: str
    tokens: ActiveTokens
    trust: TrustSource

    async def admit(
        self, request: AdminCredentials, event: RequestEvent, *, needs: Collection[AdminScope]
    ) -> Administrator:
        """The administrator, who holds one of the scopes `needs`.

        (1) There is one token, in the Authorization header, as a bearer token is sent; (2) it is active: of this
        server, not expired, not revoked, of a client that is enabled; (3) it is for this resource; (4) it is bound to a
        certificate, which is that of this connection (RFC 8705 §3), and whose trust domain still vouches for it: a
        certificate that was revoked since opens nothing; (5) it has one of the scopes, to the letter.

        Raises `OAuthError`: `invalid_request`, `invalid_token`, `insufficient_scope` or `temporarily_unavailable`.
        """
        if request.certificate is not None:
            event.certificate_thumbprint = x5t_s256(request.certificate.leaf.der)
        text = _token(request)  # (1)
        token = await self._active(text, request.at)  # (2)
        event.client_id, event.source_token_id = token.client_id, token.token_id
        if self.audience not in token.audience:  # (3)
            raise _invalid_token(Refusal.TOKEN_NOT_FOR_CALLER, "the token is not for the administration")
        certificate = _require_possession(token, request.certificate)  # (4)
        await self._require_trust(token, certificate, at=request.at)
        scopes = frozenset(str(token.claims.get("scope", "")).split(" "))
        if scopes.isdisjoint(needs):  # (5)
            detail = f"the token has none of the scopes {' '.join(sorted(needs))}"
            raise OAuthError(ErrorCode.INSUFFICIENT_SCOPE, Refusal.SCOPE_NOT_ALLOWED, detail)
        return Administrator(name=token.client_id, scopes=scopes)

    async def _active(self, text: str, at: float) -> GenuineToken:
        try:
            return await self.tokens.find(text, at=at)
        except TokenNotActive as error:
            raise _invalid_token(error.refusal, error.detail) from None

    async def _require_trust(self, token: GenuineToken, certificate: PresentedCertificate, *, at: float) -> None:
        """Of clients whose certificates chain to nothing, the token says all there is to say."""
        client = await self.tokens.clients.find(token.client_id)
        if client is None or client.trust is None:
            return
        try:
            moment = datetime.fromtimestamp(at, UTC)
            await self.trust.current().verify_online(certificate, domain=client.trust, at=moment)
        except CertificateRefused as error:
            raise _invalid_token(error.refusal, error.detail) from None


def _token(request: AdminCredentials) -> str:
    try:
        text = bearer_token(request.authorization, request.query)
    except MalformedBearerRequest as error:
        raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.MALFORMED_REQUEST, str(error)) from None
    if text is None:
        raise _invalid_token(Refusal.TOKEN_UNKNOWN, "the request has no access token")
    return text


def _require_possession(token: GenuineToken, certificate: PresentedCertificate | None) -> PresentedCertificate:
    try:
        binding = parse_confirmation(token.claims.get("cnf"))
    except ConfirmationError as error:
        raise _invalid_token(Refusal.NO_CERTIFICATE, f"the token is not bound: {error}") from None
    if not isinstance(binding, CertificateBinding):
        raise _invalid_token(Refusal.NO_CERTIFICATE, "the token is not bound to a certificate")
    if certificate is None:
        raise _invalid_token(Refusal.NO_CERTIFICATE, "the connection carries no client certificate")
    if not thumbprints_equal(binding.thumbprint, x5t_s256(certificate.leaf.der)):
        raise _invalid_token(Refusal.SUBJECT_MISMATCH, "the token is bound to another certificate")
    return certificate


def _invalid_token(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_TOKEN, refusal, detail)
