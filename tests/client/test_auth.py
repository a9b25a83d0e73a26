"""The client against a real HTTPS server that plays authorization server and resource."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from mtls_as.client import (
    AuthorizationServerError,
    InsecureRequest,
    MutualTLSAuth,
    TokenRequestError,
    TokenSource,
    fetch_token,
)
from mtls_as.remote import bounded
from tests.authority import Authority
from tests.remote.https_server import HTTPSServer, Request, answer

WELL_KNOWN = "/.well-known/oauth-authorization-server"
CLIENT_CA = Authority.create("Client CA")
IDENTITY = CLIENT_CA.issue("reports")


class World:
    """An authorization server and a resource behind one HTTPS server; each answer can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.server = HTTPSServer(self.handle, client_authority=CLIENT_CA)
        self.metadata: dict[str, object] = {}
        self.token_reply: Callable[[], bytes] | None = None
        self.resource_reply: Callable[[Request], bytes] = lambda _: answer({"ok": True})
        self.lifetime: object = 300
        self.issued = 0
        self.now = 1_800_000_000.0
        self.folder = folder

    def handle(self, request: Request) -> bytes:
        if request.path == WELL_KNOWN:
            defaults = {"issuer": self.server.url, "token_endpoint": self.server.url + "/token"}
            return answer(defaults | self.metadata)
        if request.path.endswith("token"):
            self.issued += 1
            time.sleep(0.05)
            if self.token_reply:
                return self.token_reply()
            members = {"access_token": f"token-{self.issued}", "token_type": "Bearer", "expires_in": self.lifetime}
            return answer({name: value for name, value in members.items() if value is not None})
        return self.resource_reply(request)

    def settings(self, **replaced: Any) -> dict[str, Any]:
        certificate, key = IDENTITY.write(self.folder, "client")
        (self.folder / "ca.pem").write_text(self.server.authority.pem)
        return {
            "issuer": self.server.url,
            "client_id": "reports",
            "certificate": certificate,
            "private_key": str(key),
            "ca": self.folder / "ca.pem",
        } | replaced

    def auth(self, **replaced: Any) -> MutualTLSAuth:
        return MutualTLSAuth(**self.settings(clock=lambda: self.now) | replaced)

    def bearers(self) -> list[str]:
        return [request.headers["authorization"] for request in self.server.requests if request.path == "/api"]

    def token_requests(self) -> list[Request]:
        return [request for request in self.server.requests if request.method == "POST" and "token" in request.path]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with world.server:
        yield world


def sync_get(world: World, auth: MutualTLSAuth, count: int = 1) -> list[int]:
    with httpx.Client(auth=auth, verify=auth.ssl_context(), trust_env=False) as client:
        return [client.get(world.server.url + "/api").status_code for _ in range(count)]


def async_get(world: World, auth: MutualTLSAuth, count: int = 1) -> list[int]:
    async def run() -> list[int]:
        async with httpx.AsyncClient(auth=auth, verify=auth.ssl_context(), trust_env=False) as client:
            return [(await client.get(world.server.url + "/api")).status_code for _ in range(count)]

    return asyncio.run(run())


Get = Callable[..., list[int]]
both = pytest.mark.parametrize("get", [sync_get, async_get])


@both
def test_requests_carry_a_bound_token(world: World, get: Get) -> None:
    """One discovery and one token request, with the certificate on every connection (RFC 8705 §2 and §3)."""
    auth = world.auth(scope="reports:read reports:write", resource="https://api.example/a?b")
    assert get(world, auth, 3) == [200] * 3
    assert world.bearers() == ["Bearer token-1"] * 3
    assert world.server.paths() == [WELL_KNOWN, "/token", "/api", "/api", "/api"]
    assert {request.certificate for request in world.server.requests} == {IDENTITY.der}
    (token_request,) = world.token_requests()
    assert token_request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(token_request.body, strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": ["reports"],
        "scope": ["reports:read reports:write"],
        "resource": ["https://api.example/a?b"],
    }


@both
def test_token_is_renewed_before_it_ends(world: World, get: Get) -> None:
    """Half a minute to a minute before the end, at random, so that many clients do not come at once."""
    auth = world.auth()
    get(world, auth)
    world.now += 239
    get(world, auth)
    world.now += 31
    get(world, auth)
    assert world.bearers() == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


@both
def test_alias_is_preferred(world: World, get: Get) -> None:
    """RFC 8705 §5: with an alias, the client uses it."""
    world.metadata = {
        "token_endpoint": world.server.url + "/public/token",
        "mtls_endpoint_aliases": {"token_endpoint": world.server.url + "/mtls/token"},
    }
    get(world, world.auth())
    assert [request.path for request in world.token_requests()] == ["/mtls/token"]


