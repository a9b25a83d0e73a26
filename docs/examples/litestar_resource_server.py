"""A resource server in Litestar: a guard for all routes, each of which names the scopes that it needs."""

import os
import ssl
from typing import Any

from litestar import Litestar, Request, get

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier, ResourceGuard, TLSExtension
from mtls_as.verifier.litestar import RequireBoundToken

verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
guard = ResourceGuard(verifier, certificates=TLSExtension())


@get("/reports", required_scopes=["reports:read"])
async def reports(request: Request[Any, Any, Any]) -> dict[str, object]:
    token = request.state.access_token
    return {"client": token.client_id, "scope": list(token.scope)}


app = Litestar([reports], guards=[RequireBoundToken(guard)])

if __name__ == "__main__":
    serve(
        app,
        bind=os.environ.get("BIND", "127.0.0.1:8445"),
        certificate=os.environ.get("CERTIFICATE", "certs/server.pem"),
        private_key=os.environ.get("PRIVATE_KEY", "certs/server-key.pem"),
    )
