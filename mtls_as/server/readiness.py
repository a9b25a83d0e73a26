"""Whether this server can answer clients now, and if not, why."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from mtls_as.server.ports import Clock, SigningKeySource, StorageUnavailable, TrustSource
from mtls_as.server.signing_keys import NoSigningKey

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
    """What a token request stands on: the storage, a key that signs, and trust."""

    storage_revision: Callable[[], Awaitable[int]]
    signing_keys: SigningKeySource
    algorithm: str
    trust: TrustSource
    clock: Clock

    async def run(self) -> Readiness:
        """Check everything now; takes no longer than `STORAGE_SECONDS`."""
        return Readiness((await self._storage(), self._signing_key(), self._trust()))

    async def _storage(self) -> Check:
        try:
            async with asyncio.timeout(STORAGE_SECONDS):
                revision = await self.storage_revision()
        except TimeoutError:
            return Check(name="storage", passed=False, detail=f"does not answer within {STORAGE_SECONDS:g} seconds")
        except StorageUnavailable as error:
            return Check(name="storage", passed=False, detail=str(error))
        return Check(name="storage", passed=True, detail=f"revision {revision}")

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
