"""The registered clients as the token path sees them: the declared ones, and a bounded memory of the stored ones."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.clients import Client
from mtls_as.server.ports import StorageUnavailable

CAPACITY: Final = 10_000

_T = TypeVar("_T")


class ClientDirectory:
    """Finds clients: declared ones in memory, stored ones through a cache that `forget` empties on every change.

    Unknown names are remembered too, apart from the known ones: guessing names neither reaches the storage twice nor
    drives known clients out.
    """

    def __init__(
        self,
        declared: Mapping[str, Client],
        load: Callable[[str], Awaitable[Client | None]],
        *,
        capacity: int = CAPACITY,
    ) -> None:
        self._declared = declared
        self._load = load
        self._capacity = capacity
        self._known: OrderedDict[str, Client] = OrderedDict()
        self._unknown: OrderedDict[str, None] = OrderedDict()
        self._generation = 0

    async def find(self, client_id: str) -> Client | None:
        """The client, enabled or not, or None. Raises `OAuthError` `temporarily_unavailable`."""
        known = self._declared.get(client_id) or self._known.get(client_id)
        if known is not None:
            return known
        if client_id in self._unknown:
            return None
        return await self._find_stored(client_id)

    def forget(self) -> None:
        """Drop what came from the storage, since something there has changed."""
        self._generation += 1
        self._known.clear()
        self._unknown.clear()

    async def _find_stored(self, client_id: str) -> Client | None:
        generation = self._generation
        try:
            client = await self._load(client_id)
        except StorageUnavailable as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None
        # What was read before a change must not be remembered after it.
        if generation == self._generation:
            if client is None:
                self._remember(self._unknown, client_id, None)
            else:
                self._remember(self._known, client_id, client)
        return client

    def _remember(self, memory: OrderedDict[str, _T], client_id: str, value: _T) -> None:
        memory[client_id] = value
        if len(memory) > self._capacity:
            memory.popitem(last=False)
