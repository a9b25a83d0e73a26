"""Channels of gRPC, with and without asyncio, whose server lets in what is bound to the certificate of the call."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mtls_as.client import AuthorizationServerError, CertificateFiles, TokenSource
from mtls_as.client import grpc as adapter
from mtls_as.client import grpc_aio as aio_adapter
from mtls_as.rfc.rfc5280_certificate import parse_pem_certificates
from mtls_as.rfc.rfc8705_mtls import certificate_thumbprint
from tests.authority import Authority
from tests.client.resource_server import BoundServer

CA = Authority.create("Client CA")
OLD, NEW = CA.issue("reports"), CA.issue("reports")
REFUSED = 'Bearer error="invalid_token"'


class Service:
    """One method of each kind; each answers with the name of the token, and messages that came."""

    def __init__(self, server: BoundServer) -> None:
        self.server = server
        self.refusals = 0
        self.go_on = threading.Event()

    def admit(self, context: grpc.ServicerContext) -> bytes:
        (certificate,) = parse_pem_certificates(b"".join(context.auth_context()["x509_pem_cert"]))
        (value,) = (value for name, value in context.invocation_metadata() if name == "authorization")
        token, _, bound = str(value).removeprefix("Bearer ").partition(".")
        if bound != certificate_thumbprint(certificate) or token in self.server.revoked:
            self.refusals += 1
            context.set_trailing_metadata((("www-authenticate", REFUSED),))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "No.")
        return token.encode()

    def one(self, message: bytes, context: Any) -> bytes:
        return self.admit(context) + message

    def many(self, message: bytes, context: Any) -> Iterator[bytes]:
        yield self.admit(context)
        if message == b"slow":
            self.go_on.wait(5)
        yield message

    def collect(self, messages: Iterator[bytes], context: Any) -> bytes:
        return self.admit(context) + b"".join(messages)

    def echo(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        token = self.admit(context)
        for message in messages:
            yield token + message

    def forbidden(self, message: bytes, context: Any) -> bytes:
        self.admit(context)
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "For another reason.")
        return b""

    def start(self, address: str = "localhost:0") -> tuple[grpc.Server, int]:
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        methods = {
            "One": grpc.unary_unary_rpc_method_handler(self.one),
            "Many": grpc.unary_stream_rpc_method_handler(self.many),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "Forbidden": grpc.unary_unary_rpc_method_handler(self.forbidden),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("example.Reports", methods),))
        own = self.server.authority.issue_server("localhost")
        pair = (own.key_pem.encode(), own.chain_pem.encode())
        credentials = grpc.ssl_server_credentials([pair], CA.pem.encode(), require_client_auth=True)
        port = server.add_secure_port(address, credentials)
        server.start()
        return server, port


class Place:
    def __init__(self, service: Service, tokens: TokenSource, port: int, folder: Path) -> None:
        self.service, self.tokens, self.folder = service, tokens, folder
        self.server = service.server
        self.target = f"localhost:{port}"

    def renew(self) -> None:
        NEW.write(self.folder, "client")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with BoundServer(CA) as authorization_server:
        files = CertificateFiles(
            *OLD.write(tmp_path, "client"), ca=authorization_server.write_ca(tmp_path), look_every=0
        )
        tokens = TokenSource(issuer=authorization_server.url, client_id="reports", certificate=files)
        service = Service(authorization_server)
        server, port = service.start()
        yield Place(service, tokens, port, tmp_path)
        service.go_on.set()
        server.stop(None).wait()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what gRPC does in a thread of its own."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


class Blocking:
    """Every kind of call over a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.one = channel.unary_unary("/example.Reports/One")
        self.many = channel.unary_stream("/example.Reports/Many")
        self.collect = channel.stream_unary("/example.Reports/Collect")
        self.echo = channel.stream_stream("/example.Reports/Echo")
        self.forbidden = channel.unary_unary("/example.Reports/Forbidden")

    def all(self) -> list[bytes]:
        return [
            self.one(b"a"),
            self.one.with_call(b"b")[0],
            self.one.future(b"c").result(5),
            b"".join(self.many(b"d")),
            self.collect(iter([b"e", b"f"])),
            self.collect.future(iter([b"g"])).result(5),
            b"".join(self.echo(iter([b"h"]))),
        ]


