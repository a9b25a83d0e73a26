"""The administration put together: for the server, on what it has in memory, and for commands, on the database."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mtls_as.config import Settings
from mtls_as.http.admin_api.answers import AdminAPI
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.rfc.rfc5280_certificate import Certificate, parse_pem_certificates
from mtls_as.rfc.rfc6749_framework import parse_form
from mtls_as.server.client_directory import ClientDirectory
from mtls_as.server.clients import Client
from mtls_as.server.endpoints.admin.audit import AuditAdministration
from mtls_as.server.endpoints.admin.call import ON_THE_MACHINE, AdminCall, AdminResult, Handlers
from mtls_as.server.endpoints.admin.clients import ClientAdministration
from mtls_as.server.endpoints.admin.guard import AdminGuard
from mtls_as.server.endpoints.admin.inventory import InventoryAdministration
from mtls_as.server.endpoints.admin.keys import KeyAdministration
from mtls_as.server.endpoints.admin.registration_tokens import RegistrationTokenAdministration
from mtls_as.server.endpoints.admin.reload import ReloadAdministration
from mtls_as.server.endpoints.admin.revocations import RevocationAdministration
from mtls_as.server.endpoints.admin.routes import REVOKE_TOKENS, AdminRoute
from mtls_as.server.endpoints.admin.trust import TrustAdministration
from mtls_as.server.events import RequestEvent
from mtls_as.server.issued_tokens import ActiveTokens, TokenReader
from mtls_as.server.revocation import Revocation
from mtls_as.server.signing_keys import KeyPair, SigningKeys
from mtls_as.storage import Storage
from mtls_as.tls import ServerCredentials
from mtls_as.wiring.external_signers import open_external_signers
from mtls_as.wiring.foundation import Current, Foundation
from mtls_as.wiring.signing_keys import key_maker, key_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """What differs between a server and a command."""

    reader: TokenReader
    revoke: Callable[[Revocation], Awaitable[None]]
    find_client: Callable[[str], Awaitable[Client | None]]
    forget: Callable[[Iterable[str]], None]
    make_key: Callable[[str], KeyPair]
    certificates: Callable[[], Sequence[Certificate]]
    anchors: Callable[[], Mapping[str, Sequence[Certificate]]]


def admin_api(
    settings: Settings,
    foundation: Foundation,
    *,
    clients: ClientDirectory,
    credentials: ServerCredentials,
    trust: Current[TrustDomains],
    tokens: ActiveTokens,
) -> AdminAPI | None:
    """The administration over HTTP, if there is a resource for it."""
    audience = settings.listeners.admin_resource
    if audience is None:
        return None
    surroundings = _Surroundings(
        reader=tokens.reader,
        revoke=foundation.revocations.revoke,
        find_client=clients.find,
        forget=clients.forget,
        make_key=key_maker(foundation.external_signers),
        certificates=lambda: credentials.certificates,
        anchors=lambda: trust.value.anchors,
    )
    known = TrustAdministration(
        settings=settings.trust_domains,
        trust=trust,
        lists=foundation.revocation.statuses,
        problems=foundation.revocation.problems,
    )
    reload = ReloadAdministration(reload_all=foundation.reload_all.current)
    return AdminAPI(
        guard=AdminGuard(audience=audience, tokens=tokens, trust=trust),
        handlers={**_handlers(settings, foundation.storage, surroundings), **known.handlers(), **reload.handlers()},
        clock=foundation.clock,
        emit=foundation.emit,
    )


async def perform(settings: Settings, storage: Storage, route: AdminRoute, call: AdminCall) -> AdminResult:
    """Do one operation on the database, for somebody on the server's machine; running servers notice by themselves.

    Raises `OAuthError` and `StorageError`. What only a running server can do is not there: `KeyError`.
    """

    async def find_client(client_id: str) -> Client | None:
        declared = next((client for client in settings.clients if client.client_id == client_id), None)
        return declared or await storage.clients.find(client_id)

    def make_key(algorithm: str) -> KeyPair:
        return key_maker(open_external_signers(settings))(algorithm)

    # Nothing else reads tokens, and a command is not to fail for keys that it does not need.
    keys = Current(SigningKeys(await storage.signing_keys.all() if route == REVOKE_TOKENS else ()))
    surroundings = _Surroundings(
        reader=TokenReader(issuer=settings.issuer, signing_keys=keys, opaque_tokens=storage.opaque_tokens),
        revoke=storage.revocations.add,
        find_client=find_client,
        forget=lambda _client_ids: None,
        make_key=make_key,
        certificates=lambda: parse_pem_certificates(settings.tls.certificate.read_bytes()),
        anchors=lambda: TrustDomains.load(settings.trust_domains, base=settings.folder).anchors,
    )
    return await _handlers(settings, storage, surroundings)[route](call, RequestEvent(endpoint="command"))


def call_on_the_machine(
    *, parameters: Mapping[str, str], query: bytes = b"", body: bytes = b"", at: float | None = None
) -> AdminCall:
    """A call of whoever has the database."""
    return AdminCall(
        caller=ON_THE_MACHINE,
        parameters=parameters,
        query=parse_form(query),
        body=body,
        at=time.time() if at is None else at,
    )


def _handlers(settings: Settings, storage: Storage, surroundings: _Surroundings) -> Handlers:
    """What can be done both by a server and by a command."""
    administrations = (
        ClientAdministration(
            store=storage.clients,
            declared={client.client_id: client for client in settings.clients},
            find_problems=settings.find_client_problems,
            forget=surroundings.forget,
        ),
        RegistrationTokenAdministration(
            store=storage.registrations,
            is_open=settings.registration is not None,
            scopes=[scope for resource in settings.resources for scope in resource.scopes],
            domains=[domain.name for domain in settings.trust_domains],
        ),
        KeyAdministration(
            store=storage.signing_keys,
            plan=key_plan(settings),
            default_algorithm=settings.tokens.algorithm,
            make=surroundings.make_key,
        ),
        InventoryAdministration(
            server=surroundings.certificates,
            anchors=surroundings.anchors,
            declared=settings.clients,
            clients=storage.clients,
            seen=storage.seen_certificates,
        ),
        RevocationAdministration(
            revoke_for_all=surroundings.revoke, reader=surroundings.reader, find_client=surroundings.find_client
        ),
        AuditAdministration(trail=storage.audit),
    )
    return {route: handler for each in administrations for route, handler in each.handlers().items()}
