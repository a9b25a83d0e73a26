"""What a node stands on as long as its process runs: no reload touches it."""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from mtls_as.config import Settings
from mtls_as.observability.audit_trail import AuditTrail
from mtls_as.observability.certificate_uses import CertificateUses
from mtls_as.observability.metrics import Metrics
from mtls_as.pki.revocation import Revocation
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.remote.documents import DocumentFetcher
from mtls_as.remote.key_sets import RemoteKeySet
from mtls_as.server.client_authentication.decoys import Decoys
from mtls_as.server.client_directory import StoredClients
from mtls_as.server.dpop_nonces import DPoPNonces
from mtls_as.server.endpoints.admin.reload import ReloadAll
from mtls_as.server.events import EventSink, emit_to_all
from mtls_as.server.limits import RequestLimits
from mtls_as.server.opaque_tokens import OPAQUE_TOKEN_BYTES, OpaqueTokens
from mtls_as.server.penalties import Penalties
from mtls_as.server.ports import Clock, ExternalSigners, StorageUnavailable
from mtls_as.server.revocation_fetcher import RevocationFetcher
from mtls_as.server.revocations import Revocations
from mtls_as.server.signing_keys import SigningKeys
from mtls_as.server.status_indices import StatusIndices
from mtls_as.server.storage_contact import StorageContact
from mtls_as.server.token_signing import TokenSigner
from mtls_as.storage import Storage, open_storage, read_encryption_key
from mtls_as.wiring.external_signers import open_external_signers
from mtls_as.wiring.tracing import open_tracing, trace_storage, traced_trust_domains, with_spans

if TYPE_CHECKING:
    from mtls_as.observability.tracing import Tracing

MAX_REMOTE_KEY_SETS: Final = 1_000
ANSWER_SECONDS: Final = 1.0
"""How much longer a call of the storage may take than it waits for a connection, or for somebody else's lock."""

_T = TypeVar("_T")


@dataclass(slots=True)
class Current(Generic[_T]):
    """A value that is swapped whole, for readers that ask for it at each use."""

    value: _T

    def current(self) -> _T:
        return self.value


class RemoteKeySetPool:
    """The key sets behind the `jwks_uri` of registered clients: one for each URL, the most recently used ones kept."""

    def __init__(self, fetcher: DocumentFetcher, *, clock: Clock) -> None:
        self.fetcher = fetcher
        self._clock = clock
        self._sets: OrderedDict[str, RemoteKeySet] = OrderedDict()
        self.lookups = 0
        """Since the start."""

    def at(self, url: str) -> RemoteKeySet:
        """The key set of a registered URL."""
        self.lookups += 1
        key_set = self._sets.get(url)
        if key_set is None:
            key_set = self._sets[url] = RemoteKeySet(url, self.fetcher, clock=self._clock)
            if len(self._sets) > MAX_REMOTE_KEY_SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(url)
        return key_set


