"""FastAPI and Litestar: routes with scopes of their own, the OpenAPI document, the metadata, forwarded certificates."""

from typing import Annotated, Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI, Security, WebSocket
from litestar import Litestar, Request, get

from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier import ForwardedCertificate, ProofMemory, ResourceGuard, TLSExtension, VerifiedToken
from mtls_as.verifier.asgi import RequireBoundToken as RequireBoundTokenMiddleware
from mtls_as.verifier.asgi import describe
from mtls_as.verifier.fastapi import BoundToken
from mtls_as.verifier.litestar import RequireBoundToken
from tests.verifier.issuer import AUDIENCE
from tests.verifier.requests import AS, MINE, THIEF, TOKEN, guard, verifier

METADATA = ResourceMetadata(resource=AUDIENCE, authorization_servers=("https://as.example",))
SCOPES = {"reports:read": "Read reports", "reports:write": "Write reports"}


def fastapi_app(guarding: ResourceGuard | None = None) -> FastAPI:
    guarding = guarding or guard(certificates=TLSExtension(), metadata=METADATA)
    bound = BoundToken(guarding, token_url="https://as.example/token", scopes=SCOPES)
    app = FastAPI()
    bound.install(app)

    @app.get("/reports")
    async def reports(token: Annotated[VerifiedToken, Security(bound, scopes=["reports:read"])]) -> str:
        return token.client_id

    @app.post("/reports")
    async def write(token: Annotated[VerifiedToken, Security(bound, scopes=["reports:read", "reports:write"])]) -> str:
        return token.client_id

    @app.get("/open")
    async def anybody() -> str:
        return "open"

    @app.websocket("/feed")
    async def feed(socket: WebSocket, token: Annotated[VerifiedToken, Security(bound)]) -> None:
        await socket.accept()
        await socket.send_text(token.client_id)

    return app


def litestar_app() -> Litestar:
    require = RequireBoundToken(guard(certificates=TLSExtension(), metadata=METADATA))

    @get("/reports", required_scopes=["reports:read"], guards=[require])
    async def reports(request: Request[Any, Any, Any]) -> str:
        token = request.state.access_token
        assert isinstance(token, VerifiedToken)
        return token.client_id

    @get("/more", required_scopes=["reports:read", "reports:write"], guards=[require])
    async def more() -> str:
        return "more"

    @get("/careless", required_scopes="reports:read", guards=[require])
    async def careless() -> str:
        return "careless"

    return Litestar([reports, more, careless, require.metadata_handler()])


async def call(
    app: Any,
    path: str = "/reports",
    token: str | None = TOKEN,
    *,
    chain: tuple[str, ...] = (MINE.pem,),
    method: str = "GET",
) -> httpx.Response:
    """As a server with TLS would call the application."""

    async def over_tls(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"tls": {"client_cert_chain": list(chain)}}}, receive, send)

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(over_tls), base_url=AUDIENCE) as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize("make", [fastapi_app, litestar_app], ids=["fastapi", "litestar"])
async def test_a_route(make: Any) -> None:
    """The token for the application, and the guard's status and challenge for others."""
    app = make()
    good = await call(app)
    assert (good.status_code, good.text.strip('"')) == (200, "reports")
    stolen = await call(app, chain=(THIEF.pem,))
    assert stolen.status_code == 401
    assert stolen.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert stolen.headers["cache-control"] == "no-store"
    bare = await call(app, token=None)
    assert bare.status_code == 401
    assert f'resource_metadata="{METADATA.url}"' in bare.headers["www-authenticate"]
    missing = await call(app, token=AS.token(MINE.der, scope="other"))
    assert missing.status_code == 403
    assert 'scope="reports:read"' in missing.headers["www-authenticate"]
    published = await call(app, METADATA.path, None, chain=())
    assert (published.status_code, published.json()) == (200, METADATA.document())


async def test_routes_of_fastapi() -> None:
    """Each has its scopes; a refusal has the body of RFC 6750, and a route that asks for nothing is open."""
    app = fastapi_app()
    refused = await call(app, method="POST")
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
    assert 'scope="reports:read reports:write"' in refused.headers["www-authenticate"]
    writing = AS.token(MINE.der, scope="reports:read reports:write")
    assert (await call(app, token=writing, method="POST")).status_code == 200
    assert (await call(app, "/open", None, chain=())).status_code == 200


