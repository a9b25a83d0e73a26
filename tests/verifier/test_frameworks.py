"""The middleware in front of Quart and FastAPI, over real TLS connections with real client certificates."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from quart import Quart, request

from mtls_as.tls import Listener, ServerCredentials, Timeouts, bind_listeners, serve_listeners
from mtls_as.verifier import AccessTokenVerifier
from mtls_as.verifier.asgi import RequireBoundToken
from tests.authority import Authority, Identity, self_signed
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, Issuer

AS = Issuer()
SERVER_CA, CLIENT_CA = Authority.create("Server CA"), Authority.create("Client CA")
MINE, THIEF, LONER = CLIENT_CA.issue("mine"), CLIENT_CA.issue("thief"), self_signed("loner")
VERIFIER = AccessTokenVerifier(issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW)


def quart_app() -> Any:
    app = Quart(__name__)

    @app.get("/")
    async def reports() -> dict[str, str]:
        return {"client": request.scope["state"]["access_token"].client_id}

    app.asgi_app = RequireBoundToken(app.asgi_app, VERIFIER, scopes=["reports:read"])  # type: ignore[method-assign] # as Quart documents it
    return app


def fastapi_app() -> Any:
    app = FastAPI()
    app.add_middleware(RequireBoundToken, verifier=VERIFIER, scopes=["reports:read"])

    @app.get("/")
    async def reports(request: FastAPIRequest) -> dict[str, str]:
        assert request.state.access_token is request.scope["access_token"]
        return {"client": request.state.access_token.client_id}

    return app


@pytest.fixture(params=[quart_app, fastapi_app], ids=["quart", "fastapi"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    make: Callable[[], Any] = request.param
    certificate, key = SERVER_CA.issue_server("localhost").write(tmp_path, "server")
    listener = Listener(name="api", bind="127.0.0.1:0", app=make(), request_certificate=True)
    sockets = bind_listeners([listener])
    shutdown = asyncio.Event()
    serving = asyncio.create_task(
        serve_listeners(
            [listener], sockets, ServerCredentials.load(certificate, key), timeouts=Timeouts(), shutdown=shutdown
        )
    )
    yield f"https://localhost:{sockets[0].getsockname()[1]}/"
    shutdown.set()
    await serving


@contextlib.asynccontextmanager
async def client(identity: Identity | None, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cadata=SERVER_CA.pem)
    if identity:
        context.load_cert_chain(*identity.write(folder, "client"))
    async with httpx.AsyncClient(verify=context, trust_env=False) as opened:
        yield opened


async def call(
    url: str, identity: Identity | None, folder: Path, token: str | None, **arguments: Any
) -> httpx.Response:
    async with client(identity, folder) as opened:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await opened.get(url, headers=headers, **arguments)


@pytest.mark.parametrize("identity", [MINE, LONER], ids=["of a CA", "self-signed"])
async def test_token_with_its_certificate(url: str, tmp_path: Path, identity: Identity) -> None:
    """RFC 8705 §3; a self-signed certificate proves its key just as well (§2.2)."""
    response = await call(url, identity, tmp_path, AS.token(identity.der))
    assert (response.status_code, response.json()) == (200, {"client": "reports"})


@pytest.mark.parametrize("identity", [None, THIEF, LONER], ids=["none", "of the same CA", "self-signed"])
async def test_stolen_token(url: str, tmp_path: Path, identity: Identity | None) -> None:
    """RFC 8705 §3: without a certificate, and with any other, 401 `invalid_token`."""
    response = await call(url, identity, tmp_path, AS.token(MINE.der))
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_token"
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert response.headers["cache-control"] == "no-store"


async def test_owners_certificate_appended_to_the_chain(url: str, tmp_path: Path) -> None:
    """Only the leaf has proved its key: a chain is words."""
    chained = Identity(THIEF.certificate, THIEF.private_key, (MINE.certificate,))
    assert (await call(url, chained, tmp_path, AS.token(MINE.der))).status_code == 401


async def test_other_answers(url: str, tmp_path: Path) -> None:
    """401 without a token, 400 for one in the query, 403 without the scope."""
    bare = await call(url, MINE, tmp_path, None)
    assert (bare.status_code, bare.headers["www-authenticate"]) == (401, 'Bearer scope="reports:read"')
    token = AS.token(MINE.der)
    assert (await call(url, MINE, tmp_path, None, params={"access_token": token})).status_code == 400
    assert (await call(url, MINE, tmp_path, token, params={"access_token": token})).status_code == 400
    missing = await call(url, MINE, tmp_path, AS.token(MINE.der, scope="other"))
    assert missing.status_code == 403
    assert 'error="insufficient_scope"' in missing.headers["www-authenticate"]


async def test_one_connection_is_judged_request_by_request(url: str, tmp_path: Path) -> None:
    """Good, forged and foreign tokens over one kept-alive connection do not colour each other."""
    good, foreign = AS.token(MINE.der), AS.token(THIEF.der)
    async with client(MINE, tmp_path) as opened:
        statuses = [
            (await opened.get(url, headers={"Authorization": f"Bearer {token}"})).status_code
            for token in (good, foreign, good, "x", good)
        ]
    assert statuses == [200, 401, 200, 401, 200]
