"""Revocations by operators: they end tokens before their time."""

import re
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import Form, parse_form
from mtls_as.rfc.rfc8705_mtls import is_thumbprint
from mtls_as.server.endpoints.admin.call import (
    AdminCall,
    AdministrationError,
    AdminResult,
    Handlers,
)
from mtls_as.server.endpoints.admin.routes import REVOKE_TOKENS
from mtls_as.server.events import RequestEvent
from mtls_as.server.revocation import LONGEST_LIFE, Revocation
from mtls_as.server.revocations import Revocations

_SUBJECTS: Final = ("token_id", "client_id", "certificate")
_MAX_NAME_LENGTH: Final = 256
"""No `jti` or `client_id` is longer: what could match nothing is not remembered on every node for a day."""
_SECONDS: Final = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationAdministration:
    """Ends tokens before their time."""

    revocations: Revocations

    def handlers(self) -> Handlers:
        return {REVOKE_TOKENS: self.revoke}

    async def revoke(self, call: AdminCall, event: RequestEvent) -> AdminResult:
        """End the tokens that the form names; on return that is stored, and every node hears of it.

        The form names one token (`token_id`), the tokens of a client (`client_id`) or of a certificate (`certificate`,
        its x5t#S256), or with `before` alone all of them. `before` is epoch seconds, now by default. Raises
        `AdministrationError` and `StorageUnavailable`.
        """
        revocation = _revocation(parse_form(call.body), at=call.at)
        event.target = f"{revocation.kind} {revocation.value}".rstrip()
        await self.revocations.revoke(revocation)
        return AdminResult()


def _revocation(form: Form, *, at: float) -> Revocation:
    if unknown := form.names - {*_SUBJECTS, "before"}:
        # A subject that is misspelt, or left empty by a script, is never to end the tokens of everybody.
        raise _malformed(f"there is no parameter {min(unknown)}")
    if empty := [name for name in sorted(form.names) if name not in form]:
        raise _malformed(f"{empty[0]} is empty")
    named = [name for name in _SUBJECTS if name in form]
    if len(named) > 1:
        raise _malformed(f"the form names {' and '.join(named)}, and must name one")
    if any(len(form.get(name) or "") > _MAX_NAME_LENGTH for name in named):
        raise _malformed(f"{named[0]} has more than {_MAX_NAME_LENGTH} characters")
    before = _before(form, at=at)
    if token_id := form.get("token_id"):
        return Revocation.of_token(token_id, expires_at=at + LONGEST_LIFE)
    if client_id := form.get("client_id"):
        return Revocation.of_client(client_id, before=before)
    if thumbprint := form.get("certificate"):
        if not is_thumbprint(thumbprint):
            raise _malformed("certificate is not an x5t#S256")
        return Revocation.of_certificate(thumbprint, before=before)
    form.require("before")
    return Revocation.of_everything(before=before)


def _before(form: Form, *, at: float) -> float:
    text = form.get("before")
    if text is None:
        return at
    if not _SECONDS.fullmatch(text) or int(text) > at:
        raise _malformed("before is a time in epoch seconds that is not to come")
    return float(text)


def _malformed(detail: str) -> AdministrationError:
    return AdministrationError(Refusal.MALFORMED_REQUEST, detail)
