"""Clients that authenticate with signed assertions: their keys, and assertions good and bad, signed by PyJWT."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import jwt

from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.rfc.rfc7523_assertion import CLIENT_ASSERTION_TYPE
from tests.authority import PrivateKey, new_key

ISSUER = "https://localhost:8443"


@dataclass
class AssertingClient:
    """A client with one key."""

    client_id: str
    kid: str = "k1"
    algorithm: str = "ES256"
    key: PrivateKey = field(default_factory=new_key)

    @property
    def jwk(self) -> dict[str, Any]:
        return dict(public_jwk(self.key.public_key(), kid=self.kid, algorithm=self.algorithm))  # type: ignore[arg-type] # a key that has a JWK

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.jwk]}

    def assertion(self, *, header: dict[str, Any] | None = None, key: Any = None, **changed: Any) -> str:
        """An assertion of one minute for this project's issuer, changed at will; None leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": ISSUER,
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(8),
        } | changed
        given = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": self.kid} | (header or {})
        return jwt.encode(given, key or self.key, algorithm=headers.get("alg", self.algorithm), headers=headers)

    def form(self, **options: Any) -> dict[str, str]:
        """The parameters that carry such an assertion."""
        return carry(self.assertion(**options))


def carry(assertion: str) -> dict[str, str]:
    """The parameters that carry an assertion (RFC 7521 §4.2)."""
    return {"client_assertion_type": CLIENT_ASSERTION_TYPE, "client_assertion": assertion}
