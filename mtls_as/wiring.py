"""The composition root: the only module that names every concrete class.

`load` builds everything that a node needs from its configuration, and checks it whole, before any socket is bound.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from socket import socket
from typing import Final, Generic, TypeVar

from mtls_as.config import ConfigurationError, Problem, Settings, load_settings
from mtls_as.http.admin import AdminEndpoints, admin_routes
from mtls_as.http.app import create_app
from mtls_as.http.routes import Endpoints, Route, mtls_routes, public_routes
from mtls_as.observability.certificate_uses import CertificateUses
from mtls_as.observability.event_log import EventLog
from mtls_as.observability.expiries import Expiries
from mtls_as.observability.metrics import Metrics, shared_by_workers
from mtls_as.observability.state_metrics import ServerState
from mtls_as.pki.revocation import Revocation
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.remote.documents import DocumentFetcher
from mtls_as.remote.key_sets import RemoteKeySet
from mtls_as.rfc.rfc7591_client_metadata import AUTHENTICATION_METHODS, CERTIFICATE_METHODS
from mtls_as.server.access_tokens import AccessTokenIssuer
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.client_directory import ClientDirectory
from mtls_as.server.endpoints.metadata import MetadataEndpoint
from mtls_as.server.endpoints.token import TokenEndpoint
from mtls_as.server.events import EventSink, RequestEvent, emit_to_all
from mtls_as.server.grants.client_credentials import ClientCredentialsGrant
from mtls_as.server.policy import Policy
from mtls_as.server.ports import Clock, StorageUnavailable
from mtls_as.server.readiness import ReadinessChecks
from mtls_as.server.revocation_fetcher import RevocationFetcher
from mtls_as.server.signing_keys import SigningKeys
from mtls_as.server.spiffe_federation import Federation
from mtls_as.storage import Storage, open_storage, read_encryption_key
from mtls_as.tls import Listener, ServerCredentials, bind_listeners, serve_listeners, settle_memory
from mtls_as.tls.listeners import ASGIApplication

CHANGE_POLL_SECONDS: Final = 1.0
MAX_REMOTE_KEY_SETS: Final = 1_000

_diagnostics = logging.getLogger(__name__)
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
        self._fetcher = fetcher
        self._clock = clock
        self._sets: OrderedDict[str, RemoteKeySet] = OrderedDict()

    def at(self, url: str) -> RemoteKeySet:
        """The key set of a registered URL."""
        key_set = self._sets.get(url)
        if key_set is None:
            key_set = self._sets[url] = RemoteKeySet(url, self._fetcher, clock=self._clock)
            if len(self._sets) > MAX_REMOTE_KEY_SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(url)
        return key_set


@dataclass(slots=True, kw_only=True)
class Node:
    """One running authorization server: what it stands on, and the applications of its listeners."""

    settings: Settings
    storage: Storage
    signing_keys: Current[SigningKeys]
    trust: Current[TrustDomains]
    revocation: Revocation
    """What is known of revocation: each load of trust domains asks it again."""
    federation: Federation
    clients: ClientDirectory
    endpoints: Endpoints
    credentials: ServerCredentials
    certificate_uses: CertificateUses
    metrics: Metrics
    clock: Clock
    _revision: int = field(default=-1, init=False)

    def listeners(self) -> list[Listener]:
        """The listeners of the configuration, each with its application."""
        mtls, public = self.settings.listeners.mtls, self.settings.listeners.public
        app = self._app(mtls_routes(self.endpoints))
        listeners = [Listener(name="mtls", bind=mtls.bind, app=app, request_certificate=True)]
        if public is not None:
            app = self._app(public_routes(self.endpoints))
            listeners.append(Listener(name="public", bind=public.bind, app=app, request_certificate=False))
        if self.settings.listeners.admin_bind is not None:
            app = create_app(admin_routes(self._admin_endpoints()), emit=self.endpoints.emit, fast_lane=False)
            bind = self.settings.listeners.admin_bind
            listeners.append(Listener(name="admin", bind=bind, app=app, request_certificate=False))
        return listeners

    def _app(self, routes: tuple[Route, ...]) -> ASGIApplication:
        return create_app(routes, emit=self.endpoints.emit, fast_lane=self.settings.server.fast_lane)

    def _admin_endpoints(self) -> AdminEndpoints:
        checks = ReadinessChecks(
            storage_revision=self.storage.revision,
            signing_keys=self.signing_keys,
            algorithm=self.settings.tokens.algorithm,
            trust=self.trust,
            clock=self.clock,
        )
        expiries = Expiries(
            server=lambda: self.credentials.certificates,
            trust=self.trust,
            declared=self.settings.clients,
            clients=self.clients,
            seen=self.storage.seen_certificates.soonest_by_client,
            registered=self.storage.clients.with_certificates,
            clock=self.clock,
        )
        return AdminEndpoints(readiness=checks.run, metrics=partial(self._exposition, expiries))

    async def _exposition(self, expiries: Expiries) -> tuple[str, bytes]:
        self.metrics.set_trust_generation(self.trust.value.generation)
        state = ServerState(
            at=self.clock(),
            signing_keys=self.signing_keys.value,
            expiries=await expiries.current(),
            clients_left_out=expiries.clients_left_out,
        )
        return self.metrics.exposition(state)

    def reload_credentials(self) -> ServerCredentials:
        """The server's certificate and key as they stand in their files now. Raises `TLSConfigurationError`."""
        succeeded = False
        try:
            self.credentials = load_credentials(self.settings)
            succeeded = True
        finally:
            self.metrics.count_reload("server_certificate", succeeded=succeeded)
        return self.credentials

    def handshake_failed(self, reason: str, peer: str) -> None:
        """Count and log a failed handshake."""
        self.metrics.count_handshake_failure(reason)
        _diagnostics.info("handshake with %s failed: %s", peer, reason)

    async def follow_changes(self) -> None:
        """Take over what other processes write to the storage, until cancelled."""
        while True:
            await asyncio.sleep(CHANGE_POLL_SECONDS)
            try:
                await self.refresh()
            except StorageUnavailable as error:
                _diagnostics.warning("the storage does not answer, the last known state stays in force: %s", error)

    async def refresh(self) -> None:
        """Read keys and forget cached clients if the storage has changed. Raises `StorageUnavailable`."""
        revision = await self.storage.revision()
        if revision != self._revision:
            self.signing_keys.value = SigningKeys(await self.storage.signing_keys.all())
            self.clients.forget()
            self._revision = revision


