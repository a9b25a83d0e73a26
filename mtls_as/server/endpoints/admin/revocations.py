"""Revocations by operators: they end tokens before their time."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3339_time import format_time
from mtls_as.rfc.rfc6749_framework import Form, parse_form
from mtls_as.rfc.rfc8705_mtls import is_thumbprint
from mtls_as.server.clients import Client
from mtls_as.server.endpoints.admin.call import (
    AdminCall,
    AdministrationError,
    AdminResult,
    Handlers,
)
from mtls_as.server.endpoints.admin.routes import REVOKE_TOKENS
from mtls_as.server.events import RequestEvent
from mtls_as.server.issued_tokens import TokenNotActive, TokenReader
from mtls_as.server.revocation import LONGEST_LIFE, Revocation

_SUBJECTS: Final = ("token", "token_id", "client_id", "certificate")
_MAX_NAME_LENGTH: Final = 256
"""No `jti` or `client_id` is longer: what could match nothing is not remembered on every node for a day."""
_SECONDS: Final = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationAdministration:
    """Ends tokens before their time."""

    revoke_for_all: Callable[[Revocation], Awaitable[None]]
    """On return it is stored, and every node hears of it. Raises `StorageUnavailable`."""
    reader: TokenReader
    find_client: Callable[[str], Awaitable[Client | None]]
    """A client, declared or stored."""

    def handlers(self) -> Handlers:
        return {REVOKE_TOKENS: self.revoke}

    async def revoke(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """End the tokens that the form names.

        It names one `token`, or its jti (`token_id`), the tokens of a client (`client_id`) or of a certificate
        (`certificate`, its x5t#S256), or with `before` alone all of them. `before` is epoch seconds, now by default.
        Raises `AdministrationError` and `StorageUnavailable`.
        """
        revocation = await self._revocation(_form(call.body), at=call.at)
        event.target = f"{revocation.kind} {revocation.value}".rstrip()
        await self.revoke_for_all(revocation)
        return AdminResult(
            document={
                "kind": revocation.kind.value,
                "value": revocation.value,
                "issued_before": format_time(min(revocation.issued_before, call.at)),
            }
        )

    async def _revocation(self, form: Form, *, at: float) -> Revocation:
        before = _before(form, at=at)
        if token := form.get("token"):
            return await self._of_token(token, at=at)
        if token_id := form.get("token_id"):
            return Revocation.of_token(token_id, expires_at=at + LONGEST_LIFE)
        if client_id := form.get("client_id"):
            if await self.find_client(client_id) is None:
                message = f"no client {client_id} is registered; the tokens of a client that was deleted are not active"
                raise AdministrationError(Refusal.TARGET_UNKNOWN, message)
            return Revocation.of_client(client_id, before=before)
        if thumbprint := form.get("certificate"):
            if not is_thumbprint(thumbprint):
                raise _malformed("certificate: an x5t#S256 is the SHA-256 of a certificate, 43 characters of base64url")
            return Revocation.of_certificate(thumbprint, before=before)
        if "before" not in form:
            raise _malformed("the form names no token, no client, no certificate and no time")
        return Revocation.of_everything(before=before)

    async def _of_token(self, text: str, *, at: float) -> Revocation:
        try:
            found = await self.reader.read(text, at=at)
        except TokenNotActive as reason:
            raise AdministrationError(Refusal.TARGET_UNKNOWN, f"no token of this server: {reason.detail}") from None
        if at >= found.expires_at:
            message = f"the token {found.token_id} has expired at {format_time(found.expires_at)}"
            raise AdministrationError(Refusal.TARGET_CONFLICT, message)
        return Revocation.of_token(found.token_id, expires_at=found.expires_at)


def _form(body: bytes) -> Form:
    form = parse_form(body)
    if unknown := form.names - {*_SUBJECTS, "before"}:
        # A subject that is misspelt, or left empty by a script, is never to end the tokens of everybody.
        raise _malformed(f"there is no parameter {min(unknown)}")
    if empty := [name for name in sorted(form.names) if name not in form]:
        raise _malformed(f"{empty[0]} is empty")
    named = [name for name in _SUBJECTS if name in form]
    if len(named) > 1:
        raise _malformed(f"the form names {' and '.join(named)}, and must name one")
    if any(len(form.get(name) or "") > _MAX_NAME_LENGTH for name in named if name != "token"):
        raise _malformed(f"{named[0]} has more than {_MAX_NAME_LENGTH} characters")
    return form


def _before(form: Form, *, at: float) -> float:
    text = form.get("before")
    if text is None:
        return at
    if not _SECONDS.fullmatch(text) or float(text) > at:
        raise _malformed("before is a time in epoch seconds that is not to come")
    return float(text)


def _malformed(detail: str) -> AdministrationError:
    return AdministrationError(Refusal.MALFORMED_REQUEST, detail)
