"""Status lists from a real HTTPS server that does everything wrong: nothing is good on the word of such a list."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.status_list import MEDIA_TYPE, StatusList
from mtls_as.verifier import AccessTokenVerifier, InvalidToken, TokenRefusal, VerificationUnavailable
from mtls_as.verifier.status_lists import COOL_DOWN, MAX_TTL
from tests.authority import Authority, self_signed
from tests.remote.https_server import Handler, HTTPSServer, Request, Stream, answer
from tests.verifier.issuer import AUDIENCE, NOW, OMIT, Issuer, segment, without_omitted

AS, STRANGER = Issuer(), Issuer()
MINE = self_signed()
PLACE, REVOKED, SUSPENDED = 5, 6, 7
TTL = 60
LEEWAY = 10


class Publisher:
    """An issuer that publishes a list of two bits for each token; the test changes what is answered."""

    def __init__(self, **options: Any) -> None:
        self.now = NOW
        self.server = HTTPSServer(self.handle)
        self.reply: Callable[[Request], bytes | Stream] = lambda _request: self.list()
        self.options = options

    @property
    def handler(self) -> Handler:
        return self.handle

    def handle(self, request: Request) -> bytes | Stream:
        return self.reply(request)

    @property
    def uri(self) -> str:
        return f"{self.server.url}/status/1"

    def verifier(self) -> AccessTokenVerifier:
        settings: dict[str, Any] = {
            "issuer": self.server.url,
            "audience": AUDIENCE,
            "jwks": AS.jwks,
            "ssl_context": self.server.client_context(),
            "clock": lambda: self.now,
            "leeway": LEEWAY,
        }
        return AccessTokenVerifier(**settings | self.options)

    def token(self, index: object = PLACE, *, uri: str | None = None, **claims: Any) -> str:
        status = {"status_list": {"idx": index, "uri": uri or self.uri}}
        return AS.token(MINE.der, **{"iss": self.server.url, "exp": NOW + 9_999, "status": status} | claims)

    def signed(self, *, issuer: Issuer = AS, header: dict[str, Any] | None = None, **claims: Any) -> bytes:
        members = {"alg": "ES256", "typ": "statuslist+jwt", "kid": AS.kid} | (header or {})
        octets = bytes([0, 0b10_01_00_00, 0])  # four tokens in each: 6 is INVALID, 7 is SUSPENDED
        payload = {
            "iss": self.server.url,
            "sub": self.uri,
            "iat": int(self.now),
            "exp": int(self.now) + 2 * TTL,
            "ttl": TTL,
            "status_list": StatusList(2, octets).encode(),
        }
        return issuer.sign(segment(without_omitted(members)), segment(without_omitted(payload | claims))).encode()

    def list(self, **changed: Any) -> bytes:
        return answer(self.signed(**changed), media_type=MEDIA_TYPE)

    @property
    def fetches(self) -> int:
        return len(self.server.requests)


async def verify(verifier: AccessTokenVerifier, token: str) -> None:
    await verifier.verify(token, certificate=MINE.der)


async def refusal(verifier: AccessTokenVerifier, token: str) -> TokenRefusal:
    with pytest.raises(InvalidToken) as caught:
        await verify(verifier, token)
    return caught.value.reason


async def tried(verifier: AccessTokenVerifier) -> None:
    """Wait for what is fetched beside the requests."""
    assert verifier._status_lists is not None
    for known in verifier._status_lists._lists.values():
        if known._attempt is not None:
            await known._attempt


async def test_what_the_list_says() -> None:
    """VALID alone is good; one fetch for all, which asks for the media type (§8.1)."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        good = publisher.token()
        await asyncio.gather(*(verify(verifier, good) for _ in range(50)))
        assert await refusal(verifier, publisher.token(REVOKED)) is TokenRefusal.REVOKED
        assert await refusal(verifier, publisher.token(SUSPENDED)) is TokenRefusal.REVOKED
        assert await refusal(verifier, publisher.token(12)) is TokenRefusal.CLAIM_REFUSED  # beyond the end
        assert await refusal(verifier, publisher.token(10**30)) is TokenRefusal.CLAIM_REFUSED
        assert verifier.verify_cached(good, certificate=MINE.der) is not None
        assert publisher.fetches == 1
        assert publisher.server.requests[0].headers["accept"] == MEDIA_TYPE