@contextlib.asynccontextmanager
async def open_node(settings: Settings, *, emit: EventSink, clock: Clock = time.time) -> AsyncIterator[Node]:
    """Build a node: every file is read and every cross-check made.

    Raises `ConfigurationError`, `TLSConfigurationError`, `TrustConfigurationError`, `StorageError` or `NoSigningKey`.
    """
    credentials = load_credentials(settings)
    lists = RevocationFetcher()
    revocation = Revocation(base=settings.folder, folder=settings.storage.revocation_folder, fetcher=lists, clock=clock)
    trust = Current(TrustDomains.load(settings.trust_domains, base=settings.folder, revocation=revocation))
    federation = Federation(settings.spiffe_domains, clock=clock)
    encryption_key = read_encryption_key(settings.storage.encryption_key_file)
    storage = open_storage(settings.storage.url, encryption_key=encryption_key, clock=clock)
    fetcher = DocumentFetcher()
    try:
        clients = ClientDirectory({client.client_id: client for client in settings.clients}, storage.clients.find)
        signing_keys = Current(SigningKeys(()))
        metrics = Metrics()
        uses = CertificateUses(storage.seen_certificates, clock=clock, count_lost=metrics.count_lost_uses)
        emit = emit_to_all(emit, uses, metrics)
        endpoints = _endpoints(settings, clients, trust, federation, signing_keys, fetcher, emit=emit, clock=clock)
        node = Node(
            settings=settings,
            storage=storage,
            signing_keys=signing_keys,
            trust=trust,
            revocation=revocation,
            federation=federation,
            clients=clients,
            endpoints=endpoints,
            credentials=credentials,
            certificate_uses=uses,
            metrics=metrics,
            clock=clock,
        )
        await node.refresh()
        signing_keys.value.active(settings.tokens.algorithm, clock())
        await _refuse_double_registrations(settings, storage)
        async with uses.storing(), revocation.following():
            yield node
    finally:
        await lists.aclose()
        await fetcher.aclose()
        await storage.close()


