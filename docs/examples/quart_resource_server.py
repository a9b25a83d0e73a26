"""A resource server in Quart: every request needs a token bound to the certificate of its connection."""

import os
import ssl

from quart import Quart, request

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier
from mtls_as.verifier.asgi import RequireBoundToken

app = Quart(__name__)


@app.get("/reports")
async def reports() -> dict[str, object]:
    token = request.scope["state"]["access_token"]
    return {"client": token.client_id, "scope": list(token.scope)}


verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
app.asgi_app = RequireBoundToken(app.asgi_app, verifier, scopes=["reports:read"])  # type: ignore[method-assign] # Quart's way

if __name__ == "__main__":
    serve(
        app,
        bind=os.environ.get("BIND", "127.0.0.1:8445"),
        certificate=os.environ.get("CERTIFICATE", "certs/server.pem"),
        private_key=os.environ.get("PRIVATE_KEY", "certs/server-key.pem"),
    )
