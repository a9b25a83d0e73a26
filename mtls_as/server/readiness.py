"""Whether this server can answer clients now, and if not, why."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mtls_as.server.ports import Clock, SigningKeySource, StorageUnavailable, TrustSource
from mtls_as.server.signing_keys import NoSigningKey
from mtls_as.server.storage_contact import StorageContact

STORAGE_SECONDS: Final = 2.0
"""How long the storage may take to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be so. `detail` is for operators, and names no secret."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """The outcome of every check."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessChecks:
    """What a token request stands on: a server that stays, the storage, a key that signs, and trust.

    A storage that is silent is no reason to send clients elsewhere, as long as this node may issue tokens without: all
    other nodes would have to do the same.
    """

    storage_revision: Callable[[], Awaitable[int]]
    signing_keys: SigningKeySource
    algorithm: str
    trust: TrustSource
    clock: Clock
    contact: StorageContact
    stopping: Callable[[], bool]

    async def run(self) -> Readiness:
        """Check everything now; takes no longer than `STORAGE_SECONDS`."""
        return Readiness((self._serving(), await self._storage(), self._signing_key(), self._trust()))

    def _serving(self) -> Check:
        if self.stopping():
            return Check(name="serving", passed=False, detail="is about to stop")
        return Check(name="serving", passed=True, detail="goes on")

    async def _storage(self) -> Check:
        try:
            async with asyncio.timeout(STORAGE_SECONDS):
                revision = await self.storage_revision()
        except TimeoutError:
            return self._silent(f"does not answer within {STORAGE_SECONDS:g} seconds")
        except StorageUnavailable as error:
            return self._silent(str(error))
        return Check(name="storage", passed=True, detail=f"revision {revision}")

    def _silent(self, problem: str) -> Check:
        left = self.contact.tolerated_for if self.contact.tolerated_outage else 0.0
        if left <= 0:
            return Check(name="storage", passed=False, detail=problem)
        detail = f"clients that are known here get tokens for another {left:.0f} s: {problem}"
        return Check(name="storage", passed=True, detail=detail)

    def _signing_key(self) -> Check:
        try:
            key = self.signing_keys.current().active(self.algorithm, self.clock())
        except NoSigningKey as error:
            return Check(name="signing_key", passed=False, detail=str(error))
        return Check(name="signing_key", passed=True, detail=f"{key.algorithm} {key.kid}")

    def _trust(self) -> Check:
        # A domain without any anchor cannot be loaded; one whose anchors are all pinned has none at hand.
        trust = self.trust.current()
        return Check(name="trust", passed=True, detail=f"generation {trust.generation}, {len(trust.names)} domains")
