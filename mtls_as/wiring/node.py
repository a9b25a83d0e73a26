"""One running authorization server: its foundation, and the generation in force."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

from mtls_as.config import Settings
from mtls_as.observability.certificate_uses import CertificateUses
from mtls_as.observability.event_log import EventLog
from mtls_as.observability.handshake_log import HandshakeLog
from mtls_as.observability.process_metrics import Numbers
from mtls_as.pki.revocation import Revocation
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.server.events import EventSink
from mtls_as.server.ports import Clock, StorageUnavailable
from mtls_as.server.pruning import Prunable, pruning
from mtls_as.server.revoked_certificates import RevokedCertificates
from mtls_as.server.signing_keys import SigningKeys
from mtls_as.storage import Storage
from mtls_as.tls import Listener, Population, ServerCredentials
from mtls_as.wiring.foundation import Current, Foundation, open_foundation
from mtls_as.wiring.generation import Generation, build_generation
from mtls_as.wiring.listeners import CurrentApplication, make_listeners
from mtls_as.wiring.process_numbers import process_numbers
from mtls_as.wiring.signing_keys import key_upkeep

POLL_SECONDS: Final = 1.0
KEY_UPKEEP_SECONDS: Final = 30.0

_diagnostics = logging.getLogger(__name__)


class Node:
    """A server in one process. `replace` swaps the whole generation in one step of the event loop."""

    def __init__(self, foundation: Foundation, generation: Generation) -> None:
        self.foundation = foundation
        self.generation = generation
        self._applications = {name: CurrentApplication(app) for name, app in generation.applications.items()}
        self._handshake_log = HandshakeLog()
        self.population = Population(limits=generation.settings.connections)
        """The connections, once there are listeners."""
        self.events: EventLog | None = None
        """The event log, if that is what takes the events."""
        foundation.metrics.set_trust_generation(generation.number)
        foundation.metrics.numbers = self._numbers
        self._use_limits(generation.settings)
        foundation.contact.tolerated_outage = generation.settings.storage.tolerated_outage

    def _numbers(self) -> Numbers:
        return process_numbers(self.foundation, self.trust, self.population, self.events)

    @property
    def settings(self) -> Settings:
        return self.generation.settings

    @property
    def credentials(self) -> ServerCredentials:
        return self.generation.credentials

    @property
    def trust(self) -> TrustDomains:
        return self.generation.trust.value

    @property
    def storage(self) -> Storage:
        return self.foundation.storage

    @property
    def signing_keys(self) -> Current[SigningKeys]:
        return self.foundation.signing_keys

    @property
    def revocation(self) -> Revocation:
        return self.foundation.revocation

    @property
    def certificate_uses(self) -> CertificateUses:
        return self.foundation.certificate_uses

    def listeners(self) -> list[Listener]:
        """The listeners of the configuration; what answers there is always the generation in force."""
        return make_listeners(self.settings, self._applications)

    def replace(self, generation: Generation) -> None:
        """Put a generation into force: for every request that begins from now on, on open connections too."""
        for name, application in self._applications.items():
            application.application = generation.applications[name]
        self.generation = generation
        self.foundation.revocation.keep_only(generation.trust.value.revocations)
        self.foundation.metrics.set_trust_generation(generation.number)
        self._use_limits(generation.settings)
        self.foundation.contact.tolerated_outage = generation.settings.storage.tolerated_outage

    def _use_limits(self, settings: Settings) -> None:
        self.foundation.limits.use(settings.limits)
        self.population.exempt = settings.limits.exempt

    def announce(self, cause: str) -> None:
        """Log which generation is in force and why, with what an operator should know of its anchors."""
        _diagnostics.info("%s: generation %d is in force", cause, self.generation.number)
        for warning in self.trust.warnings:
            _diagnostics.warning("%s", warning)

    async def follow_numbers(self) -> None:
        """Carry over what this process counts, for whoever asks another worker for metrics, until cancelled."""
        while True:
            self.foundation.metrics.take_numbers()
            await asyncio.sleep(POLL_SECONDS)

    def handshake_failed(self, reason: str, peer: str) -> None:
        """Count and log a failed handshake."""
        self.foundation.metrics.count_handshake_failure(reason)
        if self.foundation.audit is not None:
            self.foundation.audit.count_refused_handshake(reason)
        self._handshake_log.failed(reason, peer)

    async def follow_storage(self) -> None:
        """Take over what other processes write to the storage, until cancelled."""
        while True:
            try:
                await self.storage.wait_for_change(POLL_SECONDS)
                await self.foundation.refresh()
            except StorageUnavailable:
                pass  # the contact has told it
            except Exception:  # noqa: BLE001 # the next time may go well, and the storage must be followed
                _diagnostics.exception("the storage could not be followed: an unforeseen error")
                await asyncio.sleep(POLL_SECONDS)

    async def follow_keys(self) -> None:
        """Keep the signing keys as the settings in force want them, until cancelled."""
        await key_upkeep(self.foundation, lambda: self.settings).follow(every=KEY_UPKEEP_SECONDS)

    async def follow_bundles(self) -> None:
        """Keep the SPIFFE bundles of the generation in force current, until cancelled."""
        while True:
            try:
                await self.generation.federation.refresh()
            except Exception:  # noqa: BLE001 # the next time may go well, and bundles must be followed
                _diagnostics.exception("the SPIFFE bundles could not be followed: an unforeseen error")
            await asyncio.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def open_node(settings: Settings, *, emit: EventSink, clock: Clock = time.time) -> AsyncIterator[Node]:
    """Build a node: every file is read and every cross-check made.

    Raises `ConfigurationError`, `TLSConfigurationError`, `TrustConfigurationError`, `StorageError` or `NoSigningKey`.
    """
    async with open_foundation(settings, emit=emit, clock=clock) as foundation:
        await foundation.refresh()
        node = Node(foundation, await build_generation(settings, foundation, number=1))
        node.events = emit if isinstance(emit, EventLog) else None
        storage = foundation.storage
        revoked = RevokedCertificates(
            foundation.revocation, storage.accepted_paths, foundation.revocations, clock=clock
        )
        async with (
            foundation.certificate_uses.storing(),
            foundation.status_indices.recording(),
            foundation.audit.recording() if foundation.audit else contextlib.nullcontext(),
            foundation.revocation.following(),
            revoked.following(),
            foundation.limits.penalties.following(),
            pruning(prunable(foundation), clock=clock),
        ):
            yield node


def prunable(foundation: Foundation) -> tuple[Prunable, ...]:
    """What holds things that end; certificates that were seen, and the audit trail, have ends of their own."""
    storage = foundation.storage
    return (
        storage.used_once,
        storage.opaque_tokens,
        storage.accepted_paths,
        storage.status_blocks,
        storage.penalties,
        storage.registrations,
        foundation.revocations,
    )
