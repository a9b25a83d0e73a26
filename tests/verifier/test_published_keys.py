"""The verifier with keys from a real HTTPS server: rotation, floods, and a publisher that fails in every way."""

import asyncio

import pytest

from mtls_as.verifier import AccessTokenVerifier, InvalidToken, TokenRefusal
from tests.authority import self_signed
from tests.remote.https_server import HTTPSServer, Request, answer
from tests.verifier.issuer import AUDIENCE, NOW, Issuer

OLD, NEW = Issuer(), Issuer()
MINE = self_signed()


class Publisher:
    """An issuer's metadata and keys; `reply` is the answer for the keys, which the verifier finds by discovery."""

    def __init__(self) -> None:
        self.reply = answer(OLD.jwks)
        self.now = NOW
        self.server = HTTPSServer(self.handle)

    def handle(self, request: Request) -> bytes:
        if request.path == "/jwks":
            return self.reply
        return answer({"issuer": self.server.url, "jwks_uri": self.server.url + "/jwks"})

    def verifier(self) -> AccessTokenVerifier:
        return AccessTokenVerifier(
            issuer=self.server.url,
            audience=AUDIENCE,
            ssl_context=self.server.client_context(),
            clock=lambda: self.now,
        )

    def token(self, issuer: Issuer, **header: str) -> str:
        return issuer.token(MINE.der, header=header, iss=self.server.url, exp=NOW + 100_000)

    @property
    def fetches(self) -> int:
        return self.server.paths().count("/jwks")


async def test_no_network_in_the_steady_state() -> None:
    """One discovery and one fetch, however many tokens come, good and bad."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        await asyncio.gather(*(verifier.verify(publisher.token(OLD), certificate=MINE.der) for _ in range(20)))
        for token in ("junk", OLD.token(MINE.der, iss="https://other.example"), publisher.token(NEW, kid=OLD.kid)):
            with pytest.raises(InvalidToken):
                await verifier.verify(token, certificate=MINE.der)
    assert len(publisher.server.requests) == 2


async def test_rotated_key_is_found() -> None:
    """A token by a key published since the last fetch is good at once; the retired key is refused from then on."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        await verifier.verify(publisher.token(OLD), certificate=MINE.der)
        publisher.reply = answer(NEW.jwks)
        publisher.now += 30
        await verifier.verify(publisher.token(NEW), certificate=MINE.der)
        with pytest.raises(InvalidToken) as caught:
            await verifier.verify(publisher.token(OLD), certificate=MINE.der)
        assert caught.value.reason is TokenRefusal.UNKNOWN_KEY
        assert publisher.fetches == 3
        publisher.reply = answer(OLD.jwks)
        publisher.now += 1
        await verifier.verify(publisher.token(OLD), certificate=MINE.der)


async def test_flood_of_unknown_kids() -> None:
    """Two hundred invented names, at once and one after the other: one fetch per cool-down, and known keys work."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        await verifier.verify(publisher.token(OLD), certificate=MINE.der)
        publisher.now += 30
        flood = [verifier.verify(publisher.token(NEW, kid=f"kid-{n}"), certificate=MINE.der) for n in range(200)]
        results = await asyncio.gather(*flood, return_exceptions=True)
        assert {getattr(result, "reason", None) for result in results} == {TokenRefusal.UNKNOWN_KEY}
        await verifier.verify(publisher.token(OLD), certificate=MINE.der)
        assert publisher.fetches == 2


BROKEN = {
    "500": answer(status=500),
    "ten megabytes": answer(b" " * 10_000_000),
    "empty": answer({"keys": []}),
    "HTML": answer(b"<html></html>", media_type="text/html"),
    "nothing": b"",
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
async def test_known_keys_go_on_working(reply: bytes) -> None:
    """Whatever the publisher answers, for days: tokens by known keys are good, others are not."""
    publisher = Publisher()
    with publisher.server:
        verifier = publisher.verifier()
        await verifier.verify(publisher.token(OLD), certificate=MINE.der)
        publisher.reply = reply
        for _ in range(3):
            publisher.now += 10_000
            await verifier.verify(publisher.token(OLD), certificate=MINE.der)
            with pytest.raises(InvalidToken):
                await verifier.verify(publisher.token(NEW), certificate=MINE.der)
    publisher.now += 10_000
    await verifier.verify(publisher.token(OLD), certificate=MINE.der)
