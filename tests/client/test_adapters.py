"""The adapters for other libraries behave alike: the same tokens, the same one retry, nothing to other origins."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import requests as requests_library

from mtls_as.client import (
    AuthorizationServerError,
    CertificateFiles,
    ClientConfigurationError,
    InsecureRequest,
    MutualTLSAuth,
    TokenSource,
)
from mtls_as.client import aiohttp as aiohttp_adapter
from mtls_as.client import requests as requests_adapter
from mtls_as.client.token_source import COOL_DOWN
from tests.authority import Authority
from tests.client.resource_server import BoundServer

CA = Authority.create("Client CA")
OLD, NEW = CA.issue("reports"), CA.issue("reports")


class Caller:
    """A session of one library, used in the same way as all others."""

    def __init__(self, tokens: TokenSource, origin: str) -> None:
        self.tokens = tokens
        self.origin = origin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, method: str, url: str, body: Any = None) -> int:
        raise NotImplementedError


class ByHttpx(Caller):
    def __enter__(self) -> Self:
        self.http = MutualTLSAuth.using(self.tokens).client(follow_redirects=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, method: str, url: str, body: Any = None) -> int:
        return self.http.request(method, url, content=body).status_code


class ByRequests(Caller):
    def __enter__(self) -> Self:
        self.http = requests_adapter.session(self.tokens)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, method: str, url: str, body: Any = None) -> int:
        answer = self.http.request(method, url, data=body)
        return answer.status_code


class ByAiohttp(Caller):
    def __enter__(self) -> Self:
        self.runner = asyncio.Runner().__enter__()
        self.http = self.runner.run(self._open())
        return self

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp_adapter.session(self.tokens, self.origin)

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.http.close())
        self.runner.run(asyncio.sleep(0.05))  # TLS says goodbye
        self.runner.close()

    def send(self, method: str, url: str, body: Any = None) -> int:
        async def run() -> int:
            async with self.http.request(method, url, data=_asynchronous(body)) as answer:
                await answer.read()
                return answer.status

        return self.runner.run(run())


def _asynchronous(body: Any) -> Any:
    async def chunks() -> Any:
        for chunk in body:
            yield chunk

    return body if body is None or isinstance(body, bytes) else chunks()


every = pytest.mark.parametrize("kind", [ByHttpx, ByRequests, ByAiohttp])
Kind = Callable[[TokenSource, str], Caller]


@pytest.fixture
def server() -> Iterator[BoundServer]:
    with BoundServer(CA) as server:
        yield server


@pytest.fixture
def tokens(server: BoundServer, tmp_path: Path) -> TokenSource:
    files = CertificateFiles(*OLD.write(tmp_path, "client"), ca=server.write_ca(tmp_path), look_every=0)
    return TokenSource(issuer=server.url, client_id="reports", certificate=files)


@every
def test_requests_carry_one_token(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    """One token and one connection for requests one after the other."""
    with kind(tokens, server.url) as caller:
        assert [caller.send("GET", server.url + "/api") for _ in range(3)] == [200] * 3
    assert (server.tokens, server.connections_of(OLD), server.refusals) == (1, 1, 0)


@every
def test_a_renewed_certificate(server: BoundServer, tokens: TokenSource, kind: Kind, tmp_path: Path) -> None:
    """Connections and tokens change together, without a refusal."""
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 200
        NEW.write(tmp_path, "client")
        assert [caller.send("GET", server.url + "/api") for _ in range(2)] == [200] * 2
    assert (server.tokens, server.refusals, server.connections_of(NEW)) == (2, 0, 1)


@every
def test_a_certificate_is_renewed_while_the_authorization_server_is_away(
    server: BoundServer, tokens: TokenSource, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before goes on with its token, and the new one is used as soon as there is a token for it."""
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 200
        server.down = True
        NEW.write(tmp_path, "client")
        assert [caller.send("GET", server.url + "/api") for _ in range(3)] == [200] * 3
        assert (server.refusals, server.connections_of(NEW)) == (0, 0)
        server.down = False
        later = time.time() + COOL_DOWN
        monkeypatch.setattr(tokens, "_clock", lambda: later)
        assert [caller.send("GET", server.url + "/api") for _ in range(2)] == [200] * 2
    assert (server.tokens, server.refusals, server.connections_of(NEW)) == (2, 0, 1)


