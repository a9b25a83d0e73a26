"""Stored clients: the contract that every adapter keeps."""

import asyncio
import base64
from dataclasses import replace

import pytest

from mtls_as.rfc.rfc7517_jwk import public_jwk
from mtls_as.server.clients import Client, ClientSource, parse_client
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.revocations import Revocations
from mtls_as.storage import ClientExists, ClientNotFound, Storage, StorageError
from mtls_as.storage.errors import ClientChanged
from mtls_as.storage.schema import clients as table
from tests.authority import self_signed
from tests.storage.conftest import Clock


def client(client_id: str = "reports", **members: object) -> Client:
    """A stored client."""
    required = {
        "client_id": client_id,
        "trust": "default",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_san_dns": "reports.example",
    }
    return parse_client({**required, **members}, ClientSource.STORAGE)


async def test_a_client_is_found_as_it_was_added(storage: Storage) -> None:
    """Every member survives."""
    full = client(scope="a b", client_name="Berichte ä", access_token_lifetime=60, enabled=False)
    await storage.clients.add(full)
    assert await storage.clients.find("reports") == full


async def test_a_self_signed_client_is_found_as_it_was_added(storage: Storage) -> None:
    """Keys survive too."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    members = {
        "client_id": "partner",
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": {"keys": [key]},
    }
    partner = parse_client(members, ClientSource.STORAGE)
    await storage.clients.add(partner)
    assert await storage.clients.find("partner") == partner


async def test_nobody_is_found_in_an_empty_storage(storage: Storage) -> None:
    """None, not an error."""
    assert await storage.clients.find("reports") is None
    assert await storage.clients.list() == ()


@pytest.mark.parametrize("client_id", ["", "\ud800", "a\0b", "a" * 10_000, "%", "' OR 1=1 --", "ä"])
async def test_any_text_may_be_asked_for(storage: Storage, client_id: str) -> None:
    """A hostile name finds nobody, and raises nothing."""
    await storage.clients.add(client())
    assert await storage.clients.find(client_id) is None


async def test_names_are_compared_exactly(storage: Storage) -> None:
    """`Reports` is somebody else."""
    await storage.clients.add(client("reports"))
    await storage.clients.add(client("Reports", client_name="other"))
    assert await storage.clients.find("REPORTS") is None
    found = await storage.clients.find("reports")
    assert found is not None
    assert found.metadata.client_name is None


async def test_the_same_name_twice_is_an_error_that_changes_nothing(storage: Storage) -> None:
    """The first one stays."""
    await storage.clients.add(client())
    before = await storage.revision()
    with pytest.raises(ClientExists, match='"reports" is stored already'):
        await storage.clients.add(client(scope="x"))
    assert await storage.clients.list() == (client(),)
    assert await storage.revision() == before


async def test_adding_the_same_name_at_the_same_time_has_one_winner(storage: Storage) -> None:
    """Exactly one of several writers succeeds."""
    results = await asyncio.gather(
        *(storage.clients.add(client(scope=f"s{n}")) for n in range(8)), return_exceptions=True
    )
    assert [type(result) for result in results].count(type(None)) == 1
    assert [type(result) for result in results].count(ClientExists) == 7


async def test_clients_are_listed_by_name(storage: Storage) -> None:
    """In the same order every time."""
    for name in ("b", "a", "c"):
        await storage.clients.add(client(name))
    assert [found.client_id for found in await storage.clients.list()] == ["a", "b", "c"]


async def test_a_client_can_be_disabled_and_enabled(storage: Storage) -> None:
    """Nothing else changes."""
    await storage.clients.add(client())
    await storage.clients.set_enabled("reports", False)
    assert await storage.clients.find("reports") == client(enabled=False)
    await storage.clients.set_enabled("reports", True)
    assert await storage.clients.find("reports") == client()


async def test_a_client_can_be_replaced_and_deleted(storage: Storage) -> None:
    """By its name."""
    await storage.clients.add(client())
    await storage.clients.add(client("other"))
    await storage.clients.replace(client(scope="x", enabled=False))
    assert await storage.clients.find("reports") == client(scope="x", enabled=False)
    await storage.clients.delete("reports")
    assert await storage.clients.list() == (client("other"),)


async def test_pages_together_are_all_clients(storage: Storage) -> None:
    """Each once, whatever the length of a page, in an order that is the same for each."""
    names = {"b", "a", "B", "a/b", "a-b", "10", "9", "~"}
    for name in names:
        await storage.clients.add(client(name))
    for limit in (1, 3, len(names)):
        found: list[str] = []
        while page := await storage.clients.page(after=found[-1] if found else None, limit=limit):
            assert len(page) <= limit
            found += [each.client_id for each in page]
        assert (len(found), set(found)) == (len(names), names)


async def test_some_clients_are_found_at_once(storage: Storage) -> None:
    """Also more than one statement takes."""
    for name in ("a", "b", "c"):
        await storage.clients.add(client(name))
    asked = {"a", "c", *(f"unknown-{number}" for number in range(1_200))}
    assert {each.client_id for each in await storage.clients.find_all(asked)} == {"a", "c"}
    assert await storage.clients.find_all(()) == ()


async def test_only_the_expected_client_is_replaced(storage: Storage) -> None:
    """Of two that read the same one, the second does not undo what the first did, nor bring back what is gone."""
    await storage.clients.add(client())
    await storage.clients.replace(client(scope="x"), expected=client())
    with pytest.raises(ClientChanged, match="has been changed meanwhile"):
        await storage.clients.replace(client(scope="y"), expected=client())
    assert await storage.clients.find("reports") == client(scope="x")
    with pytest.raises(ClientNotFound):
        await storage.clients.replace(client("other"), expected=client("other"))


async def test_a_deleted_client_leaves_no_tokens_to_the_next_of_its_name(storage: Storage, clock: Clock) -> None:
    """Else they would be active again, with whatever key made their owner delete the client."""
    await storage.clients.add(client())
    token = {"client_id": "reports", "iat": int(clock()), "jti": "old"}
    clock.now += 1.5
    await storage.clients.delete("reports")
    await storage.clients.add(client())
    known = Revocations(storage.revocations)
    assert await known.find(token) is not None
    assert await known.find(token | {"iat": int(clock()) + 1, "jti": "new"}) is None


async def test_changing_nobody_is_an_error_that_changes_nothing(storage: Storage) -> None:
    """Every change of a client that is not there."""
    before = await storage.revision()
    for change in (
        storage.clients.replace(client()),
        storage.clients.set_enabled("reports", False),
        storage.clients.delete("reports"),
    ):
        with pytest.raises(ClientNotFound, match='no client "reports" is stored'):
            await change
    assert await storage.revision() == before


async def test_a_stored_client_says_where_it_comes_from(storage: Storage) -> None:
    """Whatever it was made of."""
    await storage.clients.add(replace(client(), source=ClientSource.CONFIGURATION))
    found = await storage.clients.find("reports")
    assert found is not None
    assert found.source is ClientSource.STORAGE


async def test_times_are_those_of_the_clock(storage: Storage, clock: Clock) -> None:
    """`created_at` stays, `updated_at` moves with each change."""
    await storage.clients.add(client())
    clock.now += 50
    await storage.clients.set_enabled("reports", False)
    async with storage._transactions.read() as connection:
        row = (await connection.execute(table.select())).one()
    assert (row.created_at, row.updated_at) == (1_000.0, 1_050.0)


@pytest.mark.parametrize("registration", ["", "[]", "null", "{", '{"client_id": "reports"}'])
async def test_a_damaged_registration_lets_nobody_in(storage: Storage, registration: str) -> None:
    """It is an error of the storage that names the client."""
    await storage.clients.add(client())
    async with storage._transactions.write(client_id=None) as connection:
        await connection.execute(table.update().values(registration=registration))
    with pytest.raises(StorageError, match='the stored client "reports" cannot be read') as caught:
        await storage.clients.find("reports")
    assert isinstance(caught.value, StorageUnavailable)


async def test_clients_with_certificates_of_their_own_are_found(storage: Storage) -> None:
    """So many as are asked for, and nobody with bare keys or a CA."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    method = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
    bare = parse_client(method | {"client_id": "bare", "jwks": {"keys": [key]}}, ClientSource.STORAGE)
    await storage.clients.add(client())
    await storage.clients.add(bare)
    for client_id in ("s2", "s1"):
        identity = self_signed(client_id)
        jwk = public_jwk(identity.private_key.public_key(), kid="1", algorithm="ES256")  # type: ignore[arg-type] # P-256
        keys = [jwk | {"x5c": [base64.b64encode(identity.der).decode()]}]
        members = method | {"client_id": client_id, "jwks": {"keys": keys}}
        await storage.clients.add(parse_client(members, ClientSource.STORAGE))
    assert [found.client_id for found in await storage.clients.with_certificates(10)] == ["s1", "s2"]
    assert [found.client_id for found in await storage.clients.with_certificates(1)] == ["s1"]
