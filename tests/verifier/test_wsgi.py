"""WSGI and Flask: environs as servers make them, and Werkzeug's server with a real handshake."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import httpx
import pytest
from werkzeug.serving import make_server
from werkzeug.test import create_environ, run_wsgi_app

from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier import (
    CertificateSource,
    EnvironVariable,
    ForwardedCertificate,
    ProofMemory,
    ResourceGuard,
    ServerSocket,
    VerifiedToken,
)
from mtls_as.verifier.flask import BoundToken
from mtls_as.verifier.wsgi import RequireBoundToken, describe
from tests.authority import Authority, Identity
from tests.dpop import DPoPKey
from tests.verifier.issuer import AUDIENCE, NOW
from tests.verifier.requests import AS, guard, verifier

SERVER_CA, CLIENT_CA = Authority.create("Server CA"), Authority.create("Client CA")
MINE, THIEF = CLIENT_CA.issue("mine"), CLIENT_CA.issue("thief")
METADATA = ResourceMetadata(resource=f"{AUDIENCE}/v1")
WELL_KNOWN = "/.well-known/oauth-protected-resource/v1"


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["mtls_as.access_token"].client_id.encode()]


def environ(token: str | None = None, **replaced: Any) -> dict[str, Any]:
    """As a server with TLS makes it, with the certificate that tokens here are bound to."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    made = create_environ("/reports", f"{AUDIENCE}/", headers=headers)
    return made | {"SSL_CLIENT_CERT": MINE.pem, "REMOTE_ADDR": "192.0.2.1"} | replaced


def call(given: dict[str, Any], **arguments: Any) -> tuple[int, dict[str, str], bytes]:
    guarding = guard(**({"certificates": EnvironVariable(), "scopes": ["reports:read"]} | arguments))
    body, status, headers = run_wsgi_app(RequireBoundToken(application, guarding), given)
    return int(status.partition(" ")[0]), {name.lower(): value for name, value in headers}, b"".join(body)


def test_answers() -> None:
    """What the application gets, and what others get instead of it."""
    assert call(environ(AS.token(MINE.der)))[::2] == (200, b"reports")
    status, headers, body = call(environ(AS.token(THIEF.der)))
    assert (status, headers["content-length"]) == (401, str(len(body)))
    assert headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert call(environ())[::2] == (401, b"")
    assert call(environ(AS.token(MINE.der, scope="other")))[0] == 403
    assert call(environ("x", REQUEST_METHOD="HEAD"))[2] == b""
    assert call(environ(AS.token(MINE.der), **{"wsgi.url_scheme": "http"}))[0] == 401
    assert call(environ(AS.token(MINE.der), QUERY_STRING="access_token=x"))[0] == 400


def test_the_environ_of_the_request_is_not_written() -> None:
    given = environ(AS.token(MINE.der))
    call(given)
    assert "mtls_as.access_token" not in given


def test_a_token_that_the_client_writes() -> None:
    """A header cannot stand for what the middleware found, nor for the certificate."""
    forged = environ(**{"HTTP_MTLS_AS.ACCESS_TOKEN": "x", "HTTP_SSL_CLIENT_CERT": MINE.pem})
    assert call(forged)[0] == 401
    given = environ(AS.token(MINE.der), SSL_CLIENT_CERT="", HTTP_SSL_CLIENT_CERT=MINE.pem)
    assert call(given)[0] == 401


def test_repeated_headers_are_joined() -> None:
    """Two Authorization headers are one with a comma to WSGI, and refused all the same."""
    joined = environ(HTTP_AUTHORIZATION=f"Bearer {AS.token(MINE.der)},Bearer x")
    assert call(joined)[0] == 400


PEERS: dict[str, tuple[dict[str, Any], str | None]] = {
    "an address": ({"REMOTE_ADDR": "127.0.0.1"}, "127.0.0.1"),
    "a unix socket, as gunicorn says it": ({"REMOTE_ADDR": ""}, None),
    "a server that does not say": ({}, ""),
}


@pytest.mark.parametrize("case", PEERS.values(), ids=PEERS)
def test_where_a_request_comes_from(case: tuple[dict[str, Any], str | None]) -> None:
    """What is not said proves no hop."""
    said, peer = case
    assert describe({"REQUEST_METHOD": "GET", **said}).peer == peer


PATHS: dict[str, tuple[dict[str, Any], str]] = {
    "as gunicorn got it": ({"RAW_URI": "/a%2fb;c?x=1", "PATH_INFO": "/a/b;c"}, "/a%2fb;c"),
    "as uWSGI got it": ({"REQUEST_URI": "/a%2fb", "PATH_INFO": "/a/b"}, "/a%2fb"),
    "with a whole URL": ({"RAW_URI": "http://x/a", "PATH_INFO": "/a"}, "/a"),
    "from its parts": ({"SCRIPT_NAME": "/v1", "PATH_INFO": "/a b/\xc3\xa9:@"}, "/v1/a%20b/%C3%A9:@"),
}


@pytest.mark.parametrize("case", PATHS.values(), ids=PATHS)
def test_the_path_of_a_proof(case: tuple[dict[str, Any], str]) -> None:
    given, path = case
    assert describe({"REQUEST_METHOD": "GET", **given}).path == path