@dataclass(slots=True, kw_only=True)
class Foundation:
    """Storage, what is remembered of remote documents and revocation, and where events go."""

    storage: Storage
    contact: StorageContact
    stored_clients: StoredClients
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this server is about to end: it answers, and wants no more requests."""
    signing_keys: Current[SigningKeys]
    external_signers: ExternalSigners | None
    """Who holds signing keys that are not in the storage."""
    token_signer: TokenSigner
    opaque_tokens: OpaqueTokens
    status_indices: StatusIndices
    """Gives tokens their places in status lists, where they have any."""
    revocations: Revocations
    """Of tokens; `revocation` is that of certificates."""
    revocation: Revocation
    """What is known of revocation: each load of trust domains asks it again."""
    remote_key_sets: RemoteKeySetPool
    dpop_nonces: DPoPNonces
    decoys: Decoys = field(default_factory=Decoys)
    certificate_uses: CertificateUses
    audit: AuditTrail | None
    """What is recorded in the storage, unless that is switched off."""
    tracing: "Tracing | None"
    trust_domains: type[TrustDomains]
    """What loads trust domains."""
    metrics: Metrics
    limits: RequestLimits
    emit: EventSink
    clock: Clock
    reload_all: Current[ReloadAll | None] = field(default_factory=lambda: Current(None))
    """What reloads this server, from when it serves."""
    _revision: int = field(default=-1, init=False)

    async def refresh(self) -> bool:
        """Take over revocations, and forget clients and read signing keys if they have changed; say whether they have.

        Raises `StorageUnavailable`.
        """
        asked_at = self.contact.monotonic()
        try:
            await self.revocations.refresh()
            has_changed = await self._take_changes()
        except Exception as error:
            self.contact.missed(str(error) if isinstance(error, StorageUnavailable) else type(error).__name__)
            raise
        self.contact.heard(asked_at)
        return has_changed

    async def _take_changes(self) -> bool:
        found = await self.storage.changes(self._revision)
        if found.revision == self._revision:
            return False
        # Before the keys are read: one that cannot be read must not hide what else has changed.
        self.stored_clients.forget(found.clients)
        self.signing_keys.value = SigningKeys(await self.storage.signing_keys.all())
        self._revision = found.revision
        return True


def _audit_trail(settings: Settings, storage: Storage, clock: Clock) -> AuditTrail | None:
    wanted = settings.audit
    if not wanted.enabled:
        return None
    return AuditTrail(
        storage.audit,
        requests=wanted.requests,
        keep_seconds=wanted.keep_seconds,
        keep_records=wanted.keep_records,
        clock=clock,
    )


@contextlib.asynccontextmanager
async def open_foundation(settings: Settings, *, emit: EventSink, clock: Clock) -> AsyncIterator[Foundation]:
    """Open the storage of a configuration, and all that lasts. Raises `StorageError` or `SignerConfigurationError`."""
    encryption_key = read_encryption_key(settings.storage.encryption_key_file)
    async with contextlib.AsyncExitStack() as stack:
        database = settings.storage.database
        storage = open_storage(
            settings.storage.url,
            encryption_key=encryption_key,
            clock=clock,
            settings=database,
            seconds=max(database.lock_timeout, database.connect_timeout) + ANSWER_SECONDS,
        )
        stack.push_async_callback(storage.close)
        tracing = open_tracing(settings)
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
            trace_storage(storage)
        fetcher, lists = with_spans(tracing, DocumentFetcher(), get_json="fetch"), RevocationFetcher()
        stack.push_async_callback(fetcher.aclose)
        stack.push_async_callback(lists.aclose)
        metrics = Metrics()
        uses = CertificateUses(storage.seen_certificates, clock=clock, count_lost=metrics.count_lost_uses)
        audit = _audit_trail(settings, storage, clock)
        limits = RequestLimits(Penalties(storage.penalties, clock=clock), note=metrics.count_limited)
        signing_keys, external_signers = Current(SigningKeys()), open_external_signers(settings)
        revocations = Revocations(storage.revocations)
        yield Foundation(
            storage=storage,
            contact=StorageContact(),
            stored_clients=StoredClients(storage.clients.find),
            signing_keys=signing_keys,
            external_signers=external_signers,
            token_signer=with_spans(tracing, TokenSigner(signing_keys, external_signers), sign="signing"),
            opaque_tokens=OpaqueTokens(
                store=storage.opaque_tokens, new_token=partial(secrets.token_urlsafe, OPAQUE_TOKEN_BYTES)
            ),
            status_indices=StatusIndices(
                storage.status_blocks, broad_changes=lambda: revocations.broad_changes, clock=clock
            ),
            revocations=revocations,
            revocation=Revocation(
                base=settings.folder, folder=settings.storage.revocation_folder, fetcher=lists, clock=clock
            ),
            remote_key_sets=RemoteKeySetPool(fetcher, clock=clock),
            dpop_nonces=DPoPNonces(encryption_key.derive(b"mtls-as DPoP nonces")),
            certificate_uses=uses,
            audit=audit,
            tracing=tracing,
            trust_domains=TrustDomains if tracing is None else traced_trust_domains(),
            metrics=metrics,
            limits=limits,
            # Nobody can ask for metrics without an admin listener, so nothing is counted.
            emit=emit_to_all(
                *([tracing.note] if tracing else []),
                emit,
                limits,
                uses,
                *([audit] if audit else []),
                *([metrics] if settings.listeners.admin_bind else []),
            ),
            clock=clock,
        )
