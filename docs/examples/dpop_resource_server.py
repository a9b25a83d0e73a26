"""A resource server that also takes tokens bound to a DPoP key, from clients that cannot present a certificate."""

import os
import ssl

from quart import Quart, request

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier, ProofMemory
from mtls_as.verifier.asgi import RequireBoundToken

app = Quart(__name__)


@app.get("/reports")
async def reports() -> dict[str, object]:
    token = request.scope["state"]["access_token"]
    return {"client": token.client_id, "key": token.dpop_thumbprint, "certificate": token.thumbprint}


verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
    dpop=ProofMemory(),
)
app.asgi_app = RequireBoundToken(  # type: ignore[method-assign] # Quart's way
    app.asgi_app,
    verifier,
    scopes=["reports:read"],
    dpop_url=os.environ.get("URL", "https://localhost:8445"),
)

if __name__ == "__main__":
    serve(
        app,
        bind=os.environ.get("BIND", "127.0.0.1:8445"),
        certificate=os.environ.get("CERTIFICATE", "certs/server.pem"),
        private_key=os.environ.get("PRIVATE_KEY", "certs/server-key.pem"),
    )
