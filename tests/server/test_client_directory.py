"""The memory of stored clients: what it knows when the storage is silent, and what it must not."""

import asyncio

import pytest

from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.client_directory import ClientDirectory, StoredClients
from mtls_as.server.clients import Client, ClientSource, parse_client
from mtls_as.server.ports import StorageUnavailable


def client(client_id: str, *, enabled: bool = True) -> Client:
    members = {
        "client_id": client_id,
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=x",
        "trust": "default",
        "enabled": enabled,
    }
    return parse_client(members, ClientSource.STORAGE)


class Store:
    """A storage that can be away."""

    def __init__(self, *names: str) -> None:
        self.clients = {name: client(name) for name in names}
        self.is_away = False
        self.asked = 0

    async def load(self, client_id: str) -> Client | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise StorageUnavailable("it is away")
        return self.clients.get(client_id)


@pytest.fixture
def store() -> Store:
    return Store("a", "b")


async def test_known_clients_are_found_without_the_storage(store: Store) -> None:
    """And names that nobody has, too: patterns of SPIFFE IDs are found only after names that do not exist."""
    stored = StoredClients(store.load)
    assert await stored.find("a") == client("a")
    assert await stored.find("nobody") is None
    store.is_away = True
    assert await stored.find("a") == client("a")
    assert await stored.find("nobody") is None
    for name in ("b", "nobody else"):
        with pytest.raises(StorageUnavailable):
            await stored.find(name)


async def test_a_change_takes_one_client_out_of_memory(store: Store) -> None:
    """The others are still known when the storage is away at once."""
    stored = StoredClients(store.load)
    for name in ("a", "b", "new"):
        await stored.find(name)
    store.clients |= {"a": client("a", enabled=False), "new": client("new")}
    stored.forget(["a", "new"])
    store.is_away = True
    assert await stored.find("b") == client("b")
    for name in ("a", "new"):
        with pytest.raises(StorageUnavailable):
            await stored.find(name)
    store.is_away = False
    assert await stored.find("a") == client("a", enabled=False)
    assert await stored.find("new") == client("new")


async def test_a_change_of_which_nobody_can_tell_takes_all_out(store: Store) -> None:
    stored = StoredClients(store.load)
    for name in ("a", "nobody"):
        await stored.find(name)
    stored.forget(None)
    store.is_away = True
    for name in ("a", "nobody"):
        with pytest.raises(StorageUnavailable):
            await stored.find(name)


@pytest.mark.parametrize("changed", [["a"], ["b"], None])
async def test_what_was_read_before_a_change_is_not_remembered_after_it(
    store: Store, changed: list[str] | None
) -> None:
    """Whichever client the change was of: nobody knows in which order the storage saw the two."""
    stored = StoredClients(store.load)
    reading = asyncio.create_task(stored.find("a"))
    await asyncio.sleep(0)
    stored.forget(changed)
    await reading
    assert store.asked == 1
    await stored.find("a")
    assert store.asked == 2


async def test_memory_is_bounded(store: Store) -> None:
    """Names that nobody has drive no known client out."""
    stored = StoredClients(store.load, capacity=2)
    await stored.find("a")
    for number in range(5):
        await stored.find(f"nobody{number}")
    store.is_away = True
    assert await stored.find("a") == client("a")


async def test_declared_clients_need_no_storage_and_others_are_refused_for_now(store: Store) -> None:
    """503: nobody can tell whether they are registered."""
    directory = ClientDirectory({"declared": client("declared")}, StoredClients(store.load))
    store.is_away = True
    assert await directory.find("declared") == client("declared")
    with pytest.raises(OAuthError) as refused:
        await directory.find("a")
    assert refused.value.code is ErrorCode.TEMPORARILY_UNAVAILABLE
