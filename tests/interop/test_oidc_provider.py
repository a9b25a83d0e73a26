"""Tokens of node-oidc-provider, an authorization server of others, and our verifier, which is told its name alone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtls_as.client import MutualTLSAuth
from mtls_as.verifier import AccessTokenVerifier, InvalidToken, TokenRefusal
from mtls_as.verifier.introspection import Introspection
from tests.interop.javascript import Node
from tests.interop.site import Site, resource_server, started

OPAQUE = "https://opaque.example"
RESOURCES = {f"https://{name.lower()}.example": name for name in ("ES256", "PS256", "EdDSA")}


@pytest.fixture(scope="module")
def issuer(node: Node, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The provider, with the same parties as `site`; the resource server of `site` is one of its resources, too."""
    resources = RESOURCES | {OPAQUE: None, "https://reports.example": "ES256"}
    task = {"folder": str(site.folder), "own": site.own_jwk(), "resources": resources}
    environment = os.environ | {"TASK": json.dumps(task)}
    log = tmp_path_factory.mktemp("provider") / "log"
    with started(node.command("provider.mjs"), environment, log, r"listening on (https://localhost:\d+)") as issuer:
        yield issuer


def fetch(site: Site, issuer: str, resource: str, party: str = "c1") -> str:
    """A token, got by our client by way of the provider's metadata."""
    certificate, key = site.files(party)
    auth = MutualTLSAuth(
        issuer=issuer, client_id=party, certificate=certificate, private_key=key, ca=site.ca,
        scope="reports:read", resource=resource,
    )  # fmt: skip
    return auth.token().value


@pytest.mark.parametrize("party", ["c1", "own"])
@pytest.mark.parametrize("resource", RESOURCES)
async def test_bound_jwts(site: Site, issuer: str, resource: str, party: str) -> None:
    """Signed by each algorithm, for clients of both methods: good with the right certificate, and with no other."""
    verifier = AccessTokenVerifier(issuer=issuer, audience=resource, ssl_context=site.context())
    token = fetch(site, issuer, resource, party)
    verified = await verifier.verify(token, certificate=site.parties[party].der, scopes=["reports:read"])
    assert (verified.client_id, verified.thumbprint) == (party, site.thumbprint(party))
    thief = site.parties["thief"].der
    for other, reason in ((thief, TokenRefusal.OTHER_CERTIFICATE), (None, TokenRefusal.NO_CERTIFICATE)):
        with pytest.raises(InvalidToken) as refused:
            await verifier.verify(token, certificate=other)
        assert refused.value.reason is reason
    elsewhere = AccessTokenVerifier(issuer=issuer, audience="https://other.example", ssl_context=site.context())
    with pytest.raises(InvalidToken):
        await elsewhere.verify(token, certificate=site.parties[party].der)


async def test_opaque_tokens(site: Site, issuer: str) -> None:
    """Introspected over mutual TLS at the endpoint that the provider's metadata names; the binding holds likewise."""
    asking = Introspection(client_id="rs", ssl_context=site.context("rs"))
    verifier = AccessTokenVerifier(issuer=issuer, audience=OPAQUE, introspection=asking, ssl_context=site.context())
    token = fetch(site, issuer, OPAQUE)
    assert "." not in token
    verified = await verifier.verify(token, certificate=site.parties["c1"].der, scopes=["reports:read"])
    assert (verified.client_id, verified.thumbprint) == ("c1", site.thumbprint("c1"))
    for unknown, certificate in ((token, site.parties["thief"].der), (token, None), ("x" * 43, site.parties["c1"].der)):
        with pytest.raises(InvalidToken):
            await verifier.verify(unknown, certificate=certificate)
    await asking.aclose()


def test_a_resource_server_of_ours(site: Site, issuer: str, tmp_path: Path) -> None:
    """The example in Quart, told of nothing but the provider's name and whom to trust."""
    audience = "https://reports.example"
    token = fetch(site, issuer, audience)
    with resource_server(site, "quart", tmp_path / "log", issuer=issuer, audience=audience) as url:

        def use(party: str | None) -> tuple[int, Any]:
            bearer = {"Authorization": f"Bearer {token}"}
            answer = httpx.get(f"{url}/reports", headers=bearer, verify=site.context(party), trust_env=False)
            return answer.status_code, answer.json()

        assert use("c1") == (200, {"client": "c1", "scope": ["reports:read"]})
        assert [use("thief")[0], use(None)[0]] == [401, 401]
