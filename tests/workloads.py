"""SPIFFE trust domains for tests: authorities, bundles, and the SVIDs of workloads, good and bad."""

import base64
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.rfc.spiffe_jwt_svid import CLIENT_ASSERTION_TYPE
from tests.authority import Authority, Identity, PrivateKey, new_key, uri

ISSUER = "https://localhost:8443"


def x509_entry(authority: Identity) -> dict[str, object]:
    """The bundle entry of a signing certificate (X509-SVID §6.1)."""
    key = public_jwk(authority.certificate.public_key(), kid="", algorithm="")  # type: ignore[arg-type] # a key that has a JWK
    kept = {name: value for name, value in key.items() if name not in {"kid", "alg"}}
    return {**kept, "use": "x509-svid", "x5c": [base64.b64encode(authority.der).decode()]}


def jwt_entry(key: PrivateKey, kid: str) -> dict[str, object]:
    """The bundle entry of a key for JWT-SVIDs (JWT-SVID §6.1)."""
    members = public_jwk(key.public_key(), kid=kid, algorithm="")  # type: ignore[arg-type] # a key that has a JWK
    return {name: value for name, value in members.items() if name != "alg"} | {"use": "jwt-svid"}


def new_authority(name: str, common_name: str = "CA", **options: Any) -> Authority:
    """A signing certificate that is an SVID itself, as SPIRE makes them."""
    from cryptography import x509

    san = x509.SubjectAlternativeName([uri(f"spiffe://{name}")])
    return Authority.create(f"{common_name} of {name}", extensions=[(san, False)], **options)


@dataclass
class TrustDomain:
    """A trust domain with one X.509 authority and one JWT authority."""

    name: str
    kid: str = "jwt-1"
    authority: Authority = field(init=False)
    jwt_key: ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        self.authority = new_authority(self.name)
        self.jwt_key = new_key()  # type: ignore[assignment] # a P-256 key by default

    def bundle(self, *extra: dict[str, object], sequence: int | None = 1, refresh_hint: int | None = 300) -> Any:
        """The bundle as a document, with further entries at its end."""
        entries = [x509_entry(self.authority), jwt_entry(self.jwt_key, self.kid), *extra]
        return document(*entries, sequence=sequence, refresh_hint=refresh_hint)

    def write(self, folder: Path, **options: Any) -> str:
        """Write the bundle into a folder; returns the file's name."""
        file = folder / f"{self.name}.bundle.json"
        file.write_text(json.dumps(self.bundle(**options)))
        return file.name

    def id(self, path: str) -> str:
        return f"spiffe://{self.name}{path}"

    def svid(self, path: str, **options: Any) -> Identity:
        """The X.509-SVID of a workload."""
        return self.authority.issue_svid(self.id(path), **options)

    def jwt_svid(self, path: str, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """The JWT-SVID of a workload, for five minutes and this project's issuer; None leaves a claim out."""
        return self.sign({"sub": self.id(path)} | claims, header=header)

    def sign(
        self,
        claims: dict[str, Any],
        *,
        header: dict[str, Any] | None = None,
        key: Any = None,
        algorithm: str = "ES256",
    ) -> str:
        """Sign claims like a JWT-SVID's, changed and added to at will."""
        now = int(time.time())
        all_claims = {"aud": [ISSUER], "iat": now, "exp": now + 300} | claims
        given = {name: value for name, value in all_claims.items() if value is not None}
        headers = {"kid": self.kid} | (header or {})
        return jwt.encode(given, key or self.jwt_key, algorithm=algorithm, headers=headers)


def document(*entries: dict[str, object], sequence: int | None = 1, refresh_hint: int | None = 300) -> dict[str, Any]:
    """A bundle with these entries; None leaves a member out."""
    members = {"keys": list(entries), "spiffe_sequence": sequence, "spiffe_refresh_hint": refresh_hint}
    return {name: value for name, value in members.items() if value is not None}


def assertion(token: str) -> dict[str, str]:
    """The parameters that carry a JWT-SVID."""
    return {"client_assertion_type": CLIENT_ASSERTION_TYPE, "client_assertion": token}
