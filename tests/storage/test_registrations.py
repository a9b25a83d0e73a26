"""Clients that registered themselves: the contract that every adapter keeps."""

import asyncio
from dataclasses import replace

import pytest

from mtls_as.rfc.refusal import Refusal
from mtls_as.server.registration_policy import RegistrationPolicy
from mtls_as.server.registrations import (
    MAX_CLIENTS_OF_A_CERTIFICATE,
    InitialAccessToken,
    Registration,
    RegistrationImpossible,
)
from mtls_as.storage import Storage, current, downgrade, upgrade
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client

POLICY = RegistrationPolicy(scope=("reports:read",), trust=("partner-a",), jwks_uri_prefixes=("https://a.example/",))
DIGEST = "d" * 43


def token(uses: int = 1) -> InitialAccessToken:
    return InitialAccessToken(digest=DIGEST, policy=POLICY, uses_left=uses, expires_at=2_000.0)


def registration(client_id: str = "made", *, thumbprint: str | None = None) -> Registration:
    return Registration(
        client=replace(client(), client_id=client_id),
        access_token_digest="r" * 43,
        policy=POLICY,
        registered_at=1_000.0,
        certificate_thumbprint=thumbprint,
        software_statement="a.b.c",
    )


async def register(storage: Storage, client_id: str = "made", *, at: float = 1_000.0) -> None:
    await storage.registrations.register(registration(client_id), initial_access_token=DIGEST, at=at)


async def test_a_registration_is_remembered_as_it_was(storage: Storage, url: str) -> None:
    """For every node, which notices by the revision that there is another client."""
    await storage.registrations.add_initial_access_token(token())
    before = await storage.revision()
    await register(storage)
    assert await storage.revision() > before
    async with opened(url) as other:
        assert await other.registrations.find("made") == registration()
        assert await other.clients.find("made") == registration().client


async def test_a_token_is_good_for_its_uses_and_no_more(storage: Storage) -> None:
    """However many want to use it at the same time; whoever comes late leaves no client behind."""
    await storage.registrations.add_initial_access_token(token(2))
    attempts = [register(storage, f"c{number}") for number in range(6)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 2
    assert {o.refusal for o in outcomes if isinstance(o, RegistrationImpossible)} == {
        Refusal.REGISTRATION_TOKEN_INVALID
    }
    assert len(await storage.clients.list()) == 2


async def test_a_token_ends(storage: Storage) -> None:
    await storage.registrations.add_initial_access_token(token())
    with pytest.raises(RegistrationImpossible):
        await register(storage, at=2_000.0)
    await storage.registrations.prune(ended_before=2_000.1)
    assert await storage.registrations.find_initial_access_token(DIGEST) is None


async def test_one_certificate_registers_so_many_and_no_more(storage: Storage) -> None:
    for number in range(MAX_CLIENTS_OF_A_CERTIFICATE):
        made = registration(f"c{number}", thumbprint="t" * 43)
        await storage.registrations.register(made, initial_access_token=None, at=1_000.0)
    with pytest.raises(RegistrationImpossible) as raised:
        await storage.registrations.register(registration(thumbprint="t" * 43), initial_access_token=None, at=1_000.0)
    assert raised.value.refusal is Refusal.REGISTRATION_LIMIT_REACHED
    await storage.registrations.register(registration(thumbprint="u" * 43), initial_access_token=None, at=1_000.0)


async def test_an_update_leaves_token_and_policy(storage: Storage) -> None:
    """And it does not let in again a client that was disabled meanwhile."""
    await storage.registrations.add_initial_access_token(token())
    await register(storage)
    renamed = replace(registration().client, access_token_lifetime=60)
    await storage.registrations.update(replace(registration(), client=renamed, software_statement=None))
    found = await storage.registrations.find("made")
    assert found == replace(registration(), client=renamed, software_statement=None)
    await storage.clients.set_enabled("made", False)
    with pytest.raises(RegistrationImpossible):
        await storage.registrations.update(registration())


async def test_a_deleted_client_has_no_registration(storage: Storage) -> None:
    """Whoever deleted it."""
    await storage.registrations.add_initial_access_token(token(2))
    await register(storage, "one")
    await register(storage, "two")
    await storage.registrations.delete("one")
    await storage.clients.delete("two")
    assert await storage.registrations.find("one") is None
    assert await storage.registrations.find("two") is None
    with pytest.raises(RegistrationImpossible):
        await storage.registrations.delete("one")


async def test_tokens_are_listed_and_withdrawn(storage: Storage) -> None:
    """A withdrawn one registers nobody."""
    await storage.registrations.add_initial_access_token(token())
    assert await storage.registrations.initial_access_tokens() == (token(),)
    await storage.registrations.delete_initial_access_token("%")
    await storage.registrations.delete_initial_access_token(DIGEST)
    assert await storage.registrations.initial_access_tokens() == ()
    with pytest.raises(RegistrationImpossible):
        await register(storage)


async def test_the_tables_go_and_come_with_their_version(url: str) -> None:
    """Down to 0004 and up again: the client stays."""
    async with opened(url) as storage:
        await storage.registrations.add_initial_access_token(token())
        await register(storage)
    downgrade(url, "0004")
    assert current(url) == "0004"
    upgrade(url)
    async with opened(url) as storage:
        assert await storage.registrations.find("made") is None
        assert await storage.clients.find("made") == registration().client
