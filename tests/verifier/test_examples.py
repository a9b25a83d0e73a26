"""The resource servers of the documentation run as they stand: real servers, discovery, keys, client certificates."""

import ssl
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.authority import Identity
from tests.dpop import DPoPKey
from tests.verifier.running import (
    AS,
    EXAMPLES,
    MINE,
    THIEF,
    Place,
    Server,
    by_itself,
    issuer_server,
    under_gunicorn,
    under_uvicorn_behind_nginx,
)

THREADS = ("--workers", "2", "--worker-class", "gthread", "--threads", "4", "--preload")
SERVERS: dict[str, tuple[str, Server]] = {
    "quart": ("quart", by_itself),
    "fastapi": ("fastapi", by_itself),
    "litestar": ("litestar", by_itself),
    "flask": ("flask", under_gunicorn),
    "flask, two workers with threads": ("flask", lambda *places: under_gunicorn(*places, *THREADS)),
    "django": ("django", under_gunicorn),
    "rest_framework": ("rest_framework", under_gunicorn),
    "uvicorn behind nginx": ("uvicorn", under_uvicorn_behind_nginx),
}


def example(name: str) -> Path:
    return EXAMPLES / f"{name}_resource_server.py"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short(path: Path) -> None:
    """At most 40 lines, all of them needed to run."""
    assert len(path.read_text().splitlines()) <= 40


def test_every_example_is_run() -> None:
    served = {example(name) for name, _ in SERVERS.values()} | {example("dpop"), example("grpc")}
    assert served == set(EXAMPLES.glob("*_resource_server.py"))


@pytest.fixture(params=SERVERS.values(), ids=SERVERS, scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    name, server = request.param
    with issuer_server() as issuer, server(example(name), issuer, tmp_path_factory.mktemp(name)) as running:
        yield running


def test_the_right_certificate(place: Place) -> None:
    response = place.get(MINE, place.token(MINE.der))
    assert (response.status_code, response.json()) == (200, {"client": "reports", "scope": ["reports:read"]})


EXPIRED = {"iat": 1, "exp": 2}
REFUSED: dict[str, tuple[Identity | None, dict[str, Any], int, str]] = {
    "another certificate": (THIEF, {}, 401, "invalid_token"),
    "no certificate": (None, {}, 401, "invalid_token"),
    "expired": (MINE, EXPIRED, 401, "invalid_token"),
    "another audience": (MINE, {"aud": "https://other.example"}, 401, "invalid_token"),
    "another issuer": (MINE, {"iss": "https://other.example"}, 401, "invalid_token"),
    "bound to nothing": (MINE, {"cnf": None}, 401, "invalid_token"),
    "without the scope": (MINE, {"scope": "other"}, 403, "insufficient_scope"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(place: Place, case: tuple[Identity | None, dict[str, Any], int, str]) -> None:
    """RFC 8705 §3, RFC 6750 §3.1: the status and the challenge, whatever the framework."""
    identity, claims, status, error = case
    response = place.get(identity, place.token(MINE.der, **claims))
    assert response.status_code == status, response.text
    assert response.headers["www-authenticate"].startswith(f'Bearer error="{error}", error_description="')
    if status == 403:
        assert 'scope="reports:read"' in response.headers["www-authenticate"]
    assert "reports" not in response.text.replace("reports:read", "")


def test_no_token(place: Place) -> None:
    """RFC 6750 §3.1: a challenge without an error code; the certificate alone opens nothing."""
    response = place.get(MINE, None)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].partition(" ")[0] == "Bearer"
    assert "error" not in response.headers["www-authenticate"]


def test_a_certificate_in_a_header(place: Place) -> None:
    """Whoever has the token and the public certificate, and not its key, gets nothing: by no header of any proxy."""
    context = place.client_context(THIEF)
    names = ("X-SSL-Client-Cert", "X_SSL_Client_Cert", "Client-Cert", "X-Forwarded-Client-Cert", "SSL-Client-Cert")
    for name in names:
        headers = {"Authorization": f"Bearer {place.token(MINE.der)}", name: MINE.pem.replace("\n", "%0A")}
        response = httpx.get(place.url + "/reports", headers=headers, verify=context, trust_env=False)
        assert response.status_code in {400, 401}, name


def test_the_example_with_dpop(tmp_path: Path) -> None:
    """200 with a proof by the token's own key, without any certificate; 401 with another's, or the same again."""
    own, thief = DPoPKey(), DPoPKey()
    with issuer_server() as server, by_itself(example("dpop"), server, tmp_path) as place:
        now = int(time.time())
        token = AS.token(None, iss=server.url, iat=now, exp=now + 60, cnf={"jkt": own.thumbprint})
        context = ssl.create_default_context(cadata=server.authority.pem)
        proof = own.proof("GET", "https://localhost:8445/reports", token=token)
        stolen = thief.proof("GET", "https://localhost:8445/reports", token=token)
        get = partial(httpx.get, place.url + "/reports", verify=context, trust_env=False)
        answers = [get(headers={"Authorization": f"DPoP {token}", "DPoP": sent}) for sent in (stolen, proof, proof)]
        assert [answer.status_code for answer in answers] == [401, 200, 401]
        assert answers[1].json() == {"client": "reports", "key": own.thumbprint, "certificate": None}


def test_the_example_in_grpc(tmp_path: Path) -> None:
    """The certificate of the handshake is the one that counts, call by call."""
    with issuer_server() as server, by_itself(example("grpc"), server, tmp_path) as place:

        def call(identity: Identity, **claims: Any) -> tuple[grpc.StatusCode, str]:
            root, key = place.ca.encode(), identity.key_pem.encode()
            credentials = grpc.ssl_channel_credentials(root, key, identity.chain_pem.encode())
            with grpc.secure_channel(place.url.removeprefix("https://"), credentials) as channel:
                metadata = [("authorization", f"Bearer {place.token(MINE.der, **claims)}")]
                try:
                    answer: bytes = channel.unary_unary("/example.Reports/List")(b"", metadata=metadata, timeout=10)
                except grpc.RpcError as error:
                    return error.code(), dict(error.trailing_metadata())["www-authenticate"]
                return grpc.StatusCode.OK, answer.decode()

        assert call(MINE) == (grpc.StatusCode.OK, "reports")
        code, challenge = call(THIEF)
        assert (code, challenge.split(",")[0]) == (grpc.StatusCode.UNAUTHENTICATED, 'Bearer error="invalid_token"')
        assert call(MINE, **EXPIRED)[0] == grpc.StatusCode.UNAUTHENTICATED
        assert call(MINE, aud="https://other.example")[0] == grpc.StatusCode.UNAUTHENTICATED
        code, challenge = call(MINE, scope="other")
        assert (code, 'error="insufficient_scope"' in challenge) == (grpc.StatusCode.PERMISSION_DENIED, True)
