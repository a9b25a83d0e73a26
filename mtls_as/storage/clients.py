"""Stored clients: those that the command line registers while the server runs."""

import json
from collections.abc import Callable

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
from mtls_as.server.clients import Client, ClientSource, format_client, is_client_id, parse_client
from mtls_as.storage.errors import ClientExists, ClientNotFound, DatabaseUnavailable
from mtls_as.storage.schema import clients
from mtls_as.storage.transactions import Transactions


class ClientRepository:
    """The stored clients. Every method raises `DatabaseUnavailable`, and what it names itself."""

    def __init__(self, transactions: Transactions, clock: Callable[[], float]) -> None:
        self._transactions = transactions
        self._clock = clock

    async def add(self, client: Client) -> None:
        """Store a new client. Raises `ClientExists`."""
        now = self._clock()
        values = {"client_id": client.client_id, **_columns(client), "created_at": now, "updated_at": now}
        try:
            async with self._transactions.write() as connection:
                await connection.execute(insert(clients).values(values))
        except IntegrityError:
            raise ClientExists(f'a client "{client.client_id}" is stored already') from None

    async def find(self, client_id: str) -> Client | None:
        """The client, enabled or not, or None. Any text may be asked for."""
        if not is_client_id(client_id):
            return None
        async with self._transactions.read() as connection:
            row = (await connection.execute(select(clients).where(clients.c.client_id == client_id))).one_or_none()
        return None if row is None else _client(row)

    async def list(self) -> tuple[Client, ...]:
        """Every client, ordered by its name."""
        async with self._transactions.read() as connection:
            rows = (await connection.execute(select(clients).order_by(clients.c.client_id))).all()
        return tuple(_client(row) for row in rows)

    async def with_certificates(self, limit: int) -> tuple[Client, ...]:
        """So many of the clients that registered certificates of their own."""
        statement = select(clients).where(clients.c.registration.contains('"x5c"')).order_by(clients.c.client_id)
        async with self._transactions.read() as connection:
            rows = (await connection.execute(statement.limit(limit))).all()
        return tuple(_client(row) for row in rows)

    async def replace(self, client: Client) -> None:
        """Store another registration under the same name. Raises `ClientNotFound`."""
        await self._update(client.client_id, _columns(client))

    async def set_enabled(self, client_id: str, enabled: bool) -> None:  # noqa: FBT001 - the value to set, as in INTERFACE
        """Let a client in, or keep it out. Raises `ClientNotFound`."""
        await self._update(client_id, {"enabled": enabled})

    async def delete(self, client_id: str) -> None:
        """Forget a client. Raises `ClientNotFound`."""
        async with self._transactions.write() as connection:
            result = await connection.execute(delete(clients).where(clients.c.client_id == client_id))
            _require_one(result.rowcount, client_id)

    async def _update(self, client_id: str, values: dict[str, object]) -> None:
        async with self._transactions.write() as connection:
            statement = update(clients).where(clients.c.client_id == client_id)
            result = await connection.execute(statement.values(values | {"updated_at": self._clock()}))
            _require_one(result.rowcount, client_id)


def _require_one(count: int, client_id: str) -> None:
    if count != 1:
        raise ClientNotFound(f'no client "{client_id}" is stored')


def _columns(client: Client) -> dict[str, object]:
    registration = format_client(client)
    del registration["enabled"]
    return {"registration": json.dumps(registration), "enabled": client.enabled}


def _client(row: Row[tuple[object, ...]]) -> Client:
    try:
        members = json.loads(row.registration)
        return parse_client(members | {"enabled": row.enabled}, ClientSource.STORAGE)
    except (ValueError, TypeError, ClientMetadataError) as error:
        raise DatabaseUnavailable(f'the stored client "{row.client_id}" cannot be read: {error}') from None
