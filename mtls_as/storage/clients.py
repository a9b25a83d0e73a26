"""Stored clients: those that the command line registers while the server runs."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError, ClientSecret
from mtls_as.server.client_secrets import StoredSecret, rotate
from mtls_as.server.clients import Client, ClientSource, format_client, is_client_id, parse_client
from mtls_as.server.revocation import Revocation
from mtls_as.storage.errors import ClientChanged, ClientExists, ClientHasNoSecrets, ClientNotFound, DatabaseUnavailable
from mtls_as.storage.in_time import limited
from mtls_as.storage.revocations import add_revocation
from mtls_as.storage.schema import HAS_CERTIFICATE, client_secrets, clients
from mtls_as.storage.transactions import Transactions

_NAMES_AT_ONCE: Final = 500
"""Databases bound the number of values in one statement."""
_CLIENTS_AT_ONCE: Final = 20
"""Registrations that are read before requests have their turn."""


@limited
class ClientRepository:
    """The stored clients. Every method raises `DatabaseUnavailable`, and what it names itself."""

    def __init__(self, transactions: Transactions, clock: Callable[[], float]) -> None:
        self._transactions = transactions
        self._clock = clock

    async def add(self, client: Client) -> None:
        """Store a new client, with its secrets. Raises `ClientExists`."""
        try:
            async with self._transactions.write(client_id=client.client_id) as connection:
                await insert_client(connection, client, at=self._clock())
        except IntegrityError:
            raise ClientExists(f'a client "{client.client_id}" is stored already') from None

    async def find(self, client_id: str) -> Client | None:
        """The client, enabled or not, or None. Any text may be asked for."""
        if not is_client_id(client_id):
            return None
        found = await self._select(select(clients).where(clients.c.client_id == client_id))
        return found[0] if found else None

    async def list(self) -> tuple[Client, ...]:
        """Every client, ordered by its name."""
        return await self._select(select(clients).order_by(clients.c.client_id))

    async def page(self, *, after: str | None, limit: int) -> tuple[Client, ...]:
        """So many clients in the order of their names, from the one behind `after` on."""
        statement = select(clients).order_by(clients.c.client_id).limit(limit)
        return await self._select(statement if after is None else statement.where(clients.c.client_id > after))

    async def find_all(self, client_ids: Collection[str]) -> tuple[Client, ...]:
        """Those of these clients that are stored."""
        found: list[Client] = []
        names = sorted(client_ids)
        for start in range(0, len(names), _NAMES_AT_ONCE):
            some = names[start : start + _NAMES_AT_ONCE]
            found += await self._select(select(clients).where(clients.c.client_id.in_(some)))
        return tuple(found)

    async def with_certificates(self, limit: int, *, after: str | None = None) -> tuple[Client, ...]:
        """So many of the clients that registered certificates of their own, as `page`."""
        statement = select(clients).where(HAS_CERTIFICATE).order_by(clients.c.client_id).limit(limit)
        return await self._select(statement if after is None else statement.where(clients.c.client_id > after))

    async def replace(self, client: Client, *, expected: Client | None = None) -> None:
        """Store another registration under the same name. Raises `ClientNotFound`.

        Its secrets stay, unless it is to have none: they must not come to life again with a later registration. If the
        stored client is not the `expected` one any longer, `ClientChanged` is raised, and nothing is stored.
        """
        async with self._transactions.write(client_id=client.client_id) as connection:
            if expected is not None and await find_client(connection, client.client_id) not in (None, expected):
                raise ClientChanged(f'the client "{client.client_id}" has been changed meanwhile')
            await replace_client(connection, client, at=self._clock())
            if not client.enabled:
                await add_revocation(connection, Revocation.of_client(client.client_id, before=self._clock()))

    async def add_secret(self, client_id: str, new: StoredSecret, *, at: float, overlap: float) -> Client:
        """Store a new secret, by `mtls_as.server.client_secrets.rotate`: the client as it is then.

        One transaction: two rotations at the same time happen one after the other. Raises `ClientNotFound`, and
        `ClientHasNoSecrets` for a client that authenticates otherwise.
        """
        async with self._transactions.write(client_id=client_id) as connection:
            found = await _select(connection, select(clients).where(clients.c.client_id == client_id))
            _require_one(len(found), client_id)
            if not isinstance(found[0].metadata.authentication, ClientSecret):
                method = found[0].metadata.token_endpoint_auth_method
                raise ClientHasNoSecrets(f'the client "{client_id}" authenticates by {method}, not with a secret')
            rotated = rotate(found[0].secrets, new, at=at, overlap=overlap)
            await connection.execute(delete(client_secrets).where(client_secrets.c.client_id == client_id))
            await _insert_secrets(connection, client_id, rotated)
        return replace(found[0], secrets=rotated)

    async def set_enabled(self, client_id: str, enabled: bool) -> None:  # noqa: FBT001 - the value to set
        """Let a client in, or keep it out, which ends its tokens. Raises `ClientNotFound`."""
        async with self._transactions.write(client_id=client_id) as connection:
            await self._update(connection, client_id, {"enabled": enabled})
            if not enabled:
                await add_revocation(connection, Revocation.of_client(client_id, before=self._clock()))

    async def delete(self, client_id: str) -> None:
        """Forget a client, and end its tokens: a later client of its name is another. Raises `ClientNotFound`."""
        ended = Revocation.of_client(client_id, before=self._clock())
        async with self._transactions.write(client_id=client_id) as connection:
            result = await connection.execute(delete(clients).where(clients.c.client_id == client_id))
            _require_one(result.rowcount, client_id)
            await add_revocation(connection, ended)

    async def _select(self, statement: Select[tuple[object, ...]]) -> tuple[Client, ...]:
        async with self._transactions.read() as connection:
            return await _select(connection, statement)

    async def _update(self, connection: AsyncConnection, client_id: str, values: dict[str, object]) -> None:
        statement = update(clients).where(clients.c.client_id == client_id)
        result = await connection.execute(statement.values(values | {"updated_at": self._clock()}))
        _require_one(result.rowcount, client_id)


async def insert_client(connection: AsyncConnection, client: Client, *, at: float) -> None:
    """Store a new client, with its secrets, in a transaction that may do more."""
    values = {"client_id": client.client_id, **client_columns(client), "created_at": at, "updated_at": at}
    await connection.execute(insert(clients).values(values))
    await _insert_secrets(connection, client.client_id, client.secrets)


async def replace_client(connection: AsyncConnection, client: Client, *, at: float) -> None:
    """`ClientRepository.replace`, in a transaction that may do more."""
    statement = update(clients).where(clients.c.client_id == client.client_id)
    result = await connection.execute(statement.values(client_columns(client) | {"updated_at": at}))
    _require_one(result.rowcount, client.client_id)
    if not isinstance(client.metadata.authentication, ClientSecret):
        await connection.execute(delete(client_secrets).where(client_secrets.c.client_id == client.client_id))


async def find_client(connection: AsyncConnection, client_id: str) -> Client | None:
    """`ClientRepository.find`, in a transaction that may do more."""
    found = await _select(connection, select(clients).where(clients.c.client_id == client_id))
    return found[0] if found else None


async def _select(connection: AsyncConnection, statement: Select[tuple[object, ...]]) -> tuple[Client, ...]:
    """Clients with their secrets, in the order of the statement."""
    rows = (await connection.execute(statement)).all()
    secrets = await _secrets(connection, statement) if any(_may_have_secrets(row) for row in rows) else {}
    found = []
    for number, row in enumerate(rows, start=1):
        found.append(replace(_client(row), secrets=tuple(secrets.get(row.client_id, ()))))
        if number % _CLIENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return tuple(found)


async def _secrets(connection: AsyncConnection, statement: Select[tuple[object, ...]]) -> dict[str, list[StoredSecret]]:
    """The secrets of the clients that a statement selects, the oldest first."""
    selected = statement.order_by(None).with_only_columns(clients.c.client_id)
    order = (client_secrets.c.created_at, client_secrets.c.digest)
    found: dict[str, list[StoredSecret]] = {}
    of_them = select(client_secrets).where(client_secrets.c.client_id.in_(selected)).order_by(*order)
    for row in await connection.execute(of_them):
        secret = StoredSecret(digest=row.digest, created_at=row.created_at, expires_at=row.expires_at)
        found.setdefault(row.client_id, []).append(secret)
    return found


def _may_have_secrets(row: Row[tuple[object, ...]]) -> bool:
    return '"client_secret_' in str(row.registration)


async def _insert_secrets(connection: AsyncConnection, client_id: str, secrets: Iterable[StoredSecret]) -> None:
    rows = [
        {
            "client_id": client_id,
            "digest": secret.digest,
            "created_at": secret.created_at,
            "expires_at": secret.expires_at,
        }
        for secret in secrets
    ]
    if rows:
        await connection.execute(insert(client_secrets), rows)


def _require_one(count: int, client_id: str) -> None:
    if count != 1:
        raise ClientNotFound(f'no client "{client_id}" is stored')


def client_columns(client: Client) -> dict[str, object]:
    """What the table says of a client beside its name and its times."""
    registration = format_client(client)
    del registration["enabled"]
    return {"registration": json.dumps(registration), "enabled": client.enabled}


def _client(row: Row[tuple[object, ...]]) -> Client:
    try:
        members = json.loads(row.registration)
        return parse_client(members | {"enabled": row.enabled}, ClientSource.STORAGE)
    except (ValueError, TypeError, ClientMetadataError) as error:
        raise DatabaseUnavailable(f'the stored client "{row.client_id}" cannot be read: {error}') from None