@both
@pytest.mark.parametrize("challenge", ['Bearer error="invalid_token"', "Bearer realm=x, error=invalid_token"])
def test_rejected_token_is_replaced_once(world: World, get: Get, challenge: str) -> None:
    """RFC 6750 §3.1: a token that the resource calls invalid is fetched again; a second refusal stands."""
    world.resource_reply = lambda request: answer(
        status=200 if request.headers["authorization"] == "Bearer token-2" else 401, WWW_Authenticate=challenge
    )
    auth = world.auth()
    assert get(world, auth, 2) == [200, 200]
    assert world.bearers() == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]
    world.resource_reply = lambda _: answer(status=401, WWW_Authenticate=challenge)
    assert get(world, auth) == [401]
    assert world.issued == 3


@both
@pytest.mark.parametrize(
    ("status", "challenge"),
    [(401, "Bearer"), (401, 'Bearer error="invalid_token_x"'), (403, 'Bearer error="insufficient_scope"'), (500, "")],
)
def test_other_refusals_stand(world: World, get: Get, status: int, challenge: str) -> None:
    """A new token would change nothing."""
    world.resource_reply = lambda _: answer(status=status, WWW_Authenticate=challenge)
    assert get(world, world.auth()) == [status]
    assert world.issued == 1


def test_body_is_sent_again_where_it_can_be(world: World) -> None:
    """A body at hand is repeated with the new token; a stream that is used up is not, and the refusal stands."""
    world.resource_reply = lambda request: answer(
        {"body": request.body},
        status=200 if request.headers["authorization"] == "Bearer token-2" else 401,
        WWW_Authenticate='Bearer error="invalid_token"',
    )
    auth = world.auth()
    with httpx.Client(auth=auth, verify=auth.ssl_context(), trust_env=False) as client:
        assert client.post(world.server.url + "/api", content=b"data").json() == {"body": "data"}
        world.now += 1000
        world.issued = 0
        headers = {"Content-Length": "4"}
        streamed = client.post(world.server.url + "/api", content=iter([b"da", b"ta"]), headers=headers)
    assert streamed.status_code == 401


def test_threads_share_one_token_request(world: World) -> None:
    """Single flight: twenty threads, one token."""
    auth = world.auth()
    threads = [threading.Thread(target=auth.token) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.issued == 1


def test_tasks_share_one_token_request(world: World) -> None:
    """Single flight for tasks too, in one event loop after the other."""
    auth = world.auth()

    async def run() -> set[str]:
        return {token.value for token in await asyncio.gather(*(auth.token_async() for _ in range(20)))}

    assert asyncio.run(run()) == {"token-1"}
    world.now += 1000
    assert asyncio.run(run()) == {"token-2"}


def test_a_failed_request_is_not_remembered(world: World) -> None:
    world.token_reply = lambda: answer(status=503)
    auth = world.auth()
    with pytest.raises(AuthorizationServerError):
        auth.token()
    world.token_reply = None
    assert auth.token().value == "token-2"


@both
@pytest.mark.parametrize("url", ["http://localhost:1/api", "http://localhost:1/token"])
def test_no_token_over_plain_http(world: World, get: Get, url: str) -> None:
    """RFC 6750 §5.3: refused before anything is fetched or sent."""
    auth = world.auth()

    async def run() -> None:
        async with httpx.AsyncClient(auth=auth, trust_env=False) as client:
            await client.get(url)

    with pytest.raises(InsecureRequest, match="https"):
        httpx.get(url, auth=auth, trust_env=False) if get is sync_get else asyncio.run(run())
    assert world.server.requests == []


def test_redirect_to_another_host_carries_no_token(world: World) -> None:
    """httpx takes the header away on the way to another origin."""
    with HTTPSServer(lambda _: answer(), authority=world.server.authority) as other:
        world.resource_reply = lambda _: answer(status=302, Location=other.url + "/stolen")
        auth = world.auth()
        with httpx.Client(auth=auth, verify=auth.ssl_context(), trust_env=False, follow_redirects=True) as client:
            client.get(world.server.url + "/api")
    (request,) = other.requests
    assert "authorization" not in request.headers


@both
@pytest.mark.parametrize("status", [400, 401])
def test_oauth_errors(world: World, get: Get, status: int) -> None:
    """RFC 6749 §5.2: the code and the description, cut and escaped."""
    description = "No.\r\n\x1b[31m" + "x" * 1000
    world.token_reply = lambda: answer({"error": "invalid_client", "error_description": description}, status=status)
    with pytest.raises(TokenRequestError) as caught:
        get(world, world.auth())
    assert caught.value.code == "invalid_client"
    assert caught.value.description.startswith("No.\\r\\n\\x1b[31mxxx")
    assert len(caught.value.description) < 250
    assert str(caught.value).isprintable()
    assert world.server.paths() == [WELL_KNOWN, "/token"]


TOKEN = {"access_token": "t", "token_type": "Bearer"}
NONSENSE: dict[str, bytes] = {
    "HTML": answer(b"<html>", media_type="text/html", status=502),
    "no error member": answer({}, status=400),
    "error not text": answer({"error": 1}, status=400),
    "not an object": answer([]),
    "redirect": answer(TOKEN, status=302, Location="https://localhost:1/"),
    "no token": answer({"token_type": "Bearer"}),
    "token not text": answer(TOKEN | {"access_token": 1}),
    "token with a line end": answer(TOKEN | {"access_token": "a\r\nX: y"}),
    "token with a space": answer(TOKEN | {"access_token": "a b"}),
    "empty token": answer(TOKEN | {"access_token": ""}),
    "DPoP": answer(TOKEN | {"token_type": "DPoP"}),
    "no type": answer({"access_token": "t"}),
    "negative life": answer(TOKEN | {"expires_in": -1}),
    "no life": answer(TOKEN | {"expires_in": 0}),
    "life as text": answer(TOKEN | {"expires_in": "300"}),
    "life true": answer(TOKEN | {"expires_in": True}),
    "endless life": answer(TOKEN | {"expires_in": 1e300}),
    "scope not text": answer(TOKEN | {"scope": ["a"]}),
    "twice": answer(b'{"access_token":"a","access_token":"b","token_type":"Bearer"}'),
    "huge": answer(b" " * 600_000),
    "nothing": b"",
}


@both
@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_of_the_token_endpoint(world: World, get: Get, reply: bytes) -> None:
    """One documented error for everything that is neither a token nor an OAuth error; no redirect is followed."""
    world.token_reply = lambda: reply
    with pytest.raises(AuthorizationServerError, match="/token"):
        get(world, world.auth())
    assert world.server.paths() == [WELL_KNOWN, "/token"]


@both
@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"}, {"issuer": None}, {"token_endpoint": None},
        {"token_endpoint": "http://localhost/"},
        {"token_endpoint": "https://xn--/"}, {"mtls_endpoint_aliases": {"token_endpoint": "http://localhost/"}},
        {"mtls_endpoint_aliases": 1},
    ],
)  # fmt: skip
def test_metadata_that_is_not_followed(world: World, get: Get, metadata: dict[str, object]) -> None:
    """RFC 8414 §3.3: another issuer; no token endpoint, or one that is not https."""
    world.metadata = metadata
    with pytest.raises(AuthorizationServerError):
        get(world, world.auth())
    assert world.server.paths() == [WELL_KNOWN]


