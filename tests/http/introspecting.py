"""Clients that get tokens, and resource servers that ask about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from tests.authority import Authority, Identity, dns
from tests.running import RESOURCE, Deployment, RunningServer

OPAQUE = "https://opaque.example"
SIGNED = "application/token-introspection+jwt"


@dataclass(frozen=True)
class Parties:
    """An authority, two clients, and the resource servers `rs1` (that of `RESOURCE`) and `rs2` (that of `OPAQUE`)."""

    authority: Authority
    c1: Identity
    c2: Identity
    rs1: Identity
    rs2: Identity

    @classmethod
    def create(cls) -> Self:
        authority = Authority.create("Client CA")
        return cls(authority, *(authority.issue(n, san=[dns(f"{n}.example")]) for n in ("c1", "c2", "rs1", "rs2")))

    def deployment(self, folder: Path, **options: object) -> Deployment:
        """A server for them all; `options` are those of `Deployment`."""
        deployment = Deployment(folder, resource_options='introspection_clients = ["rs1"]', **options)  # type: ignore[arg-type] # options of several types
        deployment.trust("default", self.authority)
        for name, scope in (("c1", "reports:read files:read"), ("c2", "reports:read files:read")):
            deployment.client(name, tls_client_auth_san_dns=f"{name}.example", scope=scope)
        for name in ("rs1", "rs2"):
            deployment.client(name, tls_client_auth_san_dns=f"{name}.example", scope=None)
        deployment.resource(OPAQUE, "files:read", options='token_format = "opaque"\nintrospection_clients = ["rs2"]')
        return deployment


def fetch(server: RunningServer, identity: Identity, client_id: str = "c1", resource: str = RESOURCE) -> str:
    """A token for a resource."""
    response = server.token(identity, client_id, resource=resource)
    assert response.status_code == 200, response.text
    return str(response.json()["access_token"])


def introspect(
    server: RunningServer, parties: Parties, caller: str, token: str, *, accept: str | None = None, **form: str
) -> httpx.Response:
    """What a caller is told of a token, over a connection with its own certificate."""
    headers = {} if accept is None else {"Accept": accept}
    with server.client(getattr(parties, caller)) as client:
        return client.post("/introspect", data={"client_id": caller, "token": token} | form, headers=headers)


def revoke(server: RunningServer, parties: Parties, caller: str, token: str, **form: str) -> httpx.Response:
    """A client's request to revoke a token."""
    with server.client(getattr(parties, caller)) as client:
        return client.post("/revoke", data={"client_id": caller, "token": token} | form)
