"""A server whose clients exchange tokens, and another issuer that signs for it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.rfc.rfc7519_jwt import sign, unverified_claims
from mtls_as.rfc.rfc8693_token_exchange import ACCESS_TOKEN, GRANT_TYPE
from tests.authority import Authority, Identity, dns
from tests.running import RESOURCE, Deployment, RunningServer

ORDERS, STOCK, OPAQUE = "https://orders.example", "https://stock.example", "https://opaque.example"
IDP, IDP_BY_URL = "https://idp.example", "https://published.example/"
ISSUER = "https://localhost:8443"
SCOPE = "reports:read reports:write"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass
class OtherIssuer:
    """Signs JWTs as another issuer does."""

    name: str = IDP
    kid: str = "idp-1"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    count: int = 0

    def jwks(self) -> dict[str, object]:
        return {"keys": [public_jwk(self.key.public_key(), kid=self.kid, algorithm="ES256")]}

    def sign(self, *, typ: str = "JWT", **changes: object) -> str:
        """A JWT for our server, good for once; `...` leaves a claim out."""
        self.count += 1
        now = time.time()
        claims = {"iss": self.name, "sub": "alice", "aud": ISSUER, "iat": now, "exp": now + 120, "jti": str(self.count)}
        given = {name: value for name, value in (claims | changes).items() if value is not ...}
        return sign(given, type=typ, kid=self.kid, algorithm="ES256", private_key=self.key)


def deploy(
    folder: Path,
    authority: Authority,
    idp: OtherIssuer,
    *,
    published: str = "https://published.example/jwks",
    **options: Any,
) -> Deployment:
    """Resources that share scopes, and clients that may exchange this or that."""
    deployment = Deployment(folder, **options)
    deployment.trust("default", authority)
    deployment.resource(ORDERS, *SCOPE.split(), "orders:write").resource(STOCK, *SCOPE.split(), "stock:read")
    deployment.resource(OPAQUE, "reports:read", options='token_format = "opaque"\nintrospection_clients = ["orders"]')

    def client(
        client_id: str, *, grants: tuple[str, ...] = (GRANT_TYPE,), scope: str = SCOPE, **members: object
    ) -> None:
        grant_types = ["client_credentials", *grants]
        name = members.pop("san", f"{client_id}.example")
        deployment.client(client_id, scope=scope, tls_client_auth_san_dns=name, grant_types=grant_types, **members)

    client("frontend")
    client("narrow", scope="reports:read", resources=[ORDERS, STOCK])
    client("stranger")
    partners = ["frontend", "narrow", "middle"]
    exchange = {"audiences": [ORDERS, OPAQUE], "clients": partners, "issuers": [IDP, IDP_BY_URL], "actors": ["agent"]}
    client("orders", scope=f"{SCOPE} stock:read", exchange=exchange)
    client(
        "brief", san="orders.example", access_token_lifetime=10, exchange={"audiences": [ORDERS], "clients": partners}
    )
    client("middle", exchange={"audiences": [ORDERS, STOCK], "clients": ["orders", "frontend", "middle"]})
    client("silent", exchange={"audiences": [ORDERS], "clients": ["frontend", "orders"], "impersonation": True})
    client("agent")
    client("ungranted", grants=())
    client("alone")
    client("batch", grants=(JWT_BEARER,), jwt_bearer={"issuers": [IDP, IDP_BY_URL]})
    client("mapped", grants=(JWT_BEARER,), jwt_bearer={"issuers": [IDP], "subjects": {"alice": "our-alice"}})
    client("elsewhere", grants=(JWT_BEARER,), jwt_bearer={"issuers": [IDP_BY_URL]})
    deployment.sections.append(
        f'[[issuers]]\nissuer = "{IDP}"\nscope = "reports:read stock:read"\n' + _jwks(idp) + "\nmax_lifetime = 600\n"
    )
    deployment.sections.append(
        f'[[issuers]]\nissuer = "{IDP_BY_URL}"\nscope = "reports:read"\njwks_uri = "{published}"\n'
        'subject_prefix = "partner:"\n'
    )
    return deployment


def _jwks(idp: OtherIssuer) -> str:
    (key,) = idp.jwks()["keys"]  # type: ignore[misc] # a list of one
    return "jwks = { keys = [ { " + ", ".join(f'{name} = "{value}"' for name, value in key.items()) + " } ] }"


def identity(authority: Authority, client_id: str) -> Identity:
    return authority.issue(client_id, san=[dns(f"{client_id}.example")])


@dataclass
class Party:
    """A client with its certificate."""

    server: RunningServer
    client_id: str
    identity: Identity

    def token(self, resource: str, scope: str | None = None) -> str:
        """A token of its own for a resource."""
        response = self.server.token(self.identity, self.client_id, resource=resource, scope=scope)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    def exchange(self, subject_token: str, **form: object) -> httpx.Response:
        parameters = {"subject_token": subject_token, "subject_token_type": ACCESS_TOKEN, "resource": STOCK} | form
        return self.server.token(self.identity, self.client_id, grant_type=GRANT_TYPE, **parameters)

    def present(self, assertion: str, **form: object) -> httpx.Response:
        parameters = {"assertion": assertion, "resource": RESOURCE} | form
        return self.server.token(self.identity, self.client_id, grant_type=JWT_BEARER, **parameters)


def claims_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return dict(unverified_claims(response.json()["access_token"]))
