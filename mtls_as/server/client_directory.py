"""The registered clients as the token path sees them: the declared ones, and a bounded memory of the stored ones.

Memory has the stored clients as they were when this node heard from the storage the last time: each change is taken out
of it by name, so that all others are still known when the storage is silent. For how long that counts is not decided
here: see `mtls_as.server.storage_contact`.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeVar

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.clients import Client
from mtls_as.server.ports import StorageUnavailable

CAPACITY: Final = 10_000

_T = TypeVar("_T")


class StoredClients:
    """Finds stored clients, and remembers them until they change. It outlasts every reload of the configuration.

    Unknown names are remembered too, apart from the known ones: guessing names neither reaches the storage twice nor
    drives known clients out.
    """

    def __init__(self, load: Callable[[str], Awaitable[Client | None]], *, capacity: int = CAPACITY) -> None:
        self._load = load
        self._capacity = capacity
        self._known: OrderedDict[str, Client] = OrderedDict()
        self._unknown: OrderedDict[str, None] = OrderedDict()
        self._changes = 0
        self.hits = self.misses = 0

    async def find(self, client_id: str) -> Client | None:
        """The client, enabled or not, or None. Raises `StorageUnavailable` for one that is not in memory."""
        known = self._known.get(client_id)
        if known is not None:
            self.hits += 1
            return known
        if client_id in self._unknown:
            self.hits += 1
            return None
        self.misses += 1
        changes = self._changes
        client = await self._load(client_id)
        # What was read before a change must not be remembered after it.
        if changes == self._changes:
            if client is None:
                self._remember(self._unknown, client_id, None)
            else:
                self._remember(self._known, client_id, client)
        return client

    def forget(self, client_ids: Iterable[str] | None = None) -> None:
        """Drop these, which have changed; None where nobody can tell which."""
        self._changes += 1
        if client_ids is None:
            self._known.clear()
            self._unknown.clear()
            return
        for client_id in client_ids:
            self._known.pop(client_id, None)
            self._unknown.pop(client_id, None)

    def _remember(self, memory: OrderedDict[str, _T], client_id: str, value: _T) -> None:
        memory[client_id] = value
        if len(memory) > self._capacity:
            memory.popitem(last=False)


class ClientDirectory:
    """The clients of one configuration: those that it declares, and the stored ones."""

    def __init__(self, declared: Mapping[str, Client], stored: StoredClients) -> None:
        self._declared = declared
        self._stored = stored

    async def find(self, client_id: str) -> Client | None:
        """The client, enabled or not, or None. Raises `OAuthError` `temporarily_unavailable`."""
        declared = self._declared.get(client_id)
        if declared is not None:
            return declared
        try:
            return await self._stored.find(client_id)
        except StorageUnavailable as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None

    def forget(self, client_ids: Iterable[str] | None = None) -> None:
        """As `StoredClients.forget`."""
        self._stored.forget(client_ids)
