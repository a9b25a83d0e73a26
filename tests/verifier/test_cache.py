"""The same token again: from memory, and never where a first look would refuse it."""

import tracemalloc
from typing import Any

import pytest

from mtls_as.rfc.rfc7519_jwt import verify as verify_signature
from mtls_as.verifier import (
    AccessTokenVerifier,
    DPoPRequest,
    InsufficientScope,
    InvalidDPoPProof,
    InvalidToken,
    ProofMemory,
    TokenRefusal,
    VerifiedToken,
)
from mtls_as.verifier.cache import Accepted, TokenCache, token_digest
from tests.authority import self_signed
from tests.dpop import DPoPKey
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.verifier.issuer import AUDIENCE, ISSUER, NOW, Issuer

AS, SUCCESSOR = Issuer(), Issuer()
MINE, THIEF = self_signed("mine"), self_signed("thief")


class Counted:
    """A verifier whose clock the test moves, and how many signatures it has checked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.now = NOW
        self.checks = 0
        settings: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": AS.jwks, "clock": lambda: self.now}
        self.verifier = AccessTokenVerifier(**settings | options)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.checks += 1
            return verify_signature(*arguments, **named)

        monkeypatch.setattr("mtls_as.rfc.rfc7519_jwt.verify", counted)

    async def verify(self, token: str, certificate: bytes | None = MINE.der, **options: Any) -> VerifiedToken:
        return await self.verifier.verify(token, certificate=certificate, **options)

    async def refusal(self, token: str, certificate: bytes | None = MINE.der, **options: Any) -> TokenRefusal:
        with pytest.raises(InvalidToken) as caught:
            await self.verify(token, certificate, **options)
        return caught.value.reason


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def test_one_signature_check_for_many_requests(counted: Counted) -> None:
    """By the coroutine and without it, with every form of the certificate; the result is the same."""
    token = AS.token(MINE.der)
    assert counted.verifier.verify_cached(token, certificate=MINE.der) is None
    first = await counted.verify(token)
    for certificate in (MINE.der, MINE.pem, MINE.pem.encode()):
        assert await counted.verifier.verify(token, certificate=certificate) == first
        assert counted.verifier.verify_cached(token, certificate=certificate, scopes=["reports:read"]) == first
    assert counted.checks == 1


async def test_everything_but_the_signature_is_checked_each_time(counted: Counted) -> None:
    """Another certificate, none, a missing scope, the scheme DPoP: whatever the token was good for before."""
    token = AS.token(MINE.der)
    await counted.verify(token)
    for certificate, reason in [
        (THIEF.der, TokenRefusal.OTHER_CERTIFICATE),
        (None, TokenRefusal.NO_CERTIFICATE),
        (b"junk", TokenRefusal.NO_CERTIFICATE),
    ]:
        assert await counted.refusal(token, certificate) is reason
        with pytest.raises(InvalidToken):
            counted.verifier.verify_cached(token, certificate=certificate)
    with pytest.raises(InsufficientScope):
        await counted.verify(token, scopes=["reports:write"])
    with pytest.raises(InsufficientScope):
        counted.verifier.verify_cached(token, certificate=MINE.der, scopes=["reports:read", "reports:write"])
    request = DPoPRequest(proof="x", method="GET", url="https://api.example/")
    assert await counted.refusal(token, dpop=request) is TokenRefusal.WRONG_SCHEME
    assert counted.checks == 1


async def test_never_past_the_end(counted: Counted) -> None:
    """`exp` with the leeway, to the second; nor before `nbf` and `iat` when the clock is set back."""
    token = AS.token(MINE.der, nbf=int(NOW) + 5)
    await counted.verify(token)
    counted.now = NOW + 240 + 10 - 0.001
    await counted.verify(token)
    assert counted.checks == 1
    counted.now = NOW + 250
    assert counted.verifier.verify_cached(token, certificate=MINE.der) is None
    assert await counted.refusal(token) is TokenRefusal.EXPIRED
    counted.now = NOW - 5.001
    assert counted.verifier.verify_cached(token, certificate=MINE.der) is None
    assert await counted.refusal(token) is TokenRefusal.CLAIM_REFUSED


async def test_refused_tokens_are_not_remembered(counted: Counted) -> None:
    """Neither as good nor as bad: forged ones push nothing out."""
    good = AS.token(MINE.der)
    for token in (SUCCESSOR.token(MINE.der, header={"kid": AS.kid}), good[:-2] + "AA", AS.token(MINE.der, iss="x")):
        for _ in range(2):
            await counted.refusal(token)
    assert len(counted.verifier._tokens) == 0
    assert counted.verifier.verify_cached(good, certificate=MINE.der) is None


async def test_a_withdrawn_key_ends_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the key set without it is known; a set that has not changed costs no new check."""
    keys = {"keys": [AS.jwk, SUCCESSOR.jwk]}
    with HTTPSServer(lambda _request: answer(keys)) as server:
        options = {"jwks": None, "jwks_uri": server.url, "ssl_context": server.client_context()}
        counted = Counted(monkeypatch, **options)
        old, new = AS.token(MINE.der, exp=NOW + 9_999), SUCCESSOR.token(MINE.der, exp=NOW + 9_999)
        for token in (old, new):
            await counted.verify(token)
        counted.now += 301  # the keys are fetched again, and are the same
        assert counted.verifier.verify_cached(old, certificate=MINE.der) is None
        await counted.verifier._keys.refreshed()
        assert counted.verifier.verify_cached(old, certificate=MINE.der) is not None
        assert counted.checks == 2
        keys["keys"] = [SUCCESSOR.jwk]
        counted.now += 301
        await counted.verifier._keys.refreshed()
        assert counted.verifier.verify_cached(old, certificate=MINE.der) is None
        assert await counted.refusal(old) is TokenRefusal.UNKNOWN_KEY
        await counted.verify(new)


