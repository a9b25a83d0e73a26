"""Signing keys: where new ones are made, and what keeps them as the configuration wants them."""

from collections.abc import Callable

from mtls_as.config import Settings
from mtls_as.server.key_upkeep import KeyPlan, KeyUpkeep
from mtls_as.server.ports import ExternalSigners
from mtls_as.server.signing_keys import KeyPair, generate_private_key
from mtls_as.storage import Storage
from mtls_as.wiring.foundation import Foundation


def key_maker(external: ExternalSigners | None) -> Callable[[str], KeyPair]:
    """What makes a private key for an algorithm: outside, if keys are held there. Raises `SignerUnavailable`."""
    return generate_private_key if external is None else external.generate


def key_plan(settings: Settings, *, longest_lifetime: float | None = None) -> KeyPlan:
    """What the configuration asks of signing keys; the lifetime (seconds) is that of its own clients unless given."""
    return KeyPlan(
        algorithms=frozenset(settings.keys.algorithms),
        longest_lifetime=settings.longest_lifetime() if longest_lifetime is None else longest_lifetime,
        rotate_every=settings.keys.rotate_every,
    )


async def full_key_plan(settings: Settings, storage: Storage) -> KeyPlan:
    """The plan with the lifetimes of stored clients in it. Raises `StorageUnavailable`."""
    return key_plan(settings, longest_lifetime=settings.longest_lifetime(await storage.clients.list()))


def key_upkeep(foundation: Foundation, settings: Callable[[], Settings]) -> KeyUpkeep:
    """What keeps the keys as the settings in force want them."""
    external, storage = foundation.external_signers, foundation.storage

    async def longest_lifetime() -> float:
        return settings().longest_lifetime(await storage.clients.list())

    return KeyUpkeep(
        plan=lambda: key_plan(settings()),
        longest_lifetime=longest_lifetime,
        signing_keys=foundation.signing_keys,
        storage=storage.signing_keys,
        make=key_maker(external),
        discard=_keep if external is None else external.discard,
        clock=foundation.clock,
    )


def _keep(_key: KeyPair) -> None:
    """Keys in memory need no deletion."""