async def test_a_revocation_reaches_a_remembered_token() -> None:
    """The list is fetched anew beside the requests after half of its time; the token was in the cache all along."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        token = publisher.token()
        await verify(verifier, token)
        every = StatusList(1, b"\xff").encode()
        publisher.reply = lambda _request: publisher.list(status_list=every)
        publisher.now += TTL / 2 - 1
        await verify(verifier, token)
        assert publisher.fetches == 1
        publisher.now += 1
        assert verifier.verify_cached(token, certificate=MINE.der) is None
        await verify(verifier, token)  # does not wait for the list
        await verifier._status_lists._lists[publisher.uri].refreshed()  # type: ignore[union-attr] # there are lists
        assert await refusal(verifier, token) is TokenRefusal.REVOKED
        assert publisher.fetches == 2


def hostile() -> dict[str, Callable[[Publisher], bytes | Stream]]:
    """Answers that are no list for this token, now, by this issuer."""

    bomb = zlib.compress(bytes(64 << 20), 9)
    return {
        "error": lambda _p: answer(status=500),
        "missing": lambda _p: answer(status=404),
        "redirect": lambda p: answer(status=302, Location=f"{p.server.url}/other"),
        "other media type": lambda p: answer(p.signed(), media_type="application/jwt"),
        "not ASCII": lambda _p: answer(b"\xff\xfe", media_type=MEDIA_TYPE),
        "garbage": lambda _p: answer(b"a.b.c", media_type=MEDIA_TYPE),
        "huge": lambda _p: answer(b"a" * (3 << 20), media_type=MEDIA_TYPE),
        "bomb": lambda p: p.list(status_list={"bits": 1, "lst": encode_base64url(bomb)}),
        "by a stranger": lambda p: p.list(issuer=STRANGER),
        "by an unknown key": lambda p: p.list(issuer=STRANGER, header={"kid": STRANGER.kid}),
        "unsigned": lambda p: p.list(header={"alg": "none"}),
        "symmetric": lambda p: p.list(header={"alg": "HS256"}),
        "an access token": lambda p: p.list(header={"typ": "at+jwt"}),
        "no type": lambda p: p.list(header={"typ": OMIT}),
        "of another URI": lambda p: p.list(sub=f"{p.server.url}/status/2"),
        "of another issuer": lambda p: p.list(iss="https://other.example"),
        "without a time": lambda p: p.list(iat=OMIT),
        "expired": lambda p: p.list(iat=NOW - 50, exp=NOW - LEEWAY),
        "older than its ttl": lambda p: p.list(iat=NOW - TTL - LEEWAY, exp=NOW + 9_999),
        "old, without a ttl": lambda p: p.list(iat=NOW - MAX_TTL - LEEWAY, exp=NOW + 9_999, ttl=OMIT),
        "old, with a long ttl": lambda p: p.list(iat=NOW - MAX_TTL - LEEWAY, exp=NOW + 9_999, ttl=10**9),
        "from the future": lambda p: p.list(iat=NOW + LEEWAY + 1, exp=NOW + 9_999),
        "three bits": lambda p: p.list(status_list={"bits": 3, "lst": "eNrbuRgAAhcBXQ"}),
        "no list": lambda p: p.list(status_list=OMIT),
        "nothing": lambda _p: b"",
    }


@pytest.mark.parametrize("kind", hostile())
async def test_no_token_is_good_without_a_good_list(kind: str) -> None:
    """503, not 401: nothing is said about the token. And the publisher is left alone for some seconds."""
    publisher = Publisher()
    publisher.reply = lambda _request: hostile()[kind](publisher)
    with publisher.server:
        verifier = publisher.verifier()
        for _ in range(3):
            with pytest.raises(VerificationUnavailable):
                await verify(verifier, publisher.token())
        assert verifier.verify_cached(publisher.token(), certificate=MINE.der) is None
        fetched = publisher.fetches
        assert fetched == 1
        publisher.reply = lambda _request: publisher.list()
        publisher.now += COOL_DOWN
        await verify(verifier, publisher.token())
        assert publisher.fetches == 2


@pytest.mark.parametrize("kind", ["error", "by a stranger", "of another URI", "older than its ttl", "bomb"])
async def test_a_bad_list_never_replaces_a_good_one(kind: str) -> None:
    """Which counts until it ends, and not a second longer."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        token, revoked = publisher.token(), publisher.token(REVOKED)
        await verify(verifier, token)
        publisher.reply = lambda _request: hostile()[kind](publisher)
        publisher.now += TTL - 1
        for _ in range(2):
            await verify(verifier, token)
            assert await refusal(verifier, revoked) is TokenRefusal.REVOKED
            await tried(verifier)
        publisher.now += 1 + LEEWAY
        with pytest.raises(VerificationUnavailable):
            await verify(verifier, token)


async def test_a_server_that_does_not_end_its_answer() -> None:
    """All who wait wait once, and no longer than for any document."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/statuslist+jwt\r\nContent-Length: 99\r\n\r\n")
        for _ in range(100):
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)

    publisher = Publisher()
    publisher.reply = lambda _request: drip
    with publisher.server:
        verifier = publisher.verifier()
        assert verifier._status_lists is not None
        verifier._status_lists._fetcher._seconds = 0.3
        results = await asyncio.gather(
            *(verify(verifier, publisher.token()) for _ in range(10)), return_exceptions=True
        )
        assert {type(result) for result in results} == {VerificationUnavailable}
        assert publisher.fetches == 1


async def test_an_older_list_is_a_replay() -> None:
    """Also one that would still be good by itself: what was revoked stays so."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        token = publisher.token()
        innocent = publisher.list(iat=NOW - 20)
        publisher.reply = lambda _request: publisher.list(status_list=StatusList(1, b"\xff").encode())
        assert await refusal(verifier, token) is TokenRefusal.REVOKED
        publisher.reply = lambda _request: innocent
        publisher.now += TTL / 2
        assert await refusal(verifier, token) is TokenRefusal.REVOKED
        await tried(verifier)
        assert publisher.fetches == 2
        assert await refusal(verifier, token) is TokenRefusal.REVOKED