def answers(token: str) -> list[bytes]:
    return [token.encode() + rest for rest in (b"a", b"b", b"c", b"d", b"ef", b"g", b"h")]


class TestBlocking:
    def test_every_kind_of_call(self, place: Place) -> None:
        with adapter.secure_channel(place.target, place.tokens, scope="reports:read") as channel:
            assert Blocking(channel).all() == answers("token-1")
        assert (place.server.tokens, place.service.refusals) == (1, 0)

    def test_a_renewed_certificate(self, place: Place) -> None:
        """The stubs of before go on, with the new certificate and new tokens."""
        with adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Blocking(channel)
            assert stub.all() == answers("token-1")
            place.renew()
            assert stub.all() == answers("token-2")
        assert place.service.refusals == 0

    def test_a_call_under_way_finishes(self, place: Place) -> None:
        with adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Blocking(channel)
            stream = stub.many(b"slow")
            assert next(stream) == b"token-1"
            place.renew()
            assert stub.one(b"") == b"token-2"
            place.service.go_on.set()
            assert list(stream) == [b"slow"]

    def test_an_invalid_token_is_replaced_once(self, place: Place) -> None:
        with adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Blocking(channel)
            stub.one(b"")
            place.server.revoke()
            assert stub.one(b"a") == b"token-2a"
            place.server.revoked = {f"token-{number}" for number in range(10)}
            with pytest.raises(grpc.RpcError):
                stub.one(b"")
        assert place.service.refusals == 3

    def test_what_cannot_be_sent_again_has_another_token_the_next_time(self, place: Place) -> None:
        """Streams, and calls whose answer is not waited for."""
        with adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Blocking(channel)
            calls = {
                "many": lambda: list(stub.many(b"")),
                "collect": lambda: stub.collect(iter([])),
                "future": lambda: stub.one.future(b"").result(5),
                "echo": lambda: list(stub.echo(iter([b""]))),
            }
            for call in calls.values():
                stub.one(b"")
                place.server.revoke()
                with pytest.raises(grpc.RpcError):
                    call()
                issued = place.server.tokens
                until(lambda: not place.tokens._tokens)
                call()
                assert place.server.tokens == issued + 1

    def test_other_refusals_stand(self, place: Place) -> None:
        with adapter.secure_channel(place.target, place.tokens) as channel, pytest.raises(grpc.RpcError):
            Blocking(channel).forbidden(b"")
        assert place.server.tokens == 1

    def test_the_authorization_server_is_away(self, place: Place) -> None:
        place.server.down = True
        with adapter.secure_channel(place.target, place.tokens) as channel:
            with pytest.raises(AuthorizationServerError):
                Blocking(channel).one(b"")
            place.server.down = False
            assert Blocking(channel).one(b"") == b"token-1"

    def test_states_are_told_over_a_renewal(self, place: Place) -> None:
        seen: list[grpc.ChannelConnectivity] = []
        with adapter.secure_channel(place.target, place.tokens) as channel:
            channel.subscribe(seen.append)
            stub = Blocking(channel)
            stub.one(b"")
            place.renew()
            stub.one(b"")
            until(lambda: seen.count(grpc.ChannelConnectivity.READY) >= 2)
            channel.unsubscribe(seen.append)
        assert seen.count(grpc.ChannelConnectivity.READY) >= 2

    def test_credentials_for_a_channel_of_ones_own(self, place: Place) -> None:
        """The certificate and the tokens of a moment."""
        credentials = place.tokens.credentials()
        composite = grpc.composite_channel_credentials(
            adapter.channel_credentials(credentials), adapter.call_credentials(place.tokens, credentials)
        )
        with grpc.secure_channel(place.target, composite) as channel:
            assert Blocking(channel).all() == answers("token-1")
            place.renew()
            assert place.tokens.token().value.startswith("token-2.")
            assert Blocking(channel).one(b"").startswith(b"token-")  # with the certificate that it began with
        assert place.service.refusals == 0

    def test_the_errors_of_call_credentials_end_the_call(self, place: Place) -> None:
        place.server.down = True
        credentials = place.tokens.credentials()
        composite = grpc.composite_channel_credentials(
            adapter.channel_credentials(credentials), adapter.call_credentials(place.tokens, credentials)
        )
        with grpc.secure_channel(place.target, composite) as channel, pytest.raises(grpc.RpcError) as caught:
            Blocking(channel).one(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


class Asynchronous:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.one: Any = channel.unary_unary("/example.Reports/One")
        self.many: Any = channel.unary_stream("/example.Reports/Many")
        self.collect: Any = channel.stream_unary("/example.Reports/Collect")
        self.echo: Any = channel.stream_stream("/example.Reports/Echo")
        self.forbidden: Any = channel.unary_unary("/example.Reports/Forbidden")

    async def all(self) -> list[bytes]:
        return [
            await self.one(b"a"),
            b"".join([message async for message in self.many(b"d")]),
            await self.collect(_each(b"e", b"f")),
            b"".join([message async for message in self.echo(_each(b"h"))]),
        ]


async def _each(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def aio_answers(token: str) -> list[bytes]:
    return [token.encode() + rest for rest in (b"a", b"d", b"ef", b"h")]


async def renew(place: Place, stub: Asynchronous) -> None:
    """Until there is a token for the new certificate, which a call with the old one has asked for beside it."""
    old = place.tokens.credentials()
    place.renew()
    assert await stub.one(b"") == b"token-1"
    await asyncio.to_thread(until, lambda: place.tokens.credentials() is not old)


class TestAsynchronous:
    async def test_every_kind_of_call_over_a_renewal(self, place: Place) -> None:
        async with aio_adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Asynchronous(channel)
            assert await stub.all() == aio_answers("token-1")
            await renew(place, stub)
            assert await stub.all() == aio_answers("token-2")
            await channel.channel_ready()
            assert channel.get_state() is grpc.ChannelConnectivity.READY
        assert (place.server.tokens, place.service.refusals) == (2, 0)

    async def test_a_call_under_way_finishes(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """The old channel closes by itself, after its last call."""
        monkeypatch.setattr(aio_adapter, "_LINGER", 0.01)
        async with aio_adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Asynchronous(channel)
            stream = stub.many(b"slow").__aiter__()
            assert await stream.__anext__() == b"token-1"
            await renew(place, stub)
            assert await stub.one(b"") == b"token-2"
            await asyncio.sleep(0.1)
            assert len(channel._retiring) == 1
            place.service.go_on.set()
            assert [message async for message in stream] == [b"slow"]
            await asyncio.to_thread(until, lambda: not channel._retiring)
            assert not channel._retiring

    async def test_an_invalid_token_is_replaced_once(self, place: Place) -> None:
        async with aio_adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Asynchronous(channel)
            await stub.one(b"")
            place.server.revoke()
            assert await stub.one(b"a") == b"token-2a"
            place.server.revoked = {f"token-{number}" for number in range(10)}
            with pytest.raises(grpc.RpcError):
                await stub.one(b"")
        assert place.service.refusals == 3

    async def test_what_cannot_be_sent_again_has_another_token_the_next_time(self, place: Place) -> None:
        async with aio_adapter.secure_channel(place.target, place.tokens) as channel:
            stub = Asynchronous(channel)
            await stub.one(b"")
            place.server.revoke()
            with pytest.raises(grpc.RpcError):
                [message async for message in stub.many(b"")]
            await asyncio.to_thread(until, lambda: not place.tokens._tokens)
            assert [message async for message in stub.many(b"")] == [b"token-2", b""]

    async def test_other_refusals_stand(self, place: Place) -> None:
        async with aio_adapter.secure_channel(place.target, place.tokens) as channel:
            with pytest.raises(grpc.RpcError):
                await Asynchronous(channel).forbidden(b"")
        assert place.server.tokens == 1

    async def test_the_authorization_server_is_away(self, place: Place) -> None:
        place.server.down = True
        async with aio_adapter.secure_channel(place.target, place.tokens) as channel:
            with pytest.raises(AuthorizationServerError):
                await Asynchronous(channel).one(b"")
            place.server.down = False
            assert await Asynchronous(channel).one(b"") == b"token-1"

    async def test_closing_ends_the_channels_of_before(self, place: Place) -> None:
        channel = aio_adapter.secure_channel(place.target, place.tokens)
        stub = Asynchronous(channel)
        await stub.one(b"")
        await renew(place, stub)
        await stub.one(b"")
        await channel.close()
        assert not channel._retiring
