"""A holder of a DPoP key: makes proofs, honest by default; every member of header and claims can be replaced."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc7517_jwk import public_jwk, thumbprint
from mtls_as.rfc.rfc7519_jwt import signing_function
from mtls_as.rfc.rfc9449_dpop import access_token_hash
from tests.authority import new_key
from tests.verifier.issuer import segment, without_omitted

KINDS = {"ES256": "P-256", "PS256": "RSA-2048", "EdDSA": "Ed25519"}


class DPoPKey:
    def __init__(self, algorithm: str = "ES256", *, clock: Callable[[], float] = time.time) -> None:
        self.algorithm = algorithm
        self.private_key: Any = new_key(KINDS[algorithm])
        self.thumbprint = thumbprint(self.private_key.public_key())
        self._clock = clock

    @property
    def jwk(self) -> dict[str, str]:
        """The public key with its required members alone."""
        members = public_jwk(self.private_key.public_key(), kid="", algorithm="")
        return {name: value for name, value in members.items() if name not in {"kid", "alg", "use"}}

    def claims(self, method: str, url: str, *, token: str | None = None, **replaced: Any) -> dict[str, Any]:
        claims = {"jti": secrets.token_urlsafe(8), "htm": method, "htu": url, "iat": int(self._clock())}
        if token is not None:
            claims["ath"] = access_token_hash(token)
        return without_omitted(claims | replaced)

    def proof(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        members = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk} | dict(header or {})
        return self.sign(without_omitted(members), self.claims(method, url, token=token, **claims))

    def sign(self, header: Any, payload: Any) -> str:
        """Sign a header and a payload as they are."""
        message = f"{segment(header)}.{segment(payload)}"
        signature = signing_function(self.algorithm, self.private_key)(message.encode())
        return f"{message}.{encode_base64url(signature)}"


def private_members(key: Any) -> dict[str, str]:
    """The members that would give a key away (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2)."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return {"d": encode_base64url(key.private_numbers().private_value.to_bytes(32))}
        case rsa.RSAPrivateKey():
            return {"d": encode_base64url(key.private_numbers().d.to_bytes(256))}
        case ed25519.Ed25519PrivateKey():
            return {"d": encode_base64url(key.private_bytes_raw())}
    raise AssertionError(key)
