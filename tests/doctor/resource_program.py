"""A resource server in a process of its own, with a good path and some that protect less, or nothing."""

import json
import os
import ssl
import sys
from typing import Any

from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.tls import serve
from mtls_as.verifier import AccessTokenVerifier
from mtls_as.verifier.asgi import RequireBoundToken

ISSUER, PORT, CA, CERTIFICATE, KEY = sys.argv[1:]
GUARDED = f"https://localhost:{PORT}/guarded"


async def reports(scope: Any, receive: Any, send: Any) -> None:
    """What is to be protected."""
    await respond(send, 200)


async def respond(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2"), *headers]})
    await send({"type": "http.response.body", "body": b"{}"})


async def ignoring(scope: Any, receive: Any, send: Any) -> None:
    """Takes any token, and does not look at the certificate."""
    if any(name == b"authorization" for name, _ in scope["headers"]):
        await respond(send, 200)
    else:
        await respond(send, 401, (b"www-authenticate", b"Bearer"))


async def dropping(scope: Any, receive: Any, send: Any) -> None:
    """As behind a proxy that ends TLS and forwards no certificate."""
    extensions = {name: value for name, value in scope["extensions"].items() if name not in {"tls", "mtls_as"}}
    without = {**scope, "extensions": {**extensions, "tls": {"client_cert_chain": []}}}
    await GUARD(without, receive, send)


async def echoing(scope: Any, receive: Any, send: Any) -> None:
    """Repeats in its challenge what it was sent."""
    [sent] = [value for name, value in scope["headers"] if name == b"authorization"] or [b"nothing"]
    text = b'Bearer error="invalid_token", error_description="not good: ' + sent + b'"'
    await respond(send, 401, (b"www-authenticate", text))


def saying(**metadata: Any) -> Any:
    """Publishes this of itself, and takes nothing."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if ".well-known" in scope["path"]:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(metadata).encode()})
        else:
            await respond(send, 401, (b"www-authenticate", b"Bearer"))

    return application


async def absent(scope: Any, receive: Any, send: Any) -> None:
    await respond(send, 404)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    found = [path for name, path in PATHS.items() if name in scope["path"]]
    await (found or [absent])[0](scope, receive, send)


VERIFIER = AccessTokenVerifier(issuer=ISSUER, audience=GUARDED, ssl_context=ssl.create_default_context(cafile=CA))
METADATA = ResourceMetadata(resource=GUARDED, authorization_servers=(ISSUER,), scopes_supported=("reports:read",))
GUARD = RequireBoundToken(reports, VERIFIER, scopes=["reports:read"], metadata=METADATA)
WRITING = RequireBoundToken(reports, VERIFIER, scopes=["reports:write"])
PATHS = {
    "guarded": GUARD,
    "writing": WRITING,
    "ignoring": ignoring,
    "dropping": dropping,
    "echoing": echoing,
    "open": reports,
    "lying": saying(resource="https://bank.example/", authorization_servers=[ISSUER]),
    "elsewhere": saying(resource=GUARDED, authorization_servers=["https://as.example"]),
}

if __name__ == "__main__":
    os.environ.pop("SSL_CERT_FILE", None)
    serve(app, bind=f"127.0.0.1:{PORT}", certificate=CERTIFICATE, private_key=KEY)
