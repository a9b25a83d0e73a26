"""Signing keys: where new ones are made, and what keeps them as the configuration wants them."""

from collections.abc import Callable

from mtls_as.config import Settings
from mtls_as.server.key_upkeep import KeyPlan, KeyUpkeep
from mtls_as.server.ports import ExternalSigners
from mtls_as.server.signing_keys import KeyPair, SigningKey, generate_private_key
from mtls_as.wiring.foundation import Foundation


def key_maker(external: ExternalSigners | None) -> Callable[[str], KeyPair]:
    """What makes a private key for an algorithm: outside, if keys are held there. Raises `SignerUnavailable`."""
    return generate_private_key if external is None else external.generate


def key_plan(settings: Settings) -> KeyPlan:
    """What the configuration asks of signing keys."""
    return KeyPlan(algorithms=frozenset(settings.keys.algorithms), rotate_every=settings.keys.rotate_every)


def key_upkeep(foundation: Foundation, settings: Callable[[], Settings]) -> KeyUpkeep:
    """What keeps the keys as the settings in force want them."""
    external = foundation.external_signers

    def added(key: SigningKey) -> None:
        if foundation.audit is not None:
            foundation.audit.note({"event": "key", "kid": key.kid, "algorithm": key.algorithm})

    return KeyUpkeep(
        plan=lambda: key_plan(settings()),
        signing_keys=foundation.signing_keys,
        storage=foundation.storage.signing_keys,
        make=key_maker(external),
        discard=_keep if external is None else external.discard,
        clock=foundation.clock,
        added=added,
    )


def _keep(_key: KeyPair) -> None:
    """Keys in memory need no deletion."""
