"""A resource server in Flask, under gunicorn, which asks clients for a certificate of the CA (`--cert-reqs 1`):

gunicorn flask_resource_server:app --bind 127.0.0.1:8445 --certfile certs/server.pem --keyfile certs/server-key.pem \
    --ca-certs certs/ca.pem --cert-reqs 1
"""

import os
import ssl

from flask import Flask, g

from mtls_as.verifier import AccessTokenVerifier, ResourceGuard, ServerSocket
from mtls_as.verifier.flask import BoundToken

verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
protect = BoundToken(ResourceGuard(verifier, certificates=ServerSocket(name="gunicorn.socket")))
app = Flask(__name__)


@app.get("/reports")
@protect("reports:read")
def reports() -> dict[str, object]:
    return {"client": g.access_token.client_id, "scope": list(g.access_token.scope)}
