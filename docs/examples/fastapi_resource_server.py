"""A resource server in FastAPI: each route says which scopes its token needs, and the OpenAPI document repeats it."""

import os
import ssl
from typing import Annotated

from fastapi import FastAPI, Security

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier, ResourceGuard, TLSExtension, VerifiedToken
from mtls_as.verifier.fastapi import BoundToken

issuer = os.environ.get("ISSUER", "https://localhost:8443")
verifier = AccessTokenVerifier(
    issuer=issuer,
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
guard = ResourceGuard(verifier, certificates=TLSExtension())
bound = BoundToken(guard, token_url=f"{issuer}/token", scopes={"reports:read": "Read reports"})
app = FastAPI()
bound.install(app)


@app.get("/reports")
async def reports(token: Annotated[VerifiedToken, Security(bound, scopes=["reports:read"])]) -> dict[str, object]:
    return {"client": token.client_id, "scope": list(token.scope)}


if __name__ == "__main__":
    serve(
        app,
        bind=os.environ.get("BIND", "127.0.0.1:8445"),
        certificate=os.environ.get("CERTIFICATE", "certs/server.pem"),
        private_key=os.environ.get("PRIVATE_KEY", "certs/server-key.pem"),
    )
