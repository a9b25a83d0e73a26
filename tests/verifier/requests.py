"""Requests to a protected resource as no framework would describe them, and what answers them."""

from typing import Any

from mtls_as.verifier import AccessTokenVerifier, GivenCertificate, ResourceGuard, ResourceRequest
from tests.authority import self_signed
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, Issuer

AS = Issuer()
MINE, THIEF = self_signed("mine"), self_signed("thief")
TOKEN = AS.token(MINE.der)


def verifier(**arguments: Any) -> AccessTokenVerifier:
    return AccessTokenVerifier(issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW, **arguments)


def guard(**arguments: Any) -> ResourceGuard:
    return ResourceGuard(verifier(), **({"certificates": GivenCertificate()} | arguments))


def request(token: str | None = TOKEN, **replaced: Any) -> ResourceRequest:
    """Over TLS with the certificate that the token is bound to."""
    given: dict[str, Any] = {
        "method": "GET",
        "path": "/reports",
        "headers": [(b"Authorization", f"Bearer {token}".encode())] if token else [],
        "secure": True,
        "peer": "192.0.2.1",
        "connection": {"certificate": MINE.der},
    }
    return ResourceRequest(**(given | replaced))