async def test_keys_that_cannot_be_fetched_again_go_on_serving_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do without a cache; `verify_cached` leaves it to `verify`."""
    reply = [answer(AS.jwks)]

    def handle(_request: Request) -> bytes:
        return reply[0]

    with HTTPSServer(handle) as server:
        options = {"jwks": None, "jwks_uri": server.url, "ssl_context": server.client_context()}
        counted = Counted(monkeypatch, **options)
        token = AS.token(MINE.der, exp=NOW + 9_999)
        await counted.verify(token)
        reply[0] = answer(status=500)
        counted.now += 301
        for _ in range(5):
            await counted.verify(token)
        assert counted.verifier.verify_cached(token, certificate=MINE.der) is None
        assert counted.checks == 1


async def test_a_proof_is_checked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9449 §7.1: a known token needs a new proof for each request, and without one it is no bearer token."""
    key = DPoPKey(clock=lambda: NOW)
    counted = Counted(monkeypatch)
    counted.verifier = AccessTokenVerifier(
        issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW, dpop=ProofMemory(clock=lambda: NOW)
    )
    token = AS.token(None, cnf={"jkt": key.thumbprint})

    def request() -> DPoPRequest:
        url = "https://api.example/reports"
        return DPoPRequest(proof=key.proof("GET", url, token=token), method="GET", url=url)

    first = request()
    await counted.verify(token, None, dpop=first)
    with pytest.raises(InvalidDPoPProof):
        await counted.verify(token, None, dpop=first)
    await counted.verify(token, None, dpop=request())
    assert await counted.refusal(token, MINE.der) is TokenRefusal.WRONG_SCHEME
    with pytest.raises(InvalidToken):
        counted.verifier.verify_cached(token, certificate=MINE.der)
    assert counted.checks == 1


async def test_the_cache_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cache_tokens=0`."""
    counted = Counted(monkeypatch, cache_tokens=0)
    token = AS.token(MINE.der)
    for _ in range(3):
        await counted.verify(token)
    assert counted.checks == 3


async def test_the_least_recently_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded in number."""
    counted = Counted(monkeypatch, cache_tokens=3)
    tokens = [AS.token(MINE.der, jti=f"token-{number}") for number in range(4)]
    for token in (*tokens[:3], tokens[0], tokens[3]):
        await counted.verify(token)
    known = [counted.verifier.verify_cached(token, certificate=MINE.der) is not None for token in tokens]
    assert known == [True, False, True, True]


async def test_memory_is_bounded_whatever_tokens_hold() -> None:
    """By bytes: also for the claims that take most memory for their length."""
    verifier = AccessTokenVerifier(issuer=ISSUER, audience=AUDIENCE, jwks=AS.jwks, clock=lambda: NOW)
    verifier._tokens = TokenCache(max_bytes=4 * 1024 * 1024)
    tokens = [AS.token(MINE.der, jti=f"token-{number}", x=[[]] * 2_700) for number in range(60)]
    tracemalloc.start()
    try:
        for token in tokens:
            await verifier.verify(token, certificate=MINE.der)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 5 < len(verifier._tokens) < 60
    assert size < 5 * 1024 * 1024


def test_nothing_larger_than_the_cache_gets_in() -> None:
    """And replacing an entry counts it once."""
    cache = TokenCache(max_tokens=2, max_bytes=100_000)
    entry = Accepted(None, 0.0, 10.0, None, None)  # type: ignore[arg-type] # nobody looks at the token here
    digests = [token_digest(str(number)) for number in range(4)]
    cache.add(digests[0], entry, length=10_000)
    assert len(cache) == 0
    for _ in range(50):
        cache.add(digests[1], entry, length=2_000)
    cache.add(digests[2], entry, length=2_000)
    assert cache.find(digests[1], None, at=5.0) is entry
    cache.add(digests[3], entry, length=2_000)
    assert (cache.find(digests[2], None, at=5.0), len(cache)) == (None, 2)
    assert cache.find(digests[1], None, at=10.0) is None
    assert len(cache) == 1
