"""The inventory of more certificates than anybody looks at: the most urgent are listed, the others counted."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from mtls_as.rfc.rfc6749_framework import parse_form
from mtls_as.server.certificate_use import SeenCertificate
from mtls_as.server.clients import Client
from mtls_as.server.endpoints.admin import inventory
from mtls_as.server.endpoints.admin.call import ON_THE_MACHINE, AdminCall
from mtls_as.server.endpoints.admin.inventory import InventoryAdministration
from mtls_as.server.events import RequestEvent
from tests.authority import self_signed
from tests.server.test_certificate_inventory import NOW, parsed, seen, self_signed_client

DAY = 86_400
DAYS = (5, 3, 7, 1, 6, 2, 4)


class Clients:
    """Stored clients, which remembers how many it handed out at once."""

    def __init__(self, *clients: Client) -> None:
        self._clients = sorted(clients, key=lambda client: client.client_id)
        self.most = 0

    async def with_certificates(self, limit: int, *, after: str | None = None) -> tuple[Client, ...]:
        found = [client for client in self._clients if after is None or client.client_id > after][:limit]
        self.most = max(self.most, len(found))
        return tuple(found)

    async def find_all(self, client_ids: Collection[str]) -> tuple[Client, ...]:
        return tuple(client for client in self._clients if client.client_id in client_ids)


class Seen:
    def __init__(self, *seen: SeenCertificate) -> None:
        self._seen = seen

    async def list(self) -> tuple[SeenCertificate, ...]:
        return self._seen


async def taken(clients: Clients, seen: Seen, query: str) -> tuple[list[str], int]:
    """Whose certificates are listed, and how many are not."""
    administration = InventoryAdministration(server=list, anchors=dict, declared=(), clients=clients, seen=seen)
    call = AdminCall(caller=ON_THE_MACHINE, query=parse_form(query.encode()), at=NOW.timestamp())
    result = await administration.take(call, RequestEvent(endpoint="administration"))
    document: dict[str, Any] = dict(result.document or {})
    return [str(each["client_id"]) for each in document["certificates"]], document["left_out"]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_PAGE", 2)


async def test_the_soonest_of_many_are_listed() -> None:
    """Whatever their names; no more clients are held than can be shown, and a page."""
    clients = Clients(*(self_signed_client(f"d{days}", self_signed(days=days)) for days in DAYS))
    assert await taken(clients, Seen(), "limit=3") == (["d1", "d2", "d3"], 4)
    assert await taken(clients, Seen(), "limit=7") == (["d1", "d2", "d3", "d4", "d5", "d6", "d7"], 0)
    assert await taken(clients, Seen(), f"limit=3&within={5 * DAY + 3_600}") == (["d1", "d2", "d3"], 2)
    assert clients.most == 2


async def test_clients_that_are_disabled_hide_nobody() -> None:
    """Where only urgent ends are asked for."""
    ends = {days: self_signed_client(f"d{days}", self_signed(days=days)) for days in DAYS}
    clients = Clients(*(replace(client, enabled=days > 3) for days, client in ends.items()))
    assert await taken(clients, Seen(), f"limit=2&within={9 * DAY}") == (["d4", "d5"], 2)
    assert await taken(clients, Seen(), "limit=2") == (["d1", "d2"], 5)


async def test_a_registered_certificate_that_was_seen_is_still_one_entry() -> None:
    own = self_signed(days=9)
    clients = Clients(
        self_signed_client("own", own), *(self_signed_client(f"d{n}", self_signed(days=n)) for n in (1, 2))
    )
    assert await taken(clients, Seen(seen(parsed(own), client_id="own")), "limit=3") == (["d1", "d2", "own"], 0)
