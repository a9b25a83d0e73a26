"""Registrations that registrants made, and the tokens that let them: 256 random bits, of which a digest is kept."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.server.clients import Client
from mtls_as.server.registration_policy import RegistrationPolicy

TOKEN_BYTES: Final = 32
MAX_CLIENTS_OF_A_CERTIFICATE: Final = 100
"""How many clients one certificate can have registered at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialAccessToken:
    """A credential for registering clients (RFC 7591 §1.2), while it has uses left. Times are epoch seconds."""

    digest: str = field(repr=False)
    policy: RegistrationPolicy
    uses_left: int
    expires_at: float

    def is_good(self, at: float) -> bool:
        return self.uses_left > 0 and at < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is kept of a registration beside its client. `policy` bounds every later update, too."""

    client: Client
    access_token_digest: str = field(repr=False)
    """Of the registration access token (RFC 7592 §1.2)."""
    policy: RegistrationPolicy
    registered_at: float
    certificate_thumbprint: str | None
    """The `x5t#S256` of the certificate on the connection that it came by."""
    software_statement: str | None = None


class RegistrationImpossible(Exception):  # noqa: N818 - it says what is the case
    """A registration that the storage did not take; nothing was changed. `refusal` and `detail` say why."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal}: {detail}")
        self.refusal = refusal
        self.detail = detail


def make_token(random: Callable[[int], bytes] = secrets.token_bytes) -> tuple[str, str]:
    """A new token as 43 characters of base64url, to be shown once, and the digest that is kept of it."""
    text = encode_base64url(random(TOKEN_BYTES))
    return text, token_digest(text)


def token_digest(text: str) -> str:
    """What is kept of a token. One SHA-256 is enough for what nobody can guess (`mtls_as.server.client_secrets`)."""
    return encode_base64url(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