@every
def test_a_renewed_certificate_does_not_wait_for_tokens_that_are_no_use(
    server: BoundServer, tokens: TokenSource, kind: Kind, tmp_path: Path
) -> None:
    """Without a good token for the certificate before there is nothing to keep it for."""
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 200
        server.down = True
        NEW.write(tmp_path, "client")
        server.revoke()
        with pytest.raises(AuthorizationServerError):
            caller.send("GET", server.url + "/api")
        server.down = False
        assert caller.send("GET", server.url + "/api") == 200
    assert server.connections_of(NEW) == 1


@every
def test_an_invalid_token_is_replaced_once(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    """RFC 6750 §3.1, with the body sent again; as after the keys of the server were replaced."""
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 200
        server.revoke()
        assert caller.send("POST", server.url + "/api", b"data") == 200
    assert server.bodies == [b"", b"data", b"data"]
    assert (server.tokens, server.refusals) == (2, 1)


@every
def test_a_second_refusal_stands(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    server.revoked = {f"token-{number}" for number in range(10)}
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 401
    assert (server.tokens, server.refusals) == (2, 2)


@every
def test_a_body_that_is_used_up_is_not_sent_again(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 200
        server.revoke()
        assert caller.send("POST", server.url + "/api", iter([b"da", b"ta"])) == 401
    assert server.refusals == 1


@every
def test_the_authorization_server_is_away(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    """Without a token nothing is sent; when it is back, all goes on."""
    server.down = True
    with kind(tokens, server.url) as caller:
        with pytest.raises(AuthorizationServerError):
            caller.send("GET", server.url + "/api")
        assert server.bearers == []
        server.down = False
        assert caller.send("GET", server.url + "/api") == 200


@every
def test_servers_that_restart(tokens: TokenSource, kind: Kind, server: BoundServer) -> None:
    """Connections that were kept are gone; the token is not."""
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/api") == 200
        server.restart()
        assert caller.send("GET", server.url + "/api") == 200
    assert server.tokens == 1


@every
def test_a_redirect_to_another_origin_has_no_token(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    """Another port is another origin."""
    with BoundServer(CA, authority=server.authority) as other, kind(tokens, server.url) as caller:
        server.location = other.url + "/api"
        assert caller.send("GET", server.url + "/redirect") == 401
        assert server.bearers[0] is not None
        assert other.bearers == [None]


@every
def test_a_redirect_within_the_origin_keeps_the_token(server: BoundServer, tokens: TokenSource, kind: Kind) -> None:
    server.location = "/api"
    with kind(tokens, server.url) as caller:
        assert caller.send("GET", server.url + "/redirect") == 200


@every
def test_nothing_is_logged_or_shown(
    server: BoundServer, tokens: TokenSource, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with kind(tokens, server.url) as caller:
        caller.send("GET", server.url + "/api")
        shown = repr(vars(caller))
    assert "token-1." not in caplog.text + shown


def test_no_token_over_plain_http_by_requests(tokens: TokenSource) -> None:
    with requests_adapter.session(tokens) as http, pytest.raises(InsecureRequest):
        http.get("http://localhost:1/")


def test_no_token_over_plain_http_by_aiohttp(tokens: TokenSource) -> None:
    with pytest.raises(InsecureRequest):
        aiohttp_adapter.BoundTokens(tokens, "http://localhost")


def test_a_redirect_to_plain_http_has_no_token_by_requests(server: BoundServer, tokens: TokenSource) -> None:
    """requests takes the header away, so that nothing is there to be sent."""
    server.location = "http://localhost:1/api"
    with requests_adapter.session(tokens) as http, pytest.raises(requests_library.ConnectionError) as caught:
        http.get(server.url + "/redirect")
    assert caught.value.request is not None
    assert "Authorization" not in caught.value.request.headers


def test_the_token_source_says_whom_to_trust(server: BoundServer, tokens: TokenSource) -> None:
    """requests offers to turn verification off, and to present another certificate."""
    with requests_adapter.session(tokens) as http:
        for options in ({"verify": False}, {"cert": "other.pem"}):
            with pytest.raises(ClientConfigurationError):
                http.get(server.url + "/api", **options)  # type: ignore[arg-type] # one of two options
        assert http.get(server.url + "/api", verify="/etc/ssl/cert.pem").status_code == 200
        adapter = http.get_adapter(server.url)
        assert isinstance(adapter, requests_adapter.BoundAdapter)
        assert adapter._made is not None
        assert len(adapter._made[1].get_ca_certs()) == 1  # and none of those that come with requests


def test_a_server_that_nobody_vouches_for_by_requests(tokens: TokenSource) -> None:
    """Not a byte goes there."""
    with BoundServer(CA) as other, requests_adapter.session(tokens) as http:
        with pytest.raises(requests_library.exceptions.SSLError):
            http.get(other.url + "/api")
        assert other.bearers == []


async def test_aiohttp_wants_its_request_class(server: BoundServer, tokens: TokenSource) -> None:
    """A session without it would send tokens over whatever connection there is."""
    middleware = aiohttp_adapter.BoundTokens(tokens, server.url)
    connector = aiohttp.TCPConnector(ssl=tokens.ssl_context())
    async with aiohttp.ClientSession(middlewares=(middleware,), connector=connector) as http:
        with pytest.raises(TypeError, match="BoundRequest"):
            await http.get(server.url + "/api")


async def test_tasks_over_a_renewal_by_aiohttp(server: BoundServer, tokens: TokenSource, tmp_path: Path) -> None:
    """Twenty at once, before and after."""
    async with aiohttp_adapter.session(tokens, server.url) as http:

        async def get() -> int:
            async with http.get(server.url + "/api") as answer:
                await answer.read()
                return answer.status

        for identity in (OLD, NEW):
            identity.write(tmp_path, "client")
            assert set(await asyncio.gather(*(get() for _ in range(20)))) == {200}
    await asyncio.sleep(0.05)  # TLS says goodbye
    assert (server.tokens, server.refusals) == (2, 0)


async def test_a_web_socket_begins_with_a_token_by_aiohttp(server: BoundServer, tokens: TokenSource) -> None:
    """`wss` is the same origin; this server refuses to go on, but not for the token's sake."""
    async with aiohttp_adapter.session(tokens, server.url) as http:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(server.url.replace("https", "wss") + "/api")
    await asyncio.sleep(0.05)  # TLS says goodbye
    assert [str(bearer).partition(".")[0] for bearer in server.bearers] == ["Bearer token-1"]
    assert server.refusals == 0


def test_a_request_under_way_finishes_by_requests(server: BoundServer, tokens: TokenSource, tmp_path: Path) -> None:
    """Its connection lasts as long as its answer."""
    with requests_adapter.session(tokens) as http, http.get(server.url + "/slow", stream=True) as slow:
        body = slow.iter_content(6)
        assert next(body) == b"begin "
        NEW.write(tmp_path, "client")
        assert http.get(server.url + "/api").status_code == 200
        server.finish_slow()
        assert b"".join(body) == b"end"
    assert server.refusals == 0


async def test_a_request_under_way_finishes_by_aiohttp(
    server: BoundServer, tokens: TokenSource, tmp_path: Path
) -> None:
    async with aiohttp_adapter.session(tokens, server.url) as http, http.get(server.url + "/slow") as slow:
        assert await slow.content.readexactly(6) == b"begin "
        NEW.write(tmp_path, "client")
        async with http.get(server.url + "/api") as answer:
            assert answer.status == 200
        server.finish_slow()
        assert await slow.content.read() == b"end"
    await asyncio.sleep(0.05)  # TLS says goodbye
    assert server.refusals == 0


def test_threads_over_a_renewal_by_requests(server: BoundServer, tokens: TokenSource, tmp_path: Path) -> None:
    """Sessions of requests are not made for threads, but each may have its own, with the tokens of one source."""

    def work() -> set[int]:
        with requests_adapter.session(tokens) as http:
            return {http.get(server.url + "/api").status_code for _ in range(10)}

    with ThreadPoolExecutor(5) as executor:
        working = [executor.submit(work) for _ in range(5)]
        NEW.write(tmp_path, "client")
        assert set().union(*(each.result(20) for each in working)) == {200}
    assert server.refusals == 0
    assert server.tokens <= 2
