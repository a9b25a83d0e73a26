"""A server with an administration, an operator, and those who are none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from mtls_as.server.endpoints.admin.routes import AdminScope
from tests.authority import Authority, Identity, dns
from tests.running import Deployment, RunningServer, running

ADMINISTRATION = "https://admin.example"
OTHER = "https://other.example"
"""A resource with scopes of the same names."""


class World:
    def __init__(self, server: RunningServer, authority: Authority) -> None:
        self.server = server
        self.certificates = {
            name: authority.issue(san=[dns(f"{name}.example")]) for name in ("operator", "c1", "rs", "thief")
        }

    @property
    def operator(self) -> Identity:
        return self.certificates["operator"]

    def token(self, client_id: str = "operator", **form: Any) -> str:
        """An access token; of the operator's clients for the administration, if nothing else is said."""
        if client_id.startswith("operator"):
            form.setdefault("resource", ADMINISTRATION)
        response = self.server.token(self.certificates[client_id.partition("-")[0]], client_id, **form)
        assert response.status_code == 200, self.server.last_event
        return str(response.json()["access_token"])

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        identity: Identity | None,
        scheme: str = "Bearer",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """A request over a connection of its own, with or without a token and a certificate."""
        shown = {} if token is None else {"Authorization": f"{scheme} {token}"}
        options = {"timeout": 20, **options}
        with httpx.Client(verify=self.server.ssl_context(identity), trust_env=False) as client:
            url = f"{self.server.admin_url}{path}"
            return client.request(method, url, headers={**shown, **(headers or {})}, **options)

    def call(self, method: str, path: str, scope: str | None = None, **options: Any) -> httpx.Response:
        """A request of the operator, with a token that has this scope, or all that the operator may have."""
        token = self.token(scope=scope) if scope else self.token()
        return self.request(method, path, token=token, identity=self.operator, **options)

    def is_active(self, token: str) -> bool:
        with self.server.client(self.certificates["rs"]) as client:
            answer = client.post("/introspect", data={"client_id": "rs", "token": token})
        assert answer.status_code == 200
        return bool(answer.json()["active"])


def administered(folder: Path, authority: Authority, *, options: str = "") -> Deployment:
    """The files of such a server; `options` are further lines of the trust domain."""
    deployment = Deployment(
        folder, admin=True, admin_resource=ADMINISTRATION, resource_options='introspection_clients = ["rs"]'
    )
    deployment.trust("default", authority, options=options)
    deployment.resource(ADMINISTRATION, *AdminScope, "mtls-as:admin")
    deployment.resource(OTHER, "mtls-as:admin:reload")
    scope = " ".join([*AdminScope, "mtls-as:admin"])
    san = "operator.example"
    deployment.client("operator", tls_client_auth_san_dns=san, scope=scope)
    unbound = {"tls_client_certificate_bound_access_tokens": False}
    deployment.client("operator-bearer", tls_client_auth_san_dns=san, scope=scope, **unbound)
    deployment.client("operator-dpop", tls_client_auth_san_dns=san, scope=scope, dpop_bound_access_tokens=True)
    deployment.client("c1", tls_client_auth_san_dns="c1.example")
    deployment.client("rs", tls_client_auth_san_dns="rs.example")
    return deployment


@contextmanager
def administering(folder: Path, authority: Authority) -> Iterator[World]:
    with running(administered(folder, authority)) as server:
        yield World(server, authority)
