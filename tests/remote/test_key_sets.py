"""Key sets kept from remote documents: when they are fetched, and what never replaces them."""

import asyncio
from collections.abc import Callable
from typing import Self

import pytest

from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.remote.key_sets import DiscoveredKeySet, RemoteKeySet
from mtls_as.rfc.rfc7517_jwk import JWKSet
from mtls_as.rfc.rfc8414_metadata import MetadataError
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.verifier.issuer import Issuer

OLD, NEW = Issuer(), Issuer()
BOTH = {"keys": [OLD.jwk, NEW.jwk]}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Publisher:
    """Answers with `reply`, which a test changes as it goes."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.delay = 0.0

    def __call__(self, request: Request) -> Callable[[asyncio.StreamWriter], object]:
        async def stream(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(self.delay)
            writer.write(self.reply)
            await writer.drain()

        return stream


class Bench:
    """A publisher behind a real HTTPS server, a frozen clock, and the key set under test."""

    def __init__(self, reply: bytes = answer(OLD.jwks), *, eager: bool = False) -> None:
        self.clock = Clock()
        self.eager = eager
        self.publisher = Publisher(reply)
        self.server = HTTPSServer(self.publisher)  # type: ignore[arg-type] # a callable object

    def __enter__(self) -> Self:
        self.server.__enter__()
        self.fetcher = DocumentFetcher(ssl_context=self.server.client_context(), seconds=1)
        self.keys = RemoteKeySet(self.server.url + "/jwks", self.fetcher, clock=self.clock, eager=self.eager)
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(None, None, None)

    @property
    def fetches(self) -> int:
        return len(self.server.requests)


def kids(keys: JWKSet) -> set[str | None]:
    return {key.kid for key in keys.keys}


async def settle(keys: RemoteKeySet) -> None:
    if keys._attempt is not None:
        await keys._attempt


async def test_keys_are_fetched_once() -> None:
    """In the steady state no request leaves."""
    with Bench() as bench:
        for _ in range(1000):
            assert kids(await bench.keys.keys()) == {OLD.kid}
        assert bench.fetches == 1


async def test_callers_share_one_fetch() -> None:
    """Fifty requests at the start cost one fetch, and all get its keys."""
    with Bench() as bench:
        bench.publisher.delay = 0.1
        results = await asyncio.gather(
            *(bench.keys.keys() for _ in range(25)), *(bench.keys.refreshed() for _ in range(25))
        )
        assert all(kids(keys) == {OLD.kid} for keys in results)
        assert bench.fetches == 1


async def test_a_caller_that_goes_away_leaves_the_fetch_to_the_others() -> None:
    with Bench() as bench:
        bench.publisher.delay = 0.2
        impatient, patient = asyncio.create_task(bench.keys.keys()), asyncio.create_task(bench.keys.keys())
        await asyncio.sleep(0.05)
        impatient.cancel()
        assert kids(await patient) == {OLD.kid}
        assert bench.fetches == 1


async def test_a_miss_fetches_once_per_cool_down() -> None:
    """A rotated key is found at the first miss after the cool-down; a flood of misses costs nothing more."""
    with Bench() as bench:
        await bench.keys.keys()
        bench.publisher.reply = answer(BOTH)
        for _ in range(100):
            assert kids(await bench.keys.refreshed()) == {OLD.kid}
        assert bench.fetches == 1
        bench.clock.now += 30
        for _ in range(100):
            assert kids(await bench.keys.refreshed()) == {OLD.kid, NEW.kid}
        assert bench.fetches == 2


async def test_old_keys_are_refreshed_beside_the_requests() -> None:
    """After max_age the keys at hand are answered at once, and the fresh ones when they have come."""
    with Bench() as bench:
        await bench.keys.keys()
        bench.clock.now += 300
        bench.publisher.reply = answer(NEW.jwks)
        bench.publisher.delay = 0.2
        assert kids(await asyncio.wait_for(bench.keys.keys(), 0.1)) == {OLD.kid}
        await settle(bench.keys)
        assert kids(await bench.keys.keys()) == {NEW.kid}
        assert bench.fetches == 2


BROKEN = {
    "error 500": answer(status=500),
    "empty answer": answer(b""),
    "empty object": answer({}),
    "empty set": answer({"keys": []}),
    "unusable keys only": answer({"keys": [{"kty": "??"}]}),
    "symmetric key": answer({"keys": [OLD.jwk, {"kty": "oct", "k": "AAAA"}]}),
    "private key": answer({"keys": [{**OLD.jwk, "d": "AAAA"}]}),
    "repeated kid": answer({"keys": [OLD.jwk, {**NEW.jwk, "kid": OLD.kid}]}),
    "HTML": answer(b"<html>", media_type="text/html"),
    "ten megabytes": answer(b" " * 10_000_000),
    "cut": answer(OLD.jwks)[:-20],
    "nothing": b"",
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
async def test_broken_answers_replace_nothing(reply: bytes) -> None:
    """Known keys go on working for as long as no better ones come; then the better ones are taken."""
    with Bench() as bench:
        await bench.keys.keys()
        bench.publisher.reply = reply
        for fetches in (2, 3):
            bench.clock.now += 1000
            assert kids(await bench.keys.refreshed()) == {OLD.kid}
            assert kids(await bench.keys.keys()) == {OLD.kid}
            assert bench.fetches == fetches
        bench.publisher.reply = answer(NEW.jwks)
        bench.clock.now += 30
        assert kids(await bench.keys.refreshed()) == {NEW.kid}


async def test_slow_and_absent_servers_replace_nothing() -> None:
    with Bench() as bench:
        await bench.keys.keys()
        bench.publisher.delay = 1.5
        bench.clock.now += 1000
        assert kids(await bench.keys.refreshed()) == {OLD.kid}
    bench.clock.now += 1000
    assert kids(await bench.keys.refreshed()) == {OLD.kid}


async def test_no_keys_yet_is_an_error_and_one_fetch_per_cool_down() -> None:
    """Without keys nothing can be said; the server is not hammered, and its first good answer ends it."""
    with Bench(answer(status=503)) as bench:
        for _ in range(20):
            with pytest.raises(DocumentUnavailable, match="503"):
                await bench.keys.keys()
        assert bench.fetches == 1
        bench.publisher.reply = answer(OLD.jwks)
        bench.clock.now += 30
        assert kids(await bench.keys.keys()) == {OLD.kid}


async def test_a_clock_set_back_stops_no_fetch() -> None:
    """Otherwise a clock that was a year ahead at the first fetch would forbid the second for a year."""
    with Bench() as bench:
        await bench.keys.keys()
        bench.clock.now -= 1_000_000
        bench.publisher.reply = answer(NEW.jwks)
        assert kids(await bench.keys.refreshed()) == {NEW.kid}


def test_key_sets_survive_their_event_loop() -> None:
    """A program may run one loop after the other, as `asyncio.run` does."""
    with Bench() as bench:
        for fetches in (1, 2):
            assert kids(asyncio.run(bench.keys.refreshed())) == {OLD.kid}
            bench.clock.now += 30
            assert bench.fetches == fetches


def discovery(server_url: Callable[[], str], **members: object) -> Callable[[Request], bytes]:
    def handler(request: Request) -> bytes:
        if request.path == "/.well-known/oauth-authorization-server/tenant":
            return answer({"issuer": server_url() + "/tenant", "jwks_uri": server_url() + "/jwks"} | members)
        return answer(OLD.jwks)

    return handler


async def test_keys_of_a_discovered_issuer() -> None:
    """The metadata is read once, as long as keys come from the place it names (RFC 8414 §3)."""
    server = HTTPSServer(discovery(lambda: server.url))
    with server:
        clock = Clock()
        fetcher = DocumentFetcher(ssl_context=server.client_context())
        keys = DiscoveredKeySet(server.url + "/tenant", fetcher, clock=clock)
        assert kids(await keys.keys()) == {OLD.kid}
        clock.now += 30
        assert kids(await keys.refreshed()) == {OLD.kid}
    assert server.paths() == ["/.well-known/oauth-authorization-server/tenant", "/jwks", "/jwks"]


@pytest.mark.parametrize(
    "members",
    [{"issuer": "https://other.example"}, {"jwks_uri": None}, {"jwks_uri": "http://localhost/"}, {"issuer": 1}],
)
async def test_metadata_that_names_no_keys(members: dict[str, object]) -> None:
    """Another issuer (RFC 8414 §3.3), no key set, one that is not https."""
    server = HTTPSServer(discovery(lambda: server.url, **members))
    with server:
        fetcher = DocumentFetcher(ssl_context=server.client_context())
        with pytest.raises(DocumentUnavailable, match=r"well-known.*(issuer|jwks_uri)"):
            await DiscoveredKeySet(server.url + "/tenant", fetcher, clock=Clock()).keys()
    assert "/jwks" not in server.paths()


async def test_a_moved_key_set_is_discovered_again() -> None:
    """When keys no longer come from where they were, the metadata is asked once more."""
    place = ["/jwks"]

    def handler(request: Request) -> bytes:
        if "well-known" in request.path:
            return answer({"issuer": server.url, "jwks_uri": server.url + place[0]})
        return answer(OLD.jwks) if request.path == place[0] else answer(status=404)

    server = HTTPSServer(handler)
    with server:
        clock = Clock()
        keys = DiscoveredKeySet(server.url, DocumentFetcher(ssl_context=server.client_context()), clock=clock)
        await keys.keys()
        place[0] = "/moved"
        for _ in range(2):
            clock.now += 30
            assert kids(await keys.refreshed()) == {OLD.kid}
    assert server.paths()[-3:] == ["/jwks", "/.well-known/oauth-authorization-server", "/moved"]


def test_bad_issuer_is_noticed_at_once() -> None:
    with pytest.raises(MetadataError):
        DiscoveredKeySet("http://as.example", DocumentFetcher(), clock=Clock())


async def test_an_eager_set_sees_each_change_at_once() -> None:
    """However soon after another; what brings nothing new is asked for at growing distances, up to the cool-down."""
    with Bench(eager=True) as bench:
        assert kids(await bench.keys.keys()) == {OLD.kid}
        for fetches, reply in ((2, BOTH), (3, NEW.jwks)):
            bench.publisher.reply = answer(reply)
            await bench.keys.refreshed()
            assert bench.fetches == fetches
        assert kids(await bench.keys.keys()) == {NEW.kid}
        at = []
        for second in range(100):
            before = bench.fetches
            for _ in range(3):
                await bench.keys.refreshed()
            at += [second] * (bench.fetches - before)
            bench.clock.now += 1
        assert at == [0, 1, 3, 7, 15, 31, 61, 62, 64, 68, 76, 92]
        bench.publisher.reply = answer(BOTH)
        bench.clock.now += 30
        assert kids(await bench.keys.refreshed()) == {OLD.kid, NEW.kid}
