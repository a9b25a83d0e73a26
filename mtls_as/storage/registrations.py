"""Clients that registered themselves, and the initial access tokens that let them."""

import json
from collections.abc import Callable

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc7591_client_metadata import ClientMetadataError
from mtls_as.server.clients import is_client_id
from mtls_as.server.registration_policy import RegistrationPolicy, format_policy, parse_policy
from mtls_as.server.registrations import (
    MAX_CLIENTS_OF_A_CERTIFICATE,
    InitialAccessToken,
    Registration,
    RegistrationImpossible,
)
from mtls_as.storage.clients import find_client, insert_client, replace_client
from mtls_as.storage.errors import ClientNotFound, DatabaseUnavailable
from mtls_as.storage.in_time import limited
from mtls_as.storage.schema import clients, initial_access_tokens, registrations
from mtls_as.storage.transactions import Transactions

_GONE = "the client is not registered any longer"


@limited
class RegistrationRepository:
    """The `RegistrationStore` of a database. Every method raises `DatabaseUnavailable`, and what it names itself."""

    def __init__(self, transactions: Transactions, clock: Callable[[], float]) -> None:
        self._transactions = transactions
        self._clock = clock

    async def add_initial_access_token(self, token: InitialAccessToken) -> None:
        """Store a new token. No node keeps it in memory, so the revision stays."""
        values = {
            "digest": token.digest,
            "policy": json.dumps(format_policy(token.policy)),
            "uses_left": token.uses_left,
            "created_at": self._clock(),
            "expires_at": token.expires_at,
        }
        async with self._transactions.write_quietly() as connection:
            await connection.execute(insert(initial_access_tokens).values(values))

    async def initial_access_tokens(self) -> tuple[InitialAccessToken, ...]:
        """Every token, the one that ends first at the beginning."""
        statement = select(initial_access_tokens).order_by(
            initial_access_tokens.c.expires_at, initial_access_tokens.c.digest
        )
        async with self._transactions.read() as connection:
            return tuple(_token(row) for row in await connection.execute(statement))

    async def delete_initial_access_token(self, digest: str) -> None:
        """Forget a token, if it is there."""
        async with self._transactions.write_quietly() as connection:
            await connection.execute(delete(initial_access_tokens).where(initial_access_tokens.c.digest == digest))

    async def find_initial_access_token(self, digest: str) -> InitialAccessToken | None:
        """The token, good or not, or None."""
        statement = select(initial_access_tokens).where(initial_access_tokens.c.digest == digest)
        async with self._transactions.read() as connection:
            row = (await connection.execute(statement)).first()
        return None if row is None else _token(row)

    async def register(self, registration: Registration, *, initial_access_token: str | None, at: float) -> None:
        """Store a client with its registration, and use its token once: both, or neither.

        The writers of the database take turns, so of two registrations with a token's last use one succeeds. Raises
        `RegistrationImpossible`.
        """
        async with self._transactions.write(client_id=registration.client.client_id) as connection:
            if initial_access_token is not None:
                await _use(connection, initial_access_token, at)
            else:
                await _require_room(connection, registration.certificate_thumbprint)
            await insert_client(connection, registration.client, at=at)
            values = {
                "client_id": registration.client.client_id,
                "access_token_digest": registration.access_token_digest,
                "policy": json.dumps(format_policy(registration.policy)),
                "registered_at": registration.registered_at,
                "certificate_thumbprint": registration.certificate_thumbprint,
                "software_statement": registration.software_statement,
            }
            await connection.execute(insert(registrations).values(values))

    async def find(self, client_id: str) -> Registration | None:
        """The registration, or None. Any text may be asked for."""
        if not is_client_id(client_id):
            return None
        statement = select(registrations).where(registrations.c.client_id == client_id)
        async with self._transactions.read() as connection:
            row = (await connection.execute(statement)).first()
            client = None if row is None else await find_client(connection, client_id)
        if row is None or client is None:
            return None
        return Registration(
            client=client,
            access_token_digest=row.access_token_digest,
            policy=_policy(row.policy),
            registered_at=row.registered_at,
            certificate_thumbprint=row.certificate_thumbprint,
            software_statement=row.software_statement,
        )

    async def update(self, registration: Registration) -> None:
        """Replace the client and its software statement. Raises `RegistrationImpossible`.

        Whether it is enabled stays as it is now: the operator may have disabled it in this moment.
        """
        client_id = registration.client.client_id
        async with self._transactions.write(client_id=client_id) as connection:
            enabled = await connection.scalar(select(clients.c.enabled).where(clients.c.client_id == client_id))
            if not enabled:
                raise RegistrationImpossible(Refusal.REGISTRATION_TOKEN_INVALID, _GONE)
            try:
                await replace_client(connection, registration.client, at=self._clock())
            except ClientNotFound:
                raise RegistrationImpossible(Refusal.REGISTRATION_TOKEN_INVALID, _GONE) from None
            statement = update(registrations).where(registrations.c.client_id == client_id)
            await connection.execute(statement.values(software_statement=registration.software_statement))

    async def delete(self, client_id: str) -> None:
        """Forget the client, and by the foreign key its registration. Raises `RegistrationImpossible`."""
        async with self._transactions.write(client_id=client_id) as connection:
            result = await connection.execute(delete(clients).where(clients.c.client_id == client_id))
            if result.rowcount != 1:
                raise RegistrationImpossible(Refusal.REGISTRATION_TOKEN_INVALID, _GONE)

    async def prune(self, *, ended_before: float) -> None:
        """Forget initial access tokens that ended before this time (epoch seconds)."""
        ended = initial_access_tokens.c.expires_at < ended_before
        async with self._transactions.write_quietly() as connection:
            await connection.execute(delete(initial_access_tokens).where(ended))


async def _use(connection: AsyncConnection, digest: str, at: float) -> None:
    tokens = initial_access_tokens
    is_good = (tokens.c.digest == digest) & (tokens.c.uses_left > 0) & (tokens.c.expires_at > at)
    result = await connection.execute(update(tokens).where(is_good).values(uses_left=tokens.c.uses_left - 1))
    if result.rowcount != 1:
        raise RegistrationImpossible(Refusal.REGISTRATION_TOKEN_INVALID, "the initial access token is used up")


async def _require_room(connection: AsyncConnection, thumbprint: str | None) -> None:
    of_certificate = registrations.c.certificate_thumbprint == thumbprint
    count = await connection.scalar(select(func.count()).select_from(registrations).where(of_certificate)) or 0
    if count >= MAX_CLIENTS_OF_A_CERTIFICATE:
        detail = f"the certificate has registered {count} clients, which is as many as one can"
        raise RegistrationImpossible(Refusal.REGISTRATION_LIMIT_REACHED, detail)


def _token(row: Row[tuple[object, ...]]) -> InitialAccessToken:
    return InitialAccessToken(
        digest=row.digest, policy=_policy(row.policy), uses_left=row.uses_left, expires_at=row.expires_at
    )


def _policy(text: str) -> RegistrationPolicy:
    try:
        return parse_policy(json.loads(text))
    except (ValueError, TypeError, ClientMetadataError) as error:
        raise DatabaseUnavailable(f"a stored registration policy cannot be read: {error}") from None