async def test_both_challenges_of_fastapi() -> None:
    """Two schemes are two headers, not one."""
    guarding = ResourceGuard(verifier(dpop=ProofMemory()), certificates=TLSExtension(), dpop_url=AUDIENCE)
    answer = await call(fastapi_app(guarding), token=None)
    schemes = [value.partition(" ")[0] for value in answer.headers.get_list("www-authenticate")]
    assert schemes == ["Bearer", "DPoP"]


OPENED, ANSWERED = (
    ["websocket.accept", "websocket.send"],
    ["websocket.http.response.start", "websocket.http.response.body"],
)
FEEDS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "the right certificate": (MINE.pem, {}, OPENED),
    "another": (THIEF.pem, {}, ["websocket.close"]),
    "another, and the server can say why": (THIEF.pem, {"websocket.http.response": {}}, ANSWERED),
}


@pytest.mark.parametrize("case", FEEDS.values(), ids=FEEDS)
async def test_a_websocket_of_fastapi(case: tuple[str, dict[str, Any], list[str]]) -> None:
    """One that is not let in is closed before it is accepted, or answered where the server can do that."""
    pem, extensions, kinds = case
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "scheme": "wss", "path": "/feed", "query_string": b"", "subprotocols": [],
        "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
        "extensions": {"tls": {"client_cert_chain": [pem]}, **extensions},
    }  # fmt: skip
    await fastapi_app()(scope, receive, send)
    assert [message["type"] for message in sent] == kinds


def test_the_openapi_document_asks_for_token_and_certificate() -> None:
    """One requirement with both, not two alternatives; the scopes are those of the route."""
    app = fastapi_app()
    for _ in range(2):  # the document is kept, and completed once
        document = app.openapi()
        schemes = document["components"]["securitySchemes"]
        assert schemes["mutualTLS"]["type"] == "mutualTLS"
        flow = schemes["BoundToken"]["flows"]["clientCredentials"]
        assert (flow["tokenUrl"], flow["scopes"]) == ("https://as.example/token", SCOPES)
        operations = document["paths"]["/reports"]
        assert operations["get"]["security"] == [{"BoundToken": ["reports:read"], "mutualTLS": []}]
        assert operations["post"]["security"] == [{"BoundToken": ["reports:read", "reports:write"], "mutualTLS": []}]
        assert "security" not in document["paths"]["/open"]["get"]
        assert METADATA.path not in document["paths"]


async def test_routes_of_litestar() -> None:
    app = litestar_app()
    refused = await call(app, "/more")
    assert (refused.status_code, refused.json()["extra"]) == (403, {"error": "insufficient_scope"})
    assert (await call(app, "/careless")).status_code == 500
    with pytest.raises(ValueError, match="metadata"):
        RequireBoundToken(guard()).metadata_handler()


CONNECTIONS: dict[str, tuple[dict[str, Any], str | None]] = {
    "an address": ({"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}, "127.0.0.1"),
    "uvicorn's unix socket": ({"client": None, "server": ("/run/api.sock", None)}, None),
    "ours": ({"client": None, "server": None}, None),
    "a port, and nobody knows who": ({"client": None, "server": ("127.0.0.1", 2)}, ""),
    "an empty address on a port": ({"client": ("", 0), "server": ("127.0.0.1", 2)}, ""),
}


@pytest.mark.parametrize("case", CONNECTIONS.values(), ids=CONNECTIONS)
def test_where_a_request_comes_from(case: tuple[dict[str, Any], str | None]) -> None:
    """A unix socket has no port: where there is one, an unknown peer is not on a unix socket."""
    said, peer = case
    assert describe({"path": "/", "headers": [], **said}).peer == peer


@pytest.mark.parametrize(("peer", "status"), [("127.0.0.1", 200), ("192.0.2.1", 403)])
async def test_middleware_behind_a_proxy(peer: str, status: int) -> None:
    """The header of the proxy counts over its hop, and from nobody else."""
    source = ForwardedCertificate(preset="nginx", proxy_addresses=["127.0.0.1"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    protected = RequireBoundTokenMiddleware(app, verifier(), certificates=source, metadata=METADATA)
    transport = httpx.ASGITransport(protected, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {"Authorization": f"Bearer {TOKEN}", "X-SSL-Client-Cert": quote(MINE.pem, safe="")}
        assert (await client.get("/", headers=headers)).status_code == status
        assert (await client.get(METADATA.path)).json() == METADATA.document()
