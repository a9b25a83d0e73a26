"""The ports of the authorization server: what it needs from the outside, as narrow as its use."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mtls_as.server.clients import Client

Clock = Callable[[], float]
"""Seconds since the epoch, as `time.time`."""


class ClientFinder(Protocol):
    """Finds registered clients for the token path; answers from memory in the steady state."""

    def find(self, client_id: str) -> Awaitable[Client | None]:
        """The client, enabled or not, or None. Raises `mtls_as.server.errors.StorageUnavailable`."""
        ...
