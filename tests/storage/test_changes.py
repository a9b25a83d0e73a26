"""What a node learns of changes: whose they were, and when nobody can tell."""

import pytest
from sqlalchemy import update

from mtls_as.server.revocation import Revocation
from mtls_as.storage import Storage, transactions
from mtls_as.storage.changes import Changes
from mtls_as.storage.schema import revision
from tests.storage.test_client_repository import client


async def test_a_change_says_whose_it_was(storage: Storage) -> None:
    """So that a node forgets that client, and goes on knowing the others."""
    await storage.clients.add(client("a"))
    await storage.clients.add(client("b"))
    assert await storage.changes(0) == changes(2, {"a", "b"})
    await storage.clients.set_enabled("b", False)
    assert await storage.changes(2) == changes(3, {"b"})
    await storage.clients.replace(client("a"))
    await storage.clients.delete("b")
    assert await storage.changes(3) == changes(5, {"a", "b"})
    assert await storage.changes(5) == changes(5, set())


async def test_what_changes_no_client_says_so(storage: Storage) -> None:
    """A revocation or a new key costs no node its memory of clients."""
    await storage.revocations.add(Revocation.of_everything(before=1.0))
    await storage.signing_keys.rotate("EdDSA", at=1.0, publish_ahead=0, overlap=0)
    assert await storage.changes(0) == changes(2, set())


async def test_a_node_that_knows_nothing_forgets_everything(storage: Storage) -> None:
    await storage.clients.add(client("a"))
    assert await storage.changes(-1) == changes(1, None)


async def test_a_change_that_says_nothing_may_have_changed_anything(storage: Storage) -> None:
    """As one of a program that does not know the table."""
    await storage.clients.add(client("a"))
    async with storage._transactions.write_quietly() as connection:
        await connection.execute(update(revision).values(value=revision.c.value + 1))
    await storage.clients.add(client("b"))
    assert await storage.changes(1) == changes(3, None)
    assert await storage.changes(2) == changes(3, {"b"})


async def test_an_older_copy_of_the_database_may_differ_in_anything(storage: Storage) -> None:
    await storage.clients.add(client("a"))
    assert await storage.changes(7) == changes(1, None)


async def test_only_so_many_changes_are_kept(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was away for longer forgets all clients."""
    monkeypatch.setattr(transactions, "KEPT_CHANGES", 2)
    for name in "abc":
        await storage.clients.add(client(name))
    assert await storage.changes(1) == changes(3, {"b", "c"})
    assert await storage.changes(0) == changes(3, None)


def changes(revision: int, clients: set[str] | None) -> Changes:
    return Changes(revision=revision, clients=None if clients is None else frozenset(clients))
