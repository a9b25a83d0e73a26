"""Opaque tokens: the contract that every adapter keeps."""

from mtls_as.storage import Storage, current, downgrade, upgrade
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client

HASH = "h" * 43
CLAIMS = {"jti": "id", "aud": "https://bücher.example", "exp": 1_300, "cnf": {"x5t#S256": "a" * 43}}


async def test_claims_are_remembered_as_they_were(storage: Storage, url: str) -> None:
    """For every node, as soon as the call returns."""
    await storage.opaque_tokens.add(HASH, CLAIMS, expires_at=1_300.0)
    assert await storage.opaque_tokens.find(HASH) == CLAIMS
    async with opened(url) as other:
        assert await other.opaque_tokens.find(HASH) == CLAIMS


async def test_an_unknown_token_has_no_claims(storage: Storage) -> None:
    """Near misses too."""
    await storage.opaque_tokens.add(HASH, CLAIMS, expires_at=1_300.0)
    for other in ("", "H" * 43, "h" * 42, "h%", "x" * 1_000):
        assert await storage.opaque_tokens.find(other) is None


async def test_tokens_do_not_move_the_revision(storage: Storage) -> None:
    """No node keeps them in memory."""
    before = await storage.revision()
    await storage.opaque_tokens.add(HASH, CLAIMS, expires_at=1_300.0)
    await storage.opaque_tokens.prune(ended_before=1_301.0)
    assert await storage.revision() == before


async def test_ended_tokens_are_forgotten(storage: Storage) -> None:
    """And no others."""
    await storage.opaque_tokens.add(HASH, CLAIMS, expires_at=1_300.0)
    await storage.opaque_tokens.prune(ended_before=1_300.0)
    assert await storage.opaque_tokens.find(HASH) == CLAIMS
    await storage.opaque_tokens.prune(ended_before=1_300.1)
    assert await storage.opaque_tokens.find(HASH) is None


async def test_the_tables_go_and_come_with_their_version(url: str) -> None:
    """Down to 0002 and up again, with clients in the database."""
    async with opened(url) as storage:
        await storage.clients.add(client())
        await storage.opaque_tokens.add(HASH, CLAIMS, expires_at=1_300.0)
    downgrade(url, "0002")
    assert current(url) == "0002"
    upgrade(url)
    async with opened(url) as storage:
        assert await storage.opaque_tokens.find(HASH) is None
        assert await storage.clients.list() == (client(),)