@both
def test_dripping_server(world: World, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, in head or body: the whole time is bounded, for blocking callers too."""
    monkeypatch.setattr(bounded.send, "__kwdefaults__", {"seconds": 0.3, "limit": 1000})

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    world.server.handler = lambda _: drip
    started = time.monotonic()
    with pytest.raises(AuthorizationServerError, match=r"within 0\.3 s"):
        get(world, world.auth())
    assert time.monotonic() - started < 2


def test_blocking_calls_inside_an_event_loop(world: World) -> None:
    """A blocking client may be used where an event loop is running; it blocks, and works."""

    async def run() -> str:
        return world.auth().token().value

    assert asyncio.run(run()) == "token-1"


@both
def test_unreachable_server(world: World, get: Get) -> None:
    auth = world.auth(issuer="https://localhost:1")
    with pytest.raises(AuthorizationServerError, match="localhost:1"):
        get(world, auth)


@pytest.mark.parametrize(
    ("lifetime", "good_for"), [(10, 9), (100, 90), (300, 270), (3600, 3570), (None, 54), (0.5, 0.45)]
)
def test_lifetimes(world: World, lifetime: object, good_for: float) -> None:
    """A missing `expires_in` is taken for a minute (RFC 6749 §5.1 only recommends it)."""
    world.lifetime = lifetime
    for jitter, margins in ((0.0, 1), (1.0, 2)):
        token = TokenSource(**world.settings(), clock=lambda: world.now, jitter=partial(float, jitter)).token()
        life = token.expires_at - world.now
        assert token.refresh_at - world.now == pytest.approx(life - margins * (life - good_for))


def test_fetch_token(world: World) -> None:
    """One call, for the command line; the token does not show in its representation."""
    token = fetch_token(**world.settings(scope="a"))
    assert (token.value, token.scope) == ("token-1", None)
    assert "token-1" not in repr(token)


@both
def test_nothing_is_logged_of_tokens(world: World, get: Get, caplog: pytest.LogCaptureFixture) -> None:
    """Not at any level of any logger, neither here nor in the libraries below."""
    caplog.set_level(logging.DEBUG)
    world.token_reply = lambda: answer({"access_token": "SeCrEt", "token_type": "Bearer"})
    auth = world.auth()
    get(world, auth)
    assert "/token" in caplog.text
    assert "SeCrEt" not in caplog.text
    assert "SeCrEt" not in repr(auth)
