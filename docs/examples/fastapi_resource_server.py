"""A resource server in FastAPI: every request needs a token bound to the certificate of its connection."""

import os
import ssl

from fastapi import FastAPI, Request

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier
from mtls_as.verifier.asgi import RequireBoundToken

verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
app = FastAPI()
app.add_middleware(RequireBoundToken, verifier=verifier, scopes=["reports:read"])


@app.get("/reports")
async def reports(request: Request) -> dict[str, object]:
    token = request.state.access_token
    return {"client": token.client_id, "scope": list(token.scope)}


if __name__ == "__main__":
    serve(
        app,
        bind=os.environ.get("BIND", "127.0.0.1:8445"),
        certificate=os.environ.get("CERTIFICATE", "certs/server.pem"),
        private_key=os.environ.get("PRIVATE_KEY", "certs/server-key.pem"),
    )
