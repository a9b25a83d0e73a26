"""The certificates that somebody would want to see expire, for operators: the most urgent first."""

import heapq
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc3339_time import format_optional_time, format_time
from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.server.certificate_inventory import InventoryEntry, registered_certificates, take_inventory
from mtls_as.server.certificate_use import SeenCertificate
from mtls_as.server.clients import Client
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.call import AdminCall, AdministrationError, AdminResult, Handlers, page_limit
from mtls_as.server.events import RequestEvent

MOST_ENTRIES: Final = 10_000
_PAGE: Final = 500
_DAY_SECONDS: Final = 86_400


class RegisteredClients(Protocol):
    """The stored clients. Every method raises `StorageUnavailable`."""

    async def with_certificates(self, limit: int, *, after: str | None = None) -> tuple[Client, ...]:
        """So many of the clients that registered certificates of their own, by their names, from behind one on."""
        ...

    async def find_all(self, client_ids: Collection[str]) -> tuple[Client, ...]:
        """Those of these clients that are stored."""
        ...


class SeenCertificates(Protocol):
    """What is remembered of certificates in use."""

    async def list(self) -> tuple[SeenCertificate, ...]:
        """All of them. Raises `StorageUnavailable`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryAdministration:
    """Takes inventory of the server's certificates, trust anchors, registered certificates, and those seen."""

    server: Callable[[], Sequence[Certificate]]
    """The server's own chain."""
    anchors: Callable[[], Mapping[str, Sequence[Certificate]]]
    """Of each trust domain."""
    declared: Collection[Client]
    clients: RegisteredClients
    seen: SeenCertificates

    def handlers(self) -> Handlers:
        return {routes.TAKE_INVENTORY: self.take}

    async def take(self, call: AdminCall, _event: RequestEvent) -> AdminResult:
        """The certificates, at most `limit` of them.

        With `within` (seconds) only those that end by then or have ended, and of which the end matters to somebody.
        """
        within, limit = _seconds(call), page_limit(call.query, default=1_000, most=MOST_ENTRIES)
        soonest = _Soonest(
            limit, latest=math.inf if within is None else call.at + within, only_enabled=within is not None
        )
        entries = await self._entries(soonest)
        if within is not None:
            entries = tuple(e for e in entries if e.standing is None and e.seconds_left(call.at) <= within)
        return AdminResult(
            document={
                "certificates": [_described(entry, call.at) for entry in entries[:limit]],
                "left_out": max(0, len(entries) - limit) + soonest.left_out,
            }
        )

    async def _entries(self, soonest: "_Soonest") -> tuple[InventoryEntry, ...]:
        """Only the clients with certificates are looked at: there may be a million others."""
        seen = await self.seen.list()
        names = {each.use.client_id for each in seen}
        after = None
        while page := await self.clients.with_certificates(_PAGE, after=after):
            for client in page:
                if client.client_id not in names:
                    soonest.add(client)
            after = page[-1].client_id
        stored = [*await self.clients.find_all(names), *soonest.clients]
        return take_inventory(
            server=self.server(), anchors=self.anchors(), clients=[*self.declared, *stored], seen=seen
        )


class _Soonest:
    """The clients, so many of them, of which a registered certificate ends soonest; the others are but counted."""

    def __init__(self, most: int, *, latest: float, only_enabled: bool) -> None:
        self._most = most
        self._latest = latest
        self._only_enabled = only_enabled
        self._kept: list[tuple[float, str, Client, int]] = []
        self.left_out = 0
        """Certificates that would be listed, of those clients that were dropped."""

    @property
    def clients(self) -> list[Client]:
        return [client for _, _, client, _ in self._kept]

    def add(self, client: Client) -> None:
        if self._only_enabled and not client.enabled:
            return
        ends = [certificate.not_after.timestamp() for certificate in registered_certificates(client)]
        listed = [end for end in ends if end <= self._latest]
        if not listed:
            return
        heapq.heappush(self._kept, (-min(listed), client.client_id, client, len(listed)))
        if len(self._kept) > self._most:
            self.left_out += heapq.heappop(self._kept)[3]


def _seconds(call: AdminCall) -> int | None:
    text = call.query.get("within")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(10 * 366 * _DAY_SECONDS)):
        raise AdministrationError(Refusal.MALFORMED_REQUEST, "within: must be a number of seconds")
    return int(text)


def _described(entry: InventoryEntry, at: float) -> dict[str, object]:
    return {
        "role": entry.role.value,
        "client_id": entry.client_id,
        "trust": entry.trust,
        "subject": entry.subject or "(empty)",
        "issuer": entry.issuer,
        "serial_number": entry.serial_number,
        "x5t#S256": entry.x5t_s256,
        "not_after": format_time(entry.not_after),
        "days_left": math.floor(entry.seconds_left(at) / _DAY_SECONDS),
        "last_used": format_optional_time(entry.last_used_at),
        "uses": entry.uses,
        "note": entry.standing,
    }
