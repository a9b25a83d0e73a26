"""A resource server in Starlette, under uvicorn, which tells an application no certificate: nginx forwards it.

uvicorn uvicorn_resource_server:app --uds /run/api/api.sock --no-proxy-headers, behind docs/proxies/nginx.conf
"""

import os
import ssl

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mtls_as.verifier import AccessTokenVerifier, ForwardedCertificate
from mtls_as.verifier.asgi import RequireBoundToken

verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
certificates = ForwardedCertificate(preset="nginx", unix_socket=True)


async def reports(request: Request) -> JSONResponse:
    token = request.state.access_token
    return JSONResponse({"client": token.client_id, "scope": list(token.scope)})


app = Starlette(
    routes=[Route("/reports", reports)],
    middleware=[
        Middleware(RequireBoundToken, verifier=verifier, certificates=certificates, scopes=["reports:read"]),
    ],
)
