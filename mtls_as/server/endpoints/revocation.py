"""The revocation endpoint (RFC 7009): a client gives back tokens of its own."""

from dataclasses import dataclass

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.client_authentication.authenticated import AuthenticatedClient
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.endpoints.client_request import ClientRequest, authenticate, read_form
from mtls_as.server.events import RequestEvent
from mtls_as.server.issued_tokens import GenuineToken, TokenNotActive, TokenReader
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocation import Revocation
from mtls_as.server.revocations import Revocations


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationEndpoint:
    """Revokes a token for the client that it was issued to."""

    authenticator: ClientAuthenticator
    reader: TokenReader
    revocations: Revocations

    async def answer(self, request: ClientRequest, event: RequestEvent) -> None:
        """Revoke the token; it stays so once this returns. Notes in `event` what became known. Raises `OAuthError`.

        A token that is unknown, ended or another client's is left as it is, and the client hears no more than of its
        own (§2.2): nobody learns here whether a token that came into his hands is good. `token_type_hint` changes
        nothing (§2.1), and since every kind of token can be revoked, nothing is an `unsupported_token_type` (§2.2.1).
        """
        attempt = read_form(request, event)
        token = attempt.form.require("token")
        caller = await authenticate(self.authenticator, attempt, event)
        try:
            found = await self.reader.read(token, at=request.at)
            _require_revocable(found, caller, request.at)
        except TokenNotActive as reason:
            event.note_inactive(reason.refusal, reason.detail, reason.token_id)
            return
        event.token_id = found.token_id
        try:
            await self.revocations.revoke(Revocation.of_token(found.token_id, expires_at=found.expires_at))
        except StorageUnavailable as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None


def _require_revocable(token: GenuineToken, caller: AuthenticatedClient, at: float) -> None:
    if token.client_id != caller.client.client_id:
        detail = f"it was issued to {token.client_id}"
        raise TokenNotActive(Refusal.TOKEN_OF_ANOTHER_CLIENT, detail, token_id=token.token_id)
    if at >= token.expires_at:
        raise TokenNotActive(Refusal.TOKEN_EXPIRED, "it has ended by itself", token_id=token.token_id)