async def test_an_old_list_may_be_tolerated_for_some_time() -> None:
    """Where that was asked for."""
    publisher = Publisher(status_list_tolerance=300)
    with publisher.server:
        verifier = publisher.verifier()
        token = publisher.token()
        await verify(verifier, token)
        publisher.reply = lambda _request: answer(status=500)
        publisher.now += TTL + LEEWAY + 299
        await verify(verifier, token)
        publisher.now += 1
        with pytest.raises(VerificationUnavailable):
            await verify(verifier, token)


@pytest.mark.parametrize(
    "uri",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://localhost:1/status/1",
        "https://127.0.0.1:{port}/status/1",
        "https://localhost.evil.example:{port}/status/1",
        "https://evil.example/https://localhost:{port}/status/1",
    ],
)
async def test_a_token_does_not_say_whom_to_talk_to(uri: str) -> None:
    """Only the origins of the issuer and its keys, and those that were configured, are ever asked."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        token = publisher.token(uri=uri.format(port=publisher.server.port))
        assert await refusal(verifier, token) is TokenRefusal.CLAIM_REFUSED
        assert publisher.fetches == 0


async def test_another_origin_must_be_configured() -> None:
    """As for lists on a content network; the signature is the issuer's all the same."""
    publisher = Publisher(issuer="https://as.example")
    with publisher.server:
        token = publisher.token(iss="https://as.example")
        publisher.reply = lambda _request: publisher.list(iss="https://as.example")
        assert await refusal(publisher.verifier(), token) is TokenRefusal.CLAIM_REFUSED
        publisher.options["status_list_origins"] = [publisher.server.url]
        await verify(publisher.verifier(), token)


@pytest.mark.parametrize(
    "status",
    [None, [], {}, "x", {"other": 1}, {"status_list": {"idx": -1, "uri": "https://as.example/status/1"}}],
    ids=str,
)
async def test_a_status_that_is_not_understood(status: object) -> None:
    """It may say that the token is no good. Whoever looks at no status at all has said so."""
    publisher = Publisher()
    with publisher.server:
        token = publisher.token(status=status)
        assert await refusal(publisher.verifier(), token) is TokenRefusal.CLAIM_REFUSED
        publisher.options["check_status"] = False
        await verify(publisher.verifier(), token)
        await verify(publisher.verifier(), publisher.token(REVOKED))
        assert publisher.fetches == 0


async def test_keys_may_be_new_with_the_list() -> None:
    """A list by a key that is not known yet leads to one fetch of the keys."""
    publisher = Publisher()
    keys = {"keys": [AS.jwk]}

    def reply(request: Request) -> bytes:
        if request.path == "/jwks":
            return answer(keys)
        keys["keys"] = [AS.jwk, STRANGER.jwk]
        return publisher.list(issuer=STRANGER, header={"kid": STRANGER.kid})

    publisher.reply = reply
    with publisher.server:
        publisher.options |= {"jwks": None, "jwks_uri": f"{publisher.server.url}/jwks"}
        verifier = publisher.verifier()
        await verify(verifier, publisher.token())


async def test_many_lists_take_no_more_room_than_is_allowed() -> None:
    """The least recently used one goes, and is fetched again."""
    publisher = Publisher()
    publisher.reply = lambda request: publisher.list(sub=publisher.server.url + request.path)
    with publisher.server:
        verifier = publisher.verifier()
        lists = verifier._status_lists
        assert lists is not None
        lists._max_bytes = (1 << 20) + 5_000
        for number in range(8):
            await verify(verifier, publisher.token(uri=f"{publisher.server.url}/status/{number}"))
        assert len(lists._lists) <= 5
        await verify(verifier, publisher.token(uri=f"{publisher.server.url}/status/0"))
        assert publisher.fetches == 9


@pytest.mark.parametrize(
    "options",
    [
        {"status_list_tolerance": -1},
        {"status_list_tolerance": float("nan")},
        {"status_list_origins": "https://as.example"},
        {"status_list_origins": ["http://as.example"]},
    ],
    ids=str,
)
def test_settings_that_cannot_work(options: dict[str, Any]) -> None:
    """Noticed at once."""
    with pytest.raises(ValueError, match="status_list_"):
        AccessTokenVerifier(issuer="https://as.example", audience=AUDIENCE, jwks=AS.jwks, **options)


async def test_only_its_own_authority_vouches_for_the_server() -> None:
    """A server that somebody else vouches for is no server: fetching fails."""
    publisher = Publisher()
    with publisher.server, HTTPSServer(publisher.handle, authority=Authority.create("Other")) as other:
        publisher.options["ssl_context"] = other.client_context()
        with pytest.raises(VerificationUnavailable):
            await verify(publisher.verifier(), publisher.token())