def _endpoints(
    settings: Settings,
    clients: ClientDirectory,
    trust: Current[TrustDomains],
    federation: Federation,
    signing_keys: Current[SigningKeys],
    fetcher: DocumentFetcher,
    *,
    emit: EventSink,
    clock: Clock,
) -> Endpoints:
    grants = [ClientCredentialsGrant(policy=Policy.of(settings.resources, lifetime=settings.tokens.lifetime))]
    token = TokenEndpoint(
        authenticator=ClientAuthenticator(
            issuer=settings.issuer,
            clients=clients,
            trust=trust,
            spiffe=federation,
            remote_key_sets=RemoteKeySetPool(fetcher, clock=clock),
        ),
        grants={grant.grant_type: grant for grant in grants},
        issuer=AccessTokenIssuer(
            issuer=settings.issuer,
            algorithm=settings.tokens.algorithm,
            signing_keys=signing_keys,
            new_token_id=partial(secrets.token_urlsafe, 16),
        ),
    )
    public = settings.listeners.public
    metadata = MetadataEndpoint.of(
        issuer=settings.issuer,
        mtls_url=settings.listeners.mtls.url,
        public_url=public.url if public else None,
        grant_types=tuple(grant.grant_type for grant in grants),
        scopes=tuple(dict.fromkeys(scope for resource in settings.resources for scope in resource.scopes)),
        authentication_methods=_authentication_methods(settings),
    )
    return Endpoints(token=token, metadata=metadata, signing_keys=signing_keys, clock=clock, emit=emit)


def _authentication_methods(settings: Settings) -> tuple[str, ...]:
    """The methods that a client of this server can have: those of SPIFFE only where there is a SPIFFE trust domain."""
    return AUTHENTICATION_METHODS if settings.spiffe_domains else CERTIFICATE_METHODS


async def _refuse_double_registrations(settings: Settings, storage: Storage) -> None:
    for client in settings.clients:
        if await storage.clients.find(client.client_id) is not None:
            message = f"{client.client_id} is declared here and stored in the database too; delete one of them"
            raise ConfigurationError.of(settings.path, [Problem("clients", message)])


def load_credentials(settings: Settings) -> ServerCredentials:
    """The server's certificate and key as they stand in their files now. Raises `TLSConfigurationError`."""
    return ServerCredentials.load(settings.tls.certificate, settings.tls.private_key)


async def check(settings: Settings) -> list[Listener]:
    """Build a node once and drop it. Returns the listeners it would serve; raises what `open_node` raises."""
    async with open_node(settings, emit=_emit_nothing) as node:
        return node.listeners()


def _emit_nothing(_event: RequestEvent) -> None:
    pass


def serve(path: Path) -> None:
    """Serve the configuration file `path` until SIGTERM or SIGINT: check all, bind all, and only then start."""
    from mtls_as.tls.workers import run_workers

    settings = load_settings(path)
    sockets = bind_listeners(asyncio.run(check(settings)))
    has_metrics = settings.listeners.admin_bind is not None
    with shared_by_workers() if has_metrics and settings.server.workers > 1 else contextlib.nullcontext():
        run_workers(settings.server.workers, sockets, partial(_work, path))


def _work(path: Path, sockets: list[socket]) -> None:
    asyncio.run(_serve_node(load_settings(path), sockets))


async def _serve_node(settings: Settings, sockets: list[socket]) -> None:
    loop, shutdown = asyncio.get_running_loop(), asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, shutdown.set)
    emit = EventLog(sys.stdout, clock=time.time)
    async with open_node(settings, emit=emit) as node:
        following = [asyncio.create_task(node.follow_changes()), asyncio.create_task(node.federation.follow())]
        try:
            await serve_listeners(
                node.listeners(),
                sockets,
                node.credentials,
                timeouts=settings.timeouts,
                shutdown=shutdown,
                reload=node.reload_credentials,
                on_handshake_failure=node.handshake_failed,
                started=settle_memory,
            )
        finally:
            for task in following:
                task.cancel()
