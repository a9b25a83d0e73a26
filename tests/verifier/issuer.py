"""An issuer of access tokens, honest by default; every member of header and claims can be replaced or left out."""

import json
from collections.abc import Mapping
from typing import Any

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc7517_jwk import public_jwk, thumbprint
from mtls_as.rfc.rfc7519_jwt import _IMPLEMENTATIONS
from mtls_as.rfc.rfc8705_mtls import x5t_s256
from tests.authority import new_key

ISSUER = "https://as.example"
AUDIENCE = "https://api.example"
NOW = 1_800_000_000.0
OMIT = object()


def segment(value: Any) -> str:
    return encode_base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


class Issuer:
    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        self.private_key: Any = new_key({"ES256": "P-256", "PS256": "RSA-2048", "EdDSA": "Ed25519"}[algorithm])
        self.kid = thumbprint(self.public_key)

    @property
    def public_key(self) -> Any:
        return self.private_key.public_key()

    @property
    def jwk(self) -> dict[str, str]:
        return public_jwk(self.public_key, kid=self.kid, algorithm=self.algorithm)

    @property
    def jwks(self) -> dict[str, object]:
        return {"keys": [self.jwk]}

    def claims(self, certificate: bytes | None, **replaced: Any) -> dict[str, Any]:
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": "reports",
            "client_id": "reports",
            "aud": AUDIENCE,
            "scope": "reports:read",
            "iat": int(NOW) - 60,
            "exp": int(NOW) + 240,
            "jti": "token-1",
        }
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": x5t_s256(certificate)}
        return without_omitted(claims | replaced)

    def token(self, certificate: bytes | None, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        members = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kid} | dict(header or {})
        return self.sign(segment(without_omitted(members)), segment(self.claims(certificate, **claims)))

    def sign(self, header: str, payload: str) -> str:
        """Sign two segments as they are."""
        signing_input = f"{header}.{payload}"
        signature = _IMPLEMENTATIONS[self.algorithm].sign(signing_input.encode(), self.private_key)
        return f"{signing_input}.{encode_base64url(signature)}"


def without_omitted(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not OMIT}
