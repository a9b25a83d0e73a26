"""Stored secrets of clients: the contract that every adapter keeps."""

import asyncio
from dataclasses import replace

import pytest

from mtls_as.server.client_secrets import StoredSecret, make_secret
from mtls_as.server.clients import Client, ClientSource, parse_client
from mtls_as.storage import ClientHasNoSecrets, ClientNotFound, Storage, current, downgrade, upgrade
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client


def secret_client(client_id: str = "old", *secrets: StoredSecret, method: str = "client_secret_basic") -> Client:
    """A stored client with a secret."""
    parsed = parse_client({"client_id": client_id, "token_endpoint_auth_method": method}, ClientSource.STORAGE)
    return replace(parsed, secrets=secrets or (make_secret(at=1.0)[1],))


async def test_a_client_is_found_with_its_secrets(storage: Storage) -> None:
    """Alone and in the list, each with its own, the oldest first."""
    first, second = make_secret(at=1.0)[1], replace(make_secret(at=2.0)[1], expires_at=9.0)
    one, other = secret_client("one", second, first), secret_client("other")
    for each in (one, other, client()):
        await storage.clients.add(each)
    found = await storage.clients.find("one")
    assert found == replace(one, secrets=(first, second))
    assert await storage.clients.list() == (found, other, client())


async def test_a_new_secret_joins_the_one_before(storage: Storage) -> None:
    """And running servers are told."""
    await storage.clients.add(secret_client())
    before = await storage.revision()
    _, new = make_secret(at=10.0)
    changed = await storage.clients.add_secret("old", new, at=10.0, overlap=5.0)
    assert [secret.expires_at for secret in changed.secrets] == [15.0, None]
    assert await storage.clients.find("old") == changed
    assert await storage.revision() > before


async def test_rotations_at_the_same_time_happen_one_after_the_other(storage: Storage) -> None:
    """Two secrets are left, whoever came last."""
    await storage.clients.add(secret_client())
    made = [make_secret(at=10.0 + n)[1] for n in range(5)]
    await asyncio.gather(*(storage.clients.add_secret("old", each, at=20.0, overlap=60.0) for each in made))
    found = await storage.clients.find("old")
    assert found is not None
    assert len(found.secrets) == 2


async def test_only_a_client_with_a_secret_gets_another(storage: Storage) -> None:
    await storage.clients.add(client())
    _, new = make_secret(at=1.0)
    with pytest.raises(ClientHasNoSecrets, match="authenticates by tls_client_auth"):
        await storage.clients.add_secret("reports", new, at=1.0, overlap=0.0)
    with pytest.raises(ClientNotFound):
        await storage.clients.add_secret("nobody", new, at=1.0, overlap=0.0)


async def test_secrets_go_with_their_client(storage: Storage) -> None:
    """A client of the same name does not inherit them."""
    await storage.clients.add(secret_client())
    await storage.clients.delete("old")
    await storage.clients.add(replace(secret_client(), secrets=()))
    found = await storage.clients.find("old")
    assert found is not None
    assert found.secrets == ()


async def test_secrets_end_with_a_registration_that_has_none(storage: Storage) -> None:
    """They do not come to life again; a change from header to form keeps them."""
    first = secret_client()
    await storage.clients.add(first)
    await storage.clients.replace(secret_client(method="client_secret_post"))
    found = await storage.clients.find("old")
    assert found is not None
    assert found.secrets == first.secrets
    await storage.clients.replace(client("old"))
    await storage.clients.replace(first)
    found = await storage.clients.find("old")
    assert found is not None
    assert found.secrets == ()


async def test_the_tables_go_and_come_with_their_version(url: str) -> None:
    """Down to 0003 and up again, with clients in the database."""
    async with opened(url) as storage:
        await storage.clients.add(secret_client())
        await storage.used_once.use("a", 1.0)
    downgrade(url, "0003")
    assert current(url) == "0003"
    upgrade(url)
    async with opened(url) as storage:
        found = await storage.clients.find("old")
        assert found is not None
        assert found.secrets == ()
        assert await storage.used_once.use("a", 1.0)
