"""A resource server in few lines: Quart, behind tokens that are bound to the certificate of their own connection."""

import argparse
import ssl
from pathlib import Path
from typing import Any

from quart import Quart, request

from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier
from mtls_as.verifier.asgi import RequireBoundToken

CERTS = Path(__file__).parent.parent / "certs"

app = Quart(__name__)


@app.get("/reports")
async def reports() -> dict[str, Any]:
    """What the token allows to see; the middleware has verified it before."""
    token = request.scope["state"]["access_token"]
    return {"reports": ["Q1", "Q2"], "client_id": token.client_id, "scope": " ".join(token.scope)}


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bind", default="127.0.0.1:8445")
    options.add_argument("--identifier", default="https://localhost:8445", help="the audience of its tokens")
    options.add_argument("--issuer", default="https://localhost:8443")
    options.add_argument("--certificate", default=CERTS / "server.pem", type=Path)
    options.add_argument("--private-key", default=CERTS / "server-key.pem", type=Path)
    options.add_argument(
        "--ca", default=CERTS / "ca.pem", type=Path, help="whom to trust when fetching the issuer's keys"
    )
    given = options.parse_args()
    trust = ssl.create_default_context(cafile=given.ca)
    verifier = AccessTokenVerifier(issuer=given.issuer, audience=given.identifier, ssl_context=trust)
    protected = RequireBoundToken(app, verifier, scopes=["reports:read"])
    serve(protected, bind=given.bind, certificate=given.certificate, private_key=given.private_key)


if __name__ == "__main__":
    main()
