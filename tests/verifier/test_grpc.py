"""The interceptors in front of every kind of method, asynchronous and not, over real handshakes."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import grpc
import grpc.aio
import pytest

from mtls_as.verifier import GivenCertificate, ProofMemory, ResourceGuard
from mtls_as.verifier.grpc import PeerCertificate, RequireBoundToken, RequireBoundTokenSync, _peer, access_token
from tests.authority import Authority, Identity
from tests.dpop import DPoPKey
from tests.verifier.issuer import AUDIENCE, NOW
from tests.verifier.requests import AS, guard, verifier

SERVER_CA, CLIENT_CA = Authority.create("Server CA"), Authority.create("Client CA")
SERVER = SERVER_CA.issue_server("localhost")
MINE, THIEF = CLIENT_CA.issue("mine"), CLIENT_CA.issue("thief")
TOKEN = AS.token(MINE.der)
SCOPES = {"/example.Reports/Write": ["reports:write"]}


class Asynchronous:
    """One method of each kind, and one that is not asynchronous."""

    async def one(self, message: bytes, context: Any) -> bytes:
        return access_token.get().client_id.encode() + message

    async def many(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        for part in (b"1", b"2"):
            yield access_token.get().client_id.encode() + part

    async def collect(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        return access_token.get().client_id.encode() + b"".join([message async for message in messages])

    async def echo(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield access_token.get().client_id.encode() + message

    def plain(self, message: bytes, context: Any) -> bytes:
        return b"never"


class Synchronous:
    def one(self, message: bytes, context: Any) -> bytes:
        return access_token.get().client_id.encode() + message

    def many(self, message: bytes, context: Any) -> Iterator[bytes]:
        for part in (b"1", b"2"):
            yield access_token.get().client_id.encode() + part

    def collect(self, messages: Iterator[bytes], context: Any) -> bytes:
        return access_token.get().client_id.encode() + b"".join(messages)

    def echo(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in messages:
            yield access_token.get().client_id.encode() + message

    def plain(self, message: bytes, context: Any) -> bytes:
        with pytest.raises(LookupError):
            access_token.get()  # another call's, in the same thread
        return b""


def handlers(service: Any) -> Any:
    methods = {
        "One": grpc.unary_unary_rpc_method_handler(service.one),
        "Write": grpc.unary_unary_rpc_method_handler(service.one),
        "Many": grpc.unary_stream_rpc_method_handler(service.many),
        "Collect": grpc.stream_unary_rpc_method_handler(service.collect),
        "Echo": grpc.stream_stream_rpc_method_handler(service.echo),
        "Plain": grpc.unary_unary_rpc_method_handler(service.plain),
    }
    return grpc.method_handlers_generic_handler("example.Reports", methods)


def credentials() -> Any:
    pair = (SERVER.key_pem.encode(), SERVER.chain_pem.encode())
    return grpc.ssl_server_credentials([pair], CLIENT_CA.pem.encode(), require_client_auth=True)


@contextlib.contextmanager
def asynchronous(guarding: ResourceGuard) -> Iterator[int]:
    """A `grpc.aio` server in a thread of its own, with its loop."""
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        server = grpc.aio.server(interceptors=[RequireBoundToken(guarding, scopes=SCOPES)])
        server.add_generic_rpc_handlers((handlers(Asynchronous()),))
        port = server.add_secure_port("localhost:0", credentials())
        await server.start()
        ended = asyncio.Event()
        started.set_result((port, asyncio.get_running_loop(), ended))
        await ended.wait()
        await server.stop(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    port, loop, ended = started.result(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


@contextlib.contextmanager
def synchronous(guarding: ResourceGuard) -> Iterator[int]:
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, interceptors=[RequireBoundTokenSync(guarding, scopes=SCOPES)])
        server.add_generic_rpc_handlers((handlers(Synchronous()),))
        port: int = server.add_secure_port("localhost:0", credentials())
        server.start()
        try:
            yield port
        finally:
            server.stop(0).wait()


Result = tuple[grpc.StatusCode, Any, dict[str, str]]


class Client:
    """Calls the service, with a certificate."""

    def __init__(self, port: int, identity: Identity) -> None:
        root, key = SERVER_CA.pem.encode(), identity.key_pem.encode()
        own = grpc.ssl_channel_credentials(root, key, identity.chain_pem.encode())
        self._channel = grpc.secure_channel(f"localhost:{port}", own)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, kind: str, method: str, message: Any, *metadata: tuple[str, str]) -> Result:
        ask = getattr(self._channel, kind)(f"/example.Reports/{method}")
        try:
            answer = ask(message, metadata=metadata, timeout=10)
            result = answer if isinstance(answer, bytes) else list(answer)
        except grpc.RpcError as error:
            trailing = dict(error.trailing_metadata() or ())  # type: ignore[attr-defined] # every RpcError of a channel is a call
            return error.code(), error.details(), trailing  # type: ignore[attr-defined] # likewise
        return grpc.StatusCode.OK, result, {}


@pytest.fixture(params=[asynchronous, synchronous], ids=["grpc.aio", "threads"], scope="module")
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with request.param(guard(certificates=PeerCertificate(), scopes=["reports:read"])) as running:
        yield running


def bearer(token: str = TOKEN) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


KINDS: dict[str, tuple[str, Any, Any]] = {
    "One": ("unary_unary", b"x", b"reportsx"),
    "Many": ("unary_stream", b"x", [b"reports1", b"reports2"]),
    "Collect": ("stream_unary", [b"x", b"y"], b"reportsxy"),
    "Echo": ("stream_stream", [b"x", b"y"], [b"reportsx", b"reportsy"]),
}


@pytest.mark.parametrize("method", KINDS)
def test_every_kind_of_method(port: int, method: str) -> None:
    """With its certificate the token opens it; with another's it does not, and no handler begins."""
    kind, message, expected = KINDS[method]
    sent = iter(message) if isinstance(message, list) else message
    with Client(port, MINE) as client:
        assert client.call(kind, method, sent, bearer())[:2] == (grpc.StatusCode.OK, expected)
    sent = iter(message) if isinstance(message, list) else message
    with Client(port, THIEF) as client:
        code, details, trailing = client.call(kind, method, sent, bearer())
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "another certificate" in details
    assert trailing["www-authenticate"].startswith('Bearer error="invalid_token"')


