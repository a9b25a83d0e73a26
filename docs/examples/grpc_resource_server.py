"""A resource server in gRPC: every call needs a token bound to the certificate of its connection."""

import asyncio
import os
import ssl
from pathlib import Path

import grpc

from mtls_as.verifier import AccessTokenVerifier, ResourceGuard
from mtls_as.verifier.grpc import PeerCertificate, RequireBoundToken, access_token

verifier = AccessTokenVerifier(
    issuer=os.environ.get("ISSUER", "https://localhost:8443"),
    audience=os.environ.get("AUDIENCE", "https://localhost:8445"),
    ssl_context=ssl.create_default_context(cafile=os.environ.get("CA", "certs/ca.pem")),
)
guard = ResourceGuard(verifier, certificates=PeerCertificate(), scopes=["reports:read"])


async def reports(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
    return access_token.get().client_id.encode()


async def main(key: bytes, certificate: bytes, client_ca: bytes) -> None:
    server = grpc.aio.server(interceptors=[RequireBoundToken(guard)])
    methods = {"List": grpc.unary_unary_rpc_method_handler(reports)}
    server.add_registered_method_handlers("example.Reports", methods)
    credentials = grpc.ssl_server_credentials([(key, certificate)], client_ca, require_client_auth=True)
    port = server.add_secure_port(os.environ.get("BIND", "127.0.0.1:8445"), credentials)
    await server.start()
    print(f"listening on localhost:{port}", flush=True)  # noqa: T201 # for whoever started it
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*(Path(os.environ[name]).read_bytes() for name in ("PRIVATE_KEY", "CERTIFICATE", "CLIENT_CA"))))
