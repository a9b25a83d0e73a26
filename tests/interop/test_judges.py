"""Judges that this project did not write: by our published keys they find our tokens genuine, whatever signed them."""

import base64
import hashlib
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.interop.javascript import Node
from tests.interop.site import ALGORITHMS, Site


def fetch(site: Site, algorithm: str) -> str:
    """A token that is signed with an algorithm, by a client of httpx alone."""
    form = {"grant_type": "client_credentials", "client_id": "c1", "resource": audience(algorithm)}
    answer = httpx.post(f"{site.mtls_url}/token", data=form, verify=site.context("c1"), trust_env=False)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def audience(algorithm: str) -> str:
    return f"https://{algorithm.lower()}.example"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_jose(site: Site, node: Node, algorithm: str) -> None:
    """jose finds the signature good and the claims as they must be, and Node the thumbprint; nothing altered passes."""
    certificate, _ = site.files("c1")
    task = {"issuer": site.issuer, "audience": audience(algorithm), "algorithm": algorithm, "certificate": certificate}
    found = node.run("jose.mjs", task | {"folder": str(site.folder), "token": fetch(site, algorithm)})
    assert (found["header"]["alg"], found["header"]["typ"]) == (algorithm, "at+jwt")
    assert found["payload"]["client_id"] == found["payload"]["sub"] == "c1"
    assert found["payload"]["scope"] == "samples:read"
    assert found["payload"]["cnf"] == {"x5t#S256": found["thumbprint"]}
    assert found["refused"] == {
        "altered": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED",
        "elsewhere": "ERR_JWT_CLAIM_VALIDATION_FAILED",
        "without_keys": "ERR_JWKS_NO_MATCHING_KEY",
    }


JOSERFC = ("ES256", "PS256", "EdDSA")
"""What joserfc knows of what we sign with."""


@pytest.mark.filterwarnings(
    "ignore:EdDSA is deprecated via RFC 9864"
)  # by its fully specified names, which few know yet
@pytest.mark.parametrize("algorithm", JOSERFC)
def test_joserfc(site: Site, algorithm: str) -> None:
    """joserfc, the other half of Authlib: signature, type, issuer, audience, time, and the thumbprint by hashlib."""
    published = httpx.get(f"{site.issuer}/jwks", verify=site.context(), trust_env=False).json()
    usable = [key for key in published["keys"] if not key["alg"].startswith("ML-DSA")]
    keys: Any = KeySet.import_key_set({"keys": usable})
    token = jwt.decode(fetch(site, algorithm), keys, algorithms=[algorithm])
    rules = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": site.issuer},
        aud={"essential": True, "value": audience(algorithm)},
        exp={"essential": True},
    )
    rules.validate(token.claims)
    assert (token.header["typ"], token.header["alg"]) == ("at+jwt", algorithm)
    der = ssl.PEM_cert_to_DER_cert(Path(site.files("c1")[0]).read_text())
    digest = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    assert token.claims["cnf"] == {"x5t#S256": digest}