def test_dpop() -> None:
    """A proof is for the path as it was sent, below the URL of the configuration, and good for once."""
    key = DPoPKey()
    token = AS.token(None, cnf={"jkt": key.thumbprint})
    proof = key.proof("GET", f"{AUDIENCE}/reports", token=token, iat=int(NOW))
    guarding = ResourceGuard(
        verifier(dpop=ProofMemory(clock=lambda: NOW)), certificates=EnvironVariable(), dpop_url=AUDIENCE
    )
    middleware = RequireBoundToken(application, guarding)
    given = environ(HTTP_AUTHORIZATION=f"DPoP {token}", HTTP_DPOP=proof, HTTP_HOST="evil.example")
    statuses = [run_wsgi_app(middleware, given)[1][:3] for _ in range(2)]
    assert statuses == ["200", "401"]


def test_names_that_wsgi_cannot_tell_apart() -> None:
    """A header with an underscore would be the same as one that a client may send."""
    for kind in (lambda guarding: RequireBoundToken(application, guarding), BoundToken):
        with pytest.raises(ValueError, match="underscores"):
            kind(guard(certificates=ForwardedCertificate(preset="apache", unix_socket=True)))
        kind(guard(certificates=ForwardedCertificate(preset="apache", unix_socket=True, header="X-SSL-Client-Cert")))


def test_metadata() -> None:
    given = environ(PATH_INFO=WELL_KNOWN, RAW_URI=WELL_KNOWN, REQUEST_URI=WELL_KNOWN)
    status, headers, body = call(given, metadata=METADATA)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert b'"tls_client_certificate_bound_access_tokens": true' in body
    _, headers, _ = call(environ(), metadata=METADATA)
    assert f'resource_metadata="{AUDIENCE}{WELL_KNOWN}"' in headers["www-authenticate"]


@contextlib.contextmanager
def werkzeug(app: Any, folder: Path) -> Iterator[str]:
    """Werkzeug's own server, which asks for a certificate of the CA."""
    certificate, key = SERVER_CA.issue_server("localhost").write(folder, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=CLIENT_CA.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(certificate, key)
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(url: str, identity: Identity | None, folder: Path, token: str | None) -> httpx.Response:
    context = ssl.create_default_context(cadata=SERVER_CA.pem)
    if identity is not None:
        context.load_cert_chain(*identity.write(folder, "client"))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(url, headers=headers, verify=context, trust_env=False)


@pytest.mark.parametrize(
    "source", [EnvironVariable(), ServerSocket(name="werkzeug.socket")], ids=["its variable", "its socket"]
)
def test_under_werkzeug(source: CertificateSource, tmp_path: Path) -> None:
    """RFC 8705 §3: the certificate of the handshake, by both ways in which this server tells it."""
    guarding = guard(certificates=source, scopes=["reports:read"])
    with werkzeug(RequireBoundToken(application, guarding), tmp_path) as url:
        token = AS.token(MINE.der)
        assert get(url, MINE, tmp_path, token).text == "reports"
        statuses = [
            get(url, identity, tmp_path, sent).status_code
            for identity, sent in (
                (THIEF, token),
                (None, token),
                (MINE, AS.token(MINE.der, exp=1)),
                (MINE, AS.token(MINE.der, aud="https://other.example")),
                (MINE, AS.token(MINE.der, scope="other")),
                (MINE, None),
            )
        ]
    assert statuses == [401, 401, 401, 401, 403, 401]


def flask_app() -> flask.Flask:
    app = flask.Flask(__name__)
    protect = BoundToken(guard(certificates=EnvironVariable(), metadata=METADATA), app)

    @app.get("/reports")
    @protect("reports:read")
    def reports() -> str:
        assert isinstance(flask.g.access_token, VerifiedToken)
        return str(flask.g.access_token.client_id)

    @app.get("/reports/<name>")
    @protect("reports:read", "reports:write")
    async def one(name: str) -> str:
        return name

    @app.get("/open")
    def anybody() -> str:
        return str("access_token" in flask.g)

    return app


def test_flask_routes() -> None:
    """Each route has its scopes; one without the decorator is open, and has no token."""
    client = flask_app().test_client()
    base = environ(AS.token(MINE.der))
    certificate = {"SSL_CLIENT_CERT": MINE.pem}

    def status(path: str, headers: dict[str, str]) -> int:
        return client.get(path, base_url=AUDIENCE, headers=headers, environ_overrides=certificate).status_code

    headers = {"Authorization": base["HTTP_AUTHORIZATION"]}
    assert status("/reports", headers) == 200
    assert status("/reports", {}) == 401
    assert status("/reports/a", headers) == 403
    assert status("/open", {}) == 200
    answer = client.get(WELL_KNOWN, base_url=AUDIENCE)
    assert (answer.status_code, answer.json) == (200, METADATA.document())
    assert client.post(WELL_KNOWN, base_url=AUDIENCE).status_code == 405


def test_flask_runs_asynchronous_views() -> None:
    """They stay asynchronous views: Flask runs them, where it has the means to."""
    pytest.importorskip("asgiref")
    headers = {"Authorization": f"Bearer {AS.token(MINE.der, scope='reports:read reports:write')}"}
    answer = (
        flask_app()
        .test_client()
        .get("/reports/a", base_url=AUDIENCE, headers=headers, environ_overrides={"SSL_CLIENT_CERT": MINE.pem})
    )
    assert (answer.status_code, answer.text) == (200, "a")