def test_what_is_refused(port: int) -> None:
    with Client(port, MINE) as client:

        def code(method: str, *metadata: tuple[str, str]) -> grpc.StatusCode:
            return client.call("unary_unary", method, b"", *metadata)[0]

        assert code("One") is grpc.StatusCode.UNAUTHENTICATED
        assert code("One", bearer(AS.token(MINE.der, exp=1))) is grpc.StatusCode.UNAUTHENTICATED
        assert code("One", bearer(AS.token(MINE.der, scope="other"))) is grpc.StatusCode.PERMISSION_DENIED
        assert code("One", bearer(), bearer()) is grpc.StatusCode.INVALID_ARGUMENT
        assert code("One", bearer(), ("x-forwarded-client-cert", "x")) is grpc.StatusCode.INVALID_ARGUMENT
        assert code("Nothing", bearer()) is grpc.StatusCode.UNIMPLEMENTED


def test_scopes_of_single_methods(port: int) -> None:
    """They are needed beside the guard's, which the challenge says."""
    with Client(port, MINE) as client:
        code, _, trailing = client.call("unary_unary", "Write", b"", bearer())
        assert (code, 'scope="reports:read reports:write"' in trailing["www-authenticate"]) == (
            grpc.StatusCode.PERMISSION_DENIED,
            True,
        )
        both = AS.token(MINE.der, scope="reports:read reports:write")
        assert client.call("unary_unary", "Write", b"", bearer(both))[:2] == (grpc.StatusCode.OK, b"reports")


def test_dpop() -> None:
    """A call is a POST to the path of its method (RFC 9449 §4.3)."""
    key = DPoPKey()
    token = AS.token(None, cnf={"jkt": key.thumbprint})
    guarding = ResourceGuard(
        verifier(dpop=ProofMemory(clock=lambda: NOW)), certificates=PeerCertificate(), dpop_url=AUDIENCE
    )
    proof = key.proof("POST", f"{AUDIENCE}/example.Reports/One", token=token, iat=int(NOW))
    metadata = (("authorization", f"DPoP {token}"), ("dpop", proof))
    with asynchronous(guarding) as port, Client(port, THIEF) as client:
        codes = [client.call("unary_unary", "One", b"", *metadata)[0] for _ in range(2)]
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


def test_handlers_of_the_other_kind() -> None:
    """A call of one that the interceptor cannot stand before fails; it is not let through."""
    with asynchronous(guard(certificates=PeerCertificate())) as port, Client(port, MINE) as client:
        assert client.call("unary_unary", "Plain", b"", bearer())[0] is grpc.StatusCode.UNKNOWN


async def test_without_tls() -> None:
    """A token over plain HTTP/2 is refused, whatever it is bound to."""
    server = grpc.aio.server(interceptors=[RequireBoundToken(guard(certificates=PeerCertificate()))])
    server.add_generic_rpc_handlers((handlers(Asynchronous()),))
    port = server.add_insecure_port("localhost:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/example.Reports/One")(b"", metadata=(bearer(),))
    await server.stop(0)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("text", "peer"),
    [("ipv4:127.0.0.1:5", "127.0.0.1"), ("ipv6:%5B::1%5D:5", "::1"), ("unix:/run/x", None), ("unix:", None), ("x", "")],
)
def test_where_a_call_comes_from(text: str, peer: str | None) -> None:
    assert _peer(text) == peer


@pytest.mark.parametrize("scopes", [{"List": ["a"]}, {"/example.Reports/List": "a"}], ids=["a bare name", "a text"])
def test_scopes_that_would_protect_nothing(scopes: Any) -> None:
    for kind in (RequireBoundToken, RequireBoundTokenSync):
        with pytest.raises(ValueError, match="methods"):
            kind(guard(certificates=GivenCertificate()), scopes=scopes)
