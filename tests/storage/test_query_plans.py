"""What is asked of tables that grow with the number of clients is answered from an index, on each kind of database.

Tables are filled and analysed first, for the planner to see that reading all of one would be a mistake.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.engine import Connection

from mtls_as.server.registration_policy import RegistrationPolicy, format_policy
from mtls_as.server.revocation import Revocation
from mtls_as.storage import Storage
from mtls_as.storage.schema import registrations, revocations
from tests.scale.population import Population, client_id
from tests.storage.conftest import opened
from tests.storage.test_client_repository import client
from tests.storage.test_seen_certificates import use

CLIENTS = 3_000
POLICY = json.dumps(format_policy(RegistrationPolicy(scope=(), trust=(), methods=("tls_client_auth",))))
GROWING = ("clients", "client_secrets", "registrations", "seen_certificates", "accepted_paths", "revocations")

Work = Callable[[Storage], Awaitable[object]]

WORK: dict[str, Work] = {
    "a client": lambda storage: storage.clients.find(client_id(17)),
    "a client with secrets": lambda storage: storage.clients.find("basic"),
    "no client": lambda storage: storage.clients.find("nobody"),
    "some clients": lambda storage: storage.clients.find_all([client_id(17), client_id(1_717)]),
    "the first page": lambda storage: storage.clients.page(after=None, limit=20),
    "a later page": lambda storage: storage.clients.page(after=client_id(2_000), limit=20),
    "clients with certificates": lambda storage: storage.clients.with_certificates(20),
    "a new client": lambda storage: storage.clients.add(client("new")),
    "a client disabled": lambda storage: storage.clients.set_enabled(client_id(5), False),
    "a client deleted": lambda storage: storage.clients.delete(client_id(6)),
    "a registration": lambda storage: storage.registrations.find(client_id(17)),
    "a certificate's uses": lambda storage: storage.seen_certificates.last_uses("17".ljust(43, "0")),
    "a use": lambda storage: storage.seen_certificates.record([use("17", client_id(17))]),
    "revocations since": lambda storage: storage.revocations.since(CLIENTS),
    "a revocation": lambda storage: storage.revocations.add(Revocation.of_client(client_id(9), before=5.0)),
    "changes": lambda storage: storage.changes(0),
}


@pytest.fixture
async def full(url: str) -> AsyncIterator[Storage]:
    """A storage with many rows in every table that grows, of which the planner knows."""
    Population(active=1).load(url, CLIENTS)
    async with opened(url) as storage:
        await storage.clients.add(client("basic"))
        await storage.seen_certificates.record([use(f"{n}", client_id(n)) for n in range(CLIENTS)])
        async with storage._transactions.write(client_id=None) as connection:
            await connection.execute(insert(revocations), [revoked(number) for number in range(CLIENTS)])
            await connection.execute(insert(registrations), [registered(number) for number in range(CLIENTS)])
            await connection.execute(text("ANALYZE"))
        yield storage


def revoked(number: int) -> dict[str, object]:
    return {"kind": "token", "value": f"t{number}", "issued_before": 1.0, "ends_at": 2.0, "revision": number}


def registered(number: int) -> dict[str, object]:
    return {"client_id": client_id(number), "access_token_digest": "d", "policy": POLICY, "registered_at": 1.0}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
async def test_nothing_reads_a_whole_table(full: Storage, work: Work) -> None:
    """Neither to find a client, nor to change one, nor to list some."""
    statements: list[tuple[str, Any]] = []
    engine = full._transactions._engine.sync_engine

    def note(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) and "pg_" not in statement:
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    await work(full)
    event.remove(engine, "before_cursor_execute", note)
    assert statements
    for statement, parameters in statements:
        one = parameters[0] if isinstance(parameters, list) else parameters
        assert scanned(await plan(full, statement, one)) == set(), statement


async def plan(storage: Storage, statement: str, parameters: Any) -> list[str]:
    """How the database would do it."""
    async with storage._transactions.read() as connection:
        how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        rows = (await connection.exec_driver_sql(f"{how} {statement}", parameters)).all()
    return [str(row[-1]) for row in rows]


def scanned(plan: list[str]) -> set[str]:
    """The tables of which it reads every row."""
    found = [re.search(r"Seq Scan on (\w+)|SCAN (\w+)(?! USING)\b", line) for line in plan]
    return {match[1] or match[2] for match in found if match} & set(GROWING)


async def test_a_whole_table_would_be_noticed(full: Storage) -> None:
    """A condition that no index knows."""
    assert scanned(await plan(full, "SELECT * FROM clients WHERE registration LIKE '%x%'", ())) == {"clients"}
