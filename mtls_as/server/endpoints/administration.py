"""Revocations asked for over HTTP by an operator: a resource of this server's own, guarded by its own bound tokens.

The caller holds an access token for the administration's resource, bound to the certificate of its connection, with the
scope of what it does. There is no other way in, and nothing is granted by the address that a request comes from.
"""

import re
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, Form, OAuthError, parse_form
from mtls_as.rfc.rfc6750_bearer import MalformedBearerRequest, bearer_token
from mtls_as.rfc.rfc7800_confirmation import CertificateBinding, parse_confirmation
from mtls_as.rfc.rfc8705_mtls import ConfirmationError, thumbprints_equal, x5t_s256
from mtls_as.server.endpoints.client_request import ClientRequest
from mtls_as.server.events import RequestEvent
from mtls_as.server.issued_tokens import ActiveTokens, GenuineToken, TokenNotActive
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocation import LONGEST_LIFE, Revocation
from mtls_as.server.revocations import Revocations

REVOCATIONS_SCOPE: Final = "mtls-as:admin:revocations"

_SUBJECTS: Final = ("token_id", "client_id", "certificate")
_MAX_NAME_LENGTH: Final = 256
"""No `jti` or `client_id` is longer: what could match nothing is not remembered on every node for a day."""
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationAdministration:
    """Ends tokens before their time. `audience` is the resource that its callers' tokens are for."""

    audience: str
    tokens: ActiveTokens
    revocations: Revocations

    async def answer(self, request: ClientRequest, event: RequestEvent) -> None:
        """End the tokens that the form names; on return that is stored, and every node hears of it.

        (1) The token is active, for this resource, (2) bound to the certificate of this connection, (3) with the scope;
        (4) the form names one token (`token_id`), the tokens of a client (`client_id`) or of a certificate
        (`certificate`, its x5t#S256), or with `before` alone all of them. `before` is epoch seconds, now by default.

        Raises `OAuthError`: `invalid_token`, `insufficient_scope`, `invalid_request` or `temporarily_unavailable`.
        """
        caller = await self._caller(request, event)  # (1)
        _require_possession(caller, request)  # (2)
        if REVOCATIONS_SCOPE not in str(caller.claims.get("scope", "")).split(" "):  # (3)
            detail = f"the token does not have the scope {REVOCATIONS_SCOPE}"
            raise OAuthError(ErrorCode.INSUFFICIENT_SCOPE, Refusal.SCOPE_NOT_ALLOWED, detail)
        revocation = _revocation(parse_form(request.body), at=request.at)  # (4)
        event.detail = f"revoked {revocation.kind} {revocation.value}"
        try:
            await self.revocations.revoke(revocation)
        except StorageUnavailable as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None

    async def _caller(self, request: ClientRequest, event: RequestEvent) -> GenuineToken:
        try:
            text = bearer_token([value.encode("latin-1") for value in request.authorization], b"")
        except MalformedBearerRequest as error:
            raise OAuthError(ErrorCode.INVALID_REQUEST, Refusal.MALFORMED_REQUEST, str(error)) from None
        if text is None:
            raise _invalid_token(Refusal.TOKEN_UNKNOWN, "the request has no access token")
        try:
            token = await self.tokens.find(text, at=request.at)
        except TokenNotActive as error:
            raise _invalid_token(error.refusal, error.detail) from None
        event.client_id, event.source_token_id = token.client_id, token.token_id
        if self.audience not in token.audience:
            raise _invalid_token(Refusal.TOKEN_NOT_FOR_CALLER, "the token is not for the administration")
        return token


def _require_possession(token: GenuineToken, request: ClientRequest) -> None:
    """RFC 8705 §3: only a token bound to a certificate, over a connection that proved its key."""
    try:
        binding = parse_confirmation(token.claims.get("cnf"))
    except ConfirmationError as error:
        raise _invalid_token(Refusal.NO_CERTIFICATE, f"the token is not bound: {error}") from None
    if not isinstance(binding, CertificateBinding):
        raise _invalid_token(Refusal.NO_CERTIFICATE, "the token is not bound to a certificate")
    if request.certificate is None:
        raise _invalid_token(Refusal.NO_CERTIFICATE, "the connection carries no client certificate")
    if not thumbprints_equal(binding.thumbprint, x5t_s256(request.certificate.leaf.der)):
        raise _invalid_token(Refusal.SUBJECT_MISMATCH, "the token is bound to another certificate")


def _revocation(form: Form, *, at: float) -> Revocation:
    named = [name for name in _SUBJECTS if name in form]
    if len(named) > 1:
        raise _invalid_request(Refusal.MALFORMED_REQUEST, f"the form names {' and '.join(named)}, and must name one")
    if any(len(form.get(name) or "") > _MAX_NAME_LENGTH for name in named):
        raise _invalid_request(Refusal.MALFORMED_REQUEST, f"{named[0]} has more than {_MAX_NAME_LENGTH} characters")
    before = _before(form, at=at)
    if token_id := form.get("token_id"):
        return Revocation.of_token(token_id, expires_at=at + LONGEST_LIFE)
    if client_id := form.get("client_id"):
        return Revocation.of_client(client_id, before=before)
    if thumbprint := form.get("certificate"):
        if not _THUMBPRINT.fullmatch(thumbprint):
            raise _invalid_request(Refusal.MALFORMED_REQUEST, "certificate is not an x5t#S256")
        return Revocation.of_certificate(thumbprint, before=before)
    form.require("before")
    return Revocation.of_everything(before=before)


def _before(form: Form, *, at: float) -> float:
    text = form.get("before")
    if text is None:
        return at
    if not _SECONDS.fullmatch(text) or int(text) > at:
        raise _invalid_request(Refusal.MALFORMED_REQUEST, "before is a time in epoch seconds that is not to come")
    return float(text)


def _invalid_token(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_TOKEN, refusal, detail)


def _invalid_request(refusal: Refusal, detail: str) -> OAuthError:
    return OAuthError(ErrorCode.INVALID_REQUEST, refusal, detail)
