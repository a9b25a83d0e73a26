"""The revocations in force, in the memory of every node: whether a token is revoked costs no access to the storage.

A revocation is acknowledged when the storage has it, not before. Other nodes take it over as they follow the storage. A
node that has not heard from the storage for some seconds asks it, and if there is no answer says so: it never calls a
token active on the word of old memory.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from mtls_as.server.ports import RevocationStore
from mtls_as.server.revocation import Revocation, RevocationKind, revocable_names
from mtls_as.server.storage_contact import CURRENT_SECONDS

CLOCK_SKEW: Final = 3_600.0
"""Seconds by which the clock of another node may be behind: a revocation is kept for so much longer."""


class Revocations:
    """The revocations of all nodes. To be used on one event loop; `monotonic` is a clock that nobody sets."""

    def __init__(self, store: RevocationStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._in_force: dict[tuple[RevocationKind, str], Revocation] = {}
        self._heard_at: dict[tuple[RevocationKind, str], float] = {}
        self.broad_changes = 0
        """How many revocations of more than one token this node has heard of."""
        self._revision = -1
        self._current_until = float("-inf")
        self._refreshing: asyncio.Future[None] | None = None

    async def revoke(self, revocation: Revocation) -> None:
        """End the tokens that it matches, here at once. Raises `StorageUnavailable`: then nothing is promised.

        What is stored already is not stored again: nobody can keep all nodes busy with one token.
        """
        known = self._in_force.get((revocation.kind, revocation.value))
        if known is not None and known.and_also(revocation) == known:
            return
        await self._store.add(revocation)
        self._take(revocation)

    async def find(self, claims: Mapping[str, object]) -> Revocation | None:
        """What has ended a token of this server with these claims, if anything. Raises `StorageUnavailable`."""
        # The refresh that others wait for already may have begun long ago; the one after it has not.
        for _ in range(2):
            if self._monotonic() >= self._current_until:
                await self._refresh_together()
        if not self._in_force:
            return None
        issued_at = claims.get("iat")
        for name in revocable_names(claims):
            revocation = self._in_force.get(name)
            if revocation is None:
                continue
            # A token that does not say when it was issued is as old as any.
            if not isinstance(issued_at, int | float) or issued_at < revocation.issued_before:
                return revocation
        return None

    def known(self, kind: RevocationKind, value: str) -> Revocation | None:
        """What is in force of these tokens, as far as this node knows."""
        return self._in_force.get((kind, value))

    def of_one_token(self) -> tuple[Revocation, ...]:
        """Those in force that end a token by its `jti`, as far as this node knows."""
        return tuple(each for (kind, _), each in self._in_force.items() if kind is RevocationKind.TOKEN)

    def of_many_tokens(self) -> tuple[tuple[Revocation, float], ...]:
        """The others, and how many seconds ago this node heard of each; what was there at its start is old."""
        now = self._monotonic()
        return tuple((self._in_force[name], now - at) for name, at in self._heard_at.items())

    async def _refresh_together(self) -> None:
        """One question for all who wait: a storage that hangs keeps nobody longer than the first."""
        if self._refreshing is None:
            self._refreshing = asyncio.ensure_future(self.refresh())
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, done: asyncio.Future[None]) -> None:
        self._refreshing = None
        if not done.cancelled():
            done.exception()  # whoever waits for it gets it; perhaps nobody does any more

    async def refresh(self) -> None:
        """Take over what other nodes have revoked since the last time. Raises `StorageUnavailable`."""
        asked_at = self._monotonic()
        revision, found = await self._store.since(self._revision)
        if revision < self._revision:  # an older copy of the database has taken its place
            revision, found = await self._store.since(-1)
        for revocation in found:
            self._take(revocation)
        self._revision = revision
        self._current_until = asked_at + CURRENT_SECONDS

    async def prune(self, *, ended_before: float) -> None:
        """Forget what can match no token that lives on at this time (epoch seconds). Raises `StorageUnavailable`."""
        ended_before -= CLOCK_SKEW
        self._in_force = {name: each for name, each in self._in_force.items() if each.ends_at >= ended_before}
        self._heard_at = {name: at for name, at in self._heard_at.items() if name in self._in_force}
        await self._store.prune(ended_before=ended_before)

    def _take(self, revocation: Revocation) -> None:
        name = (revocation.kind, revocation.value)
        known = self._in_force.get(name)
        both = revocation if known is None else known.and_also(revocation)
        self._in_force[name] = both
        if revocation.kind is not RevocationKind.TOKEN and both != known:
            self._heard_at[name] = float("-inf") if self._revision < 0 else self._monotonic()
            self.broad_changes += 1
