"""Keeps the signing keys as the configuration wants them: which algorithms there are, and how often each changes.

Every node looks at the keys it has in memory, and does nothing as long as they are as they should be. Where they are
not, it makes what is missing and hands it to the storage, which looks again within one transaction: whichever node
comes first has done it for all, and the others throw away what they made.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from mtls_as.remote.key_sets import MAX_AGE as VERIFIER_MAX_AGE
from mtls_as.server.clients import ACCESS_TOKEN_LIFETIMES
from mtls_as.server.ports import Clock, SignerUnavailable, SigningKeySource, StorageUnavailable
from mtls_as.server.signing_keys import ExternalKey, KeyPair, SigningKey, SigningKeys

JWKS_MAX_AGE: Final = 300.0
"""For how long an HTTP cache may keep the published key set, in seconds."""
PUBLISH_AHEAD: Final = JWKS_MAX_AGE + VERIFIER_MAX_AGE
"""How long a key is published before it signs: as old may a verifier's key set be, through both caches."""
OVERLAP: Final = ACCESS_TOKEN_LIFETIMES[-1] + PUBLISH_AHEAD
"""How long a key stays published after the last token it signed: for the longest life that a token can be given here,
and then the caches. Not the longest that is configured now: that may have been longer when the token was signed."""

_diagnostics = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """What the configuration says of signing keys. All durations are seconds."""

    algorithms: frozenset[str]
    """Those whose keys are wanted; keys of any other end."""
    rotate_every: float = 0.0
    """The age at which a key that signs has a successor; 0 for keys that only a command changes."""

    def due(self, keys: SigningKeys, at: float) -> frozenset[str]:
        """The algorithms for which a new key must be published now, so that it signs in time."""
        return frozenset(name for name in self.algorithms if self.rotate_every and self._is_due(keys, name, at))

    def _is_due(self, keys: SigningKeys, algorithm: str, at: float) -> bool:
        newest = max(_signing(keys, algorithm, at), key=lambda key: key.activates_at, default=None)
        return newest is None or newest.activates_at + self.rotate_every <= at + PUBLISH_AHEAD

    def rotates_at(self, keys: SigningKeys, key: SigningKey, at: float) -> float | None:
        """When a successor of this key will be made, if by schedule, and if there is none yet."""
        mine = _signing(keys, key.algorithm, at)
        if (
            not self.rotate_every
            or key.algorithm not in self.algorithms
            or key.expires_at is not None
            or key not in mine
        ):
            return None
        return max(key.activates_at + self.rotate_every - PUBLISH_AHEAD, at)

    def corrections(self, keys: SigningKeys, at: float) -> tuple[SigningKey, ...]:
        """The keys whose end is not the one they should have, with that end.

        Without an end is the last key of a wanted algorithm, and no key of another one.
        """
        unwanted = (key for key in keys.keys if key.expires_at is None and key.algorithm not in self.algorithms)
        ending = [replace(key, expires_at=max(at, key.activates_at) + OVERLAP) for key in unwanted]
        # An algorithm that is wanted again before its keys have gone.
        for algorithm in sorted(self.algorithms):
            mine = _signing(keys, algorithm, at)
            if mine and all(key.expires_at is not None for key in mine):
                ending.append(replace(max(mine, key=lambda key: key.activates_at), expires_at=None))
        return tuple(ending)

    def is_fulfilled(self, keys: SigningKeys, at: float) -> bool:
        """Whether there is nothing to do, not even a key to forget."""
        return not (self.due(keys, at) or self.corrections(keys, at) or any(key.is_gone(at) for key in keys.keys))


def _signing(keys: SigningKeys, algorithm: str, at: float) -> list[SigningKey]:
    """The keys of an algorithm that sign, have signed or will; not those whose turn was taken by another."""
    mine = (key for key in keys.keys if key.algorithm == algorithm and not key.is_gone(at))
    return [key for key in mine if key.expires_at is None or key.activates_at < key.expires_at]


def _say_nothing(_key: SigningKey) -> None:
    """Nobody wants to know."""


MadeKeys = Mapping[str, KeyPair]
"""A new private key for each of some algorithms."""


class KeyStorage(Protocol):
    """Where the signing keys are, for all nodes."""

    async def fulfil(self, plan: KeyPlan, *, at: float, made: MadeKeys) -> tuple[SigningKey, ...]:
        """Fulfil a plan in one transaction, with these keys where new ones are due; the keys that were taken.

        Raises `StorageUnavailable`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUpkeep:
    """Fulfils the plan, as often as it is asked to. `make` and `discard` may block: they run in a thread."""

    plan: Callable[[], KeyPlan]
    """The plan of the configuration in force."""
    signing_keys: SigningKeySource
    storage: KeyStorage
    make: Callable[[str], KeyPair]
    """A new private key for an algorithm; raises `SignerUnavailable`."""
    discard: Callable[[ExternalKey], None]
    clock: Clock
    added: Callable[[SigningKey], None] = _say_nothing
    """Called for each key that this node has added."""

    async def run(self) -> tuple[SigningKey, ...]:
        """Do what must be done now, if anything: the keys that this node has added.

        Raises `StorageUnavailable` and `SignerUnavailable`; then the keys are as they were.
        """
        plan, keys, at = self.plan(), self.signing_keys.current(), self.clock()
        if plan.is_fulfilled(keys, at):
            return ()
        made = {name: await asyncio.to_thread(self.make, name) for name in sorted(plan.due(keys, at))}
        # If this fails, what was made elsewhere stays there: it may have been stored all the same.
        taken = await self.storage.fulfil(plan, at=at, made=made)
        await self._discard_others(made.values(), taken)
        for key in taken:
            _diagnostics.info("new signing key %s (%s), signs from %.0f on", key.kid, key.algorithm, key.activates_at)
            self.added(key)
        return taken

    async def follow(self, *, every: float) -> None:
        """Do so every so many seconds, until cancelled. What fails is logged, and tried again."""
        while True:
            try:
                await self.run()
            except (StorageUnavailable, SignerUnavailable) as error:
                _diagnostics.warning("the signing keys stay as they are: %s", error)
            except Exception:  # noqa: BLE001 # the next time may go well, and nobody else would begin anew
                _diagnostics.exception("the signing keys could not be looked after: an unforeseen error")
            await asyncio.sleep(every)

    async def _discard_others(self, made: Collection[KeyPair], taken: Collection[SigningKey]) -> None:
        """Another node was first: a key in memory is just forgotten, one that was made elsewhere must be deleted."""
        used = {key.private_key.uri for key in taken if isinstance(key.private_key, ExternalKey)}
        for key in made:
            if isinstance(key, ExternalKey) and key.uri not in used:
                try:
                    await asyncio.to_thread(self.discard, key)
                except SignerUnavailable as error:
                    _diagnostics.warning("the key %s was never used and is still there: %s", key.uri, error)
