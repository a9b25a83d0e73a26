"""Signing what is issued: at once in memory, on bounded threads elsewhere, and never a token that does not verify."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc7517_jwk import PublicKey, parse_jwks
from mtls_as.rfc.rfc7519_jwt import SUPPORTED_ALGORITHMS, signing_function, verify
from mtls_as.server.ports import SignerUnavailable
from mtls_as.server.signing_keys import ExternalKey, SigningKey, SigningKeys, generate_private_key, generate_signing_key
from mtls_as.server.token_signing import TokenSigner

NOW = 1_000.0
PRIVATE = generate_private_key("ES256")
SIGN = signing_function("ES256", PRIVATE)
OTHER = signing_function("ES256", generate_private_key("ES256"))


class Keys:
    def __init__(self, *keys: SigningKey) -> None:
        self.keys = SigningKeys(keys)

    def current(self) -> SigningKeys:
        return self.keys


@dataclass
class Outside:
    """Somebody else, who holds one key."""

    behave: Callable[[bytes], bytes]

    def signer(self, key: ExternalKey, algorithm: str) -> Any:
        return FakeSigner(algorithm, key.public, self.behave)


@dataclass
class FakeSigner:
    algorithm: str
    public_key: PublicKey
    sign: Callable[[bytes], bytes]
    blocks: ClassVar[bool] = True


EXTERNAL = generate_signing_key(
    "ES256", created_at=NOW, activates_at=NOW, private_key=ExternalKey(uri="test:1", public=PRIVATE.public_key())
)


def outside(behave: Callable[[bytes], bytes], **options: Any) -> TokenSigner:
    return TokenSigner(Keys(EXTERNAL), Outside(behave), **options)  # type: ignore[arg-type] # it signs, and no more


async def signed(signer: TokenSigner, algorithm: str = "ES256") -> str:
    return await signer.sign({"a": 1}, type="at+jwt", key=signer.key(algorithm, NOW))


async def refused(signer: TokenSigner) -> str:
    with pytest.raises(OAuthError) as caught:
        await signed(signer)
    assert caught.value.code is ErrorCode.TEMPORARILY_UNAVAILABLE
    return caught.value.detail


@pytest.mark.parametrize("algorithm", SUPPORTED_ALGORITHMS)
async def test_a_key_in_memory_signs(algorithm: str) -> None:
    """What comes out verifies with what is published."""
    keys = Keys(generate_signing_key(algorithm, created_at=NOW, activates_at=NOW))
    token = await signed(TokenSigner(keys), algorithm)
    published = parse_jwks(keys.keys.published(NOW))
    assert verify(token, published, type="at+jwt", algorithms=[algorithm]).claims == {"a": 1}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
async def test_what_is_no_number_in_json_is_not_signed(number: float) -> None:
    """Nor written as null, which a resource server could take for "no limit"."""
    keys = Keys(generate_signing_key("ES256", created_at=NOW, activates_at=NOW))
    signer = TokenSigner(keys)
    with pytest.raises(ValueError, match="not JSON compliant"):
        await signer.sign({"limits": [{"most": number}]}, type="at+jwt", key=signer.key("ES256", NOW))


async def test_null_is_signed_as_it_is() -> None:
    keys = Keys(generate_signing_key("ES256", created_at=NOW, activates_at=NOW))
    signer, claims = TokenSigner(keys), {"a": None, "b": "null"}
    token = await signer.sign(claims, type="at+jwt", key=signer.key("ES256", NOW))
    published = parse_jwks(keys.keys.published(NOW))
    assert verify(token, published, type="at+jwt", algorithms=["ES256"]).claims == claims


async def test_a_key_in_memory_signs_at_once() -> None:
    """No thread, and no turn of the event loop: nothing else has run when the token is there."""
    ran: list[str] = []
    signer = TokenSigner(Keys(generate_signing_key("ES256", created_at=NOW, activates_at=NOW)))
    asyncio.get_running_loop().call_soon(ran.append, "somebody else")
    before = threading.active_count()
    await signed(signer)
    assert ran == []
    assert threading.active_count() == before


async def test_without_a_key_nothing_signs() -> None:
    assert "there is no ES256 key" in await refused(TokenSigner(Keys()))


async def test_an_external_key_signs() -> None:
    """On a thread of its own, while the event loop goes on."""
    threads: list[int] = []

    def slowly(message: bytes) -> bytes:
        threads.append(threading.get_ident())
        time.sleep(0.1)
        return SIGN(message)

    signer, ticks = outside(slowly), 0
    task = asyncio.create_task(signed(signer))
    while not task.done():
        await asyncio.sleep(0.005)
        ticks += 1
    published = parse_jwks(SigningKeys((EXTERNAL,)).published(NOW))
    assert verify(task.result(), published, type="at+jwt", algorithms=["ES256"]).claims == {"a": 1}
    assert threads != [threading.get_ident()]
    assert ticks > 5


@pytest.mark.parametrize(
    "behave",
    [OTHER, lambda _: b"", lambda _: bytes(64), lambda m: SIGN(m + b"x"), lambda m: SIGN(m)[:-1], lambda _: None],
    ids=["other-key", "empty", "zeros", "other-message", "cut", "none"],
)
async def test_a_wrong_signature_is_no_token(behave: Callable[[bytes], bytes]) -> None:
    """A broken HSM, or a wrong key in it, costs availability and nothing else."""
    await refused(outside(behave))


async def test_what_the_signer_says_is_for_the_log() -> None:
    def down(_message: bytes) -> bytes:
        raise SignerUnavailable("the token is gone")

    def crashes(_message: bytes) -> bytes:
        raise ZeroDivisionError("driver")

    assert await refused(outside(down)) == "the token is gone"
    assert "ZeroDivisionError" in await refused(outside(crashes))


async def test_nobody_holds_the_key() -> None:
    """Its configuration is gone: the key stays published, and signs nothing."""
    assert "test:1" in await refused(TokenSigner(Keys(EXTERNAL)))


async def test_a_signer_that_hangs_is_left_alone() -> None:
    """A request waits so long, and the threads that hang are few; the rest is refused without waiting for them."""
    release = threading.Event()
    started = threading.Semaphore(0)

    def hang(message: bytes) -> bytes:
        started.release()
        release.wait(10)
        return SIGN(message)

    signer = outside(hang, seconds=0.05, max_threads=2)
    try:
        details = await asyncio.gather(*(refused(signer) for _ in range(6)))
        assert set(details) == {"no signature within 0.05 seconds"}
        assert [started.acquire(timeout=0.1) for _ in range(3)] == [True, True, False]
    finally:
        release.set()
    await asyncio.sleep(0.2)
    assert await signed(signer)


async def test_a_request_that_goes_away_frees_its_place() -> None:
    def slowly(message: bytes) -> bytes:
        time.sleep(0.05)
        return SIGN(message)

    signer = outside(slowly, max_threads=1)
    task = asyncio.create_task(signed(signer))
    await asyncio.sleep(0.01)
    task.cancel()
    assert await signed(signer)
    with pytest.raises(asyncio.CancelledError):
        await task
