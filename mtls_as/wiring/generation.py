"""One generation: all that is read from the configuration and the files it names, checked whole. It never changes."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from mtls_as.config import ConfigurationError, Problem, Settings
from mtls_as.http.admin import AdminEndpoints
from mtls_as.http.routes import Endpoints
from mtls_as.observability.expiries import Expiries
from mtls_as.observability.state_metrics import MAX_BUDGETS, ListEnd, ServerState
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.rfc.rfc7591_client_metadata import GENERAL_METHODS, SPIFFE_METHODS
from mtls_as.server.access_tokens import AccessTokenIssuer, new_token_id
from mtls_as.server.authorization_details import AuthorizationDetailsTypes, SchemaUnusable, read_schema
from mtls_as.server.claims import ClaimsHooks
from mtls_as.server.client_authentication.authenticator import ClientAuthenticator
from mtls_as.server.client_directory import ClientDirectory
from mtls_as.server.dpop_proofs import DPoPProofs
from mtls_as.server.endpoints.introspection import IntrospectionEndpoint
from mtls_as.server.endpoints.metadata import STATUS_PATH, MetadataEndpoint
from mtls_as.server.endpoints.registration import CertificateRegistrants, RegistrationEndpoint
from mtls_as.server.endpoints.revocation import RevocationEndpoint
from mtls_as.server.endpoints.signed_metadata import SignedMetadata
from mtls_as.server.endpoints.token import TokenEndpoint
from mtls_as.server.grants.client_credentials import ClientCredentialsGrant
from mtls_as.server.grants.grant import Grant
from mtls_as.server.grants.jwt_bearer import JwtBearerGrant
from mtls_as.server.grants.token_exchange import TokenExchangeGrant
from mtls_as.server.issued_tokens import ActiveTokens, TokenReader
from mtls_as.server.policy import Policy
from mtls_as.server.ports import StorageUnavailable
from mtls_as.server.presented_tokens import PresentedTokens
from mtls_as.server.readiness import ReadinessChecks
from mtls_as.server.software_statements import SoftwareStatements
from mtls_as.server.spiffe_federation import Federation
from mtls_as.server.status_indices import StatusPlaces
from mtls_as.server.status_lists import StatusLists
from mtls_as.server.trusted_issuers import TrustedIssuers
from mtls_as.tls import ServerCredentials
from mtls_as.tls.listeners import ASGIApplication
from mtls_as.wiring.administration import admin_api
from mtls_as.wiring.claims import claims_hooks
from mtls_as.wiring.foundation import Current, Foundation
from mtls_as.wiring.listeners import make_applications
from mtls_as.wiring.tracing import with_request_spans, with_spans


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The settings, what they led to, and the applications of the listeners on top of it."""

    number: int
    settings: Settings
    credentials: ServerCredentials
    trust: Current[TrustDomains]
    federation: Federation
    clients: ClientDirectory
    endpoints: Endpoints
    applications: Mapping[str, ASGIApplication]
    """By the name of the listener."""


async def build_generation(
    settings: Settings, foundation: Foundation, *, number: int, before: Generation | None = None
) -> Generation:
    """Build the next generation and check it: every file is read and every cross-check made.

    What blocks is done in a thread, so that a server that runs goes on. Of the generation `before` only SPIFFE bundles
    are taken over. Raises `ConfigurationError`, `TLSConfigurationError`, `TrustConfigurationError`, `StorageError` or
    `NoSigningKey`.
    """
    read = await asyncio.to_thread(_read, settings, foundation, number, before)
    for algorithm in settings.signing_algorithms:
        foundation.signing_keys.value.active(algorithm, foundation.clock())
    await _refuse_double_registrations(settings, foundation, before)
    return _assemble(settings, foundation, read, number)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read from files."""

    credentials: ServerCredentials
    trust: TrustDomains
    federation: Federation
    details_types: AuthorizationDetailsTypes
    claims_hooks: ClaimsHooks | None


def _read(settings: Settings, foundation: Foundation, number: int, before: Generation | None) -> _Read:
    credentials = ServerCredentials.load(settings.tls.certificate, settings.tls.private_key)
    trust = foundation.trust_domains.load(
        settings.trust_domains,
        base=settings.folder,
        generation=number,
        at=datetime.fromtimestamp(foundation.clock(), UTC),
        revocation=foundation.revocation,
    )
    if before is not None and before.settings.spiffe_domains == settings.spiffe_domains:
        federation = before.federation
    else:
        known = None if before is None else before.federation
        federation = Federation(settings.spiffe_domains, clock=foundation.clock, before=known)
    return _Read(
        credentials, trust, federation, _details_types(settings), claims_hooks(settings.claims_hook, path=settings.path)
    )


def _details_types(settings: Settings) -> AuthorizationDetailsTypes:
    schemas, problems = dict[str, object](), list[Problem]()
    for name, file in settings.authorization_details.items():
        try:
            schemas[name] = read_schema(file)
            AuthorizationDetailsTypes.of({name: schemas[name]})
        except SchemaUnusable as error:
            problems.append(Problem(f"authorization_details.{name}.schema", str(error)))
    if problems:
        raise ConfigurationError.of(settings.path, problems)
    return AuthorizationDetailsTypes.of(schemas)


async def _refuse_double_registrations(settings: Settings, foundation: Foundation, before: Generation | None) -> None:
    """While the storage does not answer, a reload may declare those clients that were declared before."""
    known = set() if before is None else {client.client_id for client in before.settings.clients}
    for client in settings.clients:
        try:
            stored = await foundation.storage.clients.find(client.client_id)
        except StorageUnavailable:
            if client.client_id in known:
                continue
            raise
        if stored is not None:
            message = f"{client.client_id} is declared here and stored in the database too; delete one of them"
            raise ConfigurationError.of(settings.path, [Problem("clients", message)])


def _assemble(settings: Settings, foundation: Foundation, read: _Read, number: int) -> Generation:
    declared = {client.client_id: client for client in settings.clients}
    clients = ClientDirectory(declared, foundation.stored_clients)
    trust = Current(read.trust)
    endpoints = _endpoints(settings, foundation, clients, trust, read)
    admin = _admin_endpoints(settings, foundation, clients, trust, read)
    return Generation(
        number=number,
        settings=settings,
        credentials=read.credentials,
        trust=trust,
        federation=read.federation,
        clients=clients,
        endpoints=endpoints,
        applications=with_request_spans(
            foundation.tracing, make_applications(settings, endpoints, admin, foundation.limits)
        ),
    )


def _endpoints(
    settings: Settings,
    foundation: Foundation,
    clients: ClientDirectory,
    trust: Current[TrustDomains],
    read: _Read,
) -> Endpoints:
    authenticator = ClientAuthenticator(
        issuer=settings.issuer,
        clients=clients,
        trust=trust,
        spiffe=read.federation,
        remote_key_sets=foundation.remote_key_sets,
        replays=foundation.storage.used_once,
        decoys=foundation.decoys,
        spend=foundation.limits.spend,
    )
    authenticator = with_spans(foundation.tracing, authenticator, authenticate="client authentication")
    tokens = _active_tokens(settings, foundation, clients)
    introspection = _introspection(settings, foundation, authenticator, tokens)
    grants = _grants(settings, foundation, tokens, read.details_types)
    lists = _status_lists(settings, foundation)
    token = TokenEndpoint(
        authenticator=authenticator,
        grants=grants,
        claims_hooks=read.claims_hooks,
        proofs=DPoPProofs(
            url=f"{settings.listeners.mtls.url}/token",
            replays=foundation.storage.used_once,
            nonces=foundation.dpop_nonces if settings.dpop.nonces else None,
        ),
        contact=foundation.contact,
        issuer=AccessTokenIssuer(
            issuer=settings.issuer,
            algorithm=settings.tokens.algorithm,
            signer=foundation.token_signer,
            opaque_tokens=foundation.opaque_tokens,
            new_token_id=new_token_id,
            status=None if lists is None else StatusPlaces(indices=foundation.status_indices, url=lists.url),
            format=settings.tokens.format,
            resource_algorithms={r.identifier: r.algorithm for r in settings.resources if r.algorithm is not None},
            resource_formats={r.identifier: r.token_format for r in settings.resources if r.token_format is not None},
        ),
    )
    public = settings.listeners.public
    metadata = MetadataEndpoint.of(
        issuer=settings.issuer,
        mtls_url=settings.listeners.mtls.url,
        public_url=public.url if public else None,
        grant_types=tuple(grants),
        scopes=tuple(dict.fromkeys(scope for resource in settings.resources for scope in resource.scopes)),
        # The methods that a client of this server can have: those of SPIFFE only where there is a SPIFFE trust domain.
        authentication_methods=(*GENERAL_METHODS, *(SPIFFE_METHODS if settings.spiffe_domains else ())),
        introspection_algorithms=(settings.tokens.algorithm,) if introspection else (),
        authorization_details_types=read.details_types.names,
        has_registration=settings.registration is not None,
        has_status_lists=lists is not None,
    )
    return Endpoints(
        token=token,
        introspection=introspection,
        revocation=RevocationEndpoint(
            authenticator=authenticator, reader=tokens.reader, revocations=foundation.revocations
        ),
        registration=_registration(settings, foundation, clients, trust, authenticator),
        metadata=metadata,
        signed_metadata=SignedMetadata(
            metadata.document, signer=foundation.token_signer, algorithm=settings.tokens.algorithm
        ),
        signing_keys=foundation.signing_keys,
        status_lists=lists,
        clock=foundation.clock,
        emit=foundation.emit,
    )


def _status_lists(settings: Settings, foundation: Foundation) -> StatusLists | None:
    if settings.tokens.status_list_ttl is None:
        return None
    documents = settings.listeners.public or settings.listeners.mtls
    return StatusLists(
        issuer=settings.issuer,
        url=documents.url + STATUS_PATH,
        ttl=settings.tokens.status_list_ttl,
        store=foundation.storage.status_blocks,
        revocations=foundation.revocations,
        signer=foundation.token_signer,
        algorithm=settings.tokens.algorithm,
        clock=foundation.clock,
    )


def _registration(
    settings: Settings,
    foundation: Foundation,
    clients: ClientDirectory,
    trust: Current[TrustDomains],
    authenticator: ClientAuthenticator,
) -> RegistrationEndpoint | None:
    registration = settings.registration
    if registration is None:
        return None
    certificates = None
    if registration.trust is not None and registration.policy is not None:
        certificates = CertificateRegistrants(trust=registration.trust, policy=registration.policy)
    return RegistrationEndpoint(
        url=f"{settings.listeners.mtls.url}/register",
        store=foundation.storage.registrations,
        certificates=certificates,
        statements=SoftwareStatements(
            issuers=registration.statement_issuers,
            audience=settings.issuer,
            remote_key_sets=foundation.remote_key_sets,
        ),
        authenticator=authenticator,
        trust=trust,
        revocations=foundation.revocations,
        find_problems=settings.find_client_problems,
        new_client_id=partial(secrets.token_urlsafe, 16),
        forget=clients.forget,
    )


def _grants(
    settings: Settings, foundation: Foundation, active: ActiveTokens, details_types: AuthorizationDetailsTypes
) -> dict[str, Grant]:
    """The grants by their types; assertions only where somebody may make them."""
    policy = Policy.of(settings.resources, lifetime=settings.tokens.lifetime, details_types=details_types)
    trusted = TrustedIssuers.of(settings.issuers, remote_key_sets=foundation.remote_key_sets)
    tokens = PresentedTokens(issuer=settings.issuer, active=active, trusted=trusted)
    opaque = [r.identifier for r in settings.resources if (r.token_format or settings.tokens.format) == "opaque"]
    grants: list[Grant] = [
        ClientCredentialsGrant(policy=policy),
        TokenExchangeGrant(issuer=settings.issuer, policy=policy, tokens=tokens, opaque_resources=frozenset(opaque)),
    ]
    if settings.issuers:
        replays = foundation.storage.used_once
        grants.append(JwtBearerGrant(issuer=settings.issuer, policy=policy, tokens=tokens, replays=replays))
    return {grant.grant_type: grant for grant in grants}


def _introspection(
    settings: Settings, foundation: Foundation, authenticator: ClientAuthenticator, tokens: ActiveTokens
) -> IntrospectionEndpoint | None:
    """The endpoint, if any resource names a client that may use it."""
    audiences: dict[str, frozenset[str]] = {}
    for resource in settings.resources:
        for client_id in resource.introspection_clients:
            audiences[client_id] = audiences.get(client_id, frozenset()) | {resource.identifier}
    if not audiences:
        return None
    return IntrospectionEndpoint(
        issuer=settings.issuer,
        authenticator=authenticator,
        tokens=tokens,
        audiences=audiences,
        signer=foundation.token_signer,
        algorithm=settings.tokens.algorithm,
    )


def _admin_endpoints(
    settings: Settings,
    foundation: Foundation,
    clients: ClientDirectory,
    trust: Current[TrustDomains],
    read: _Read,
) -> AdminEndpoints:
    storage, metrics, clock = foundation.storage, foundation.metrics, foundation.clock
    checks = ReadinessChecks(
        storage_revision=storage.revision,
        signing_keys=foundation.signing_keys,
        algorithm=settings.tokens.algorithm,
        trust=trust,
        clock=clock,
        contact=foundation.contact,
        stopping=foundation.stopping.is_set,
    )
    expiries = Expiries(
        server=lambda: read.credentials.certificates,
        trust=trust,
        spiffe=read.federation,
        declared=settings.clients,
        clients=clients,
        seen=storage.seen_certificates.soonest_by_client,
        registered=storage.clients.with_certificates,
        clock=clock,
    )

    async def exposition() -> tuple[str, bytes]:
        state = ServerState(
            at=clock(),
            signing_keys=foundation.signing_keys.value,
            expiries=await expiries.current(),
            clients_left_out=expiries.clients_left_out,
            lists=[
                ListEnd(trust=status.domain, source=status.source, next_update=status.next_update.timestamp())
                for status in foundation.revocation.statuses()
                if status.is_proven and not status.is_delta
            ],
            storage_silence=foundation.contact.silence,
            budgets=foundation.limits.budgets(MAX_BUDGETS),
            penalties=len(foundation.limits.penalties),
            failing_sources=[(domain, source) for domain, source, _ in foundation.revocation.problems()],
        )
        return metrics.exposition(state)

    return AdminEndpoints(
        readiness=checks.run,
        metrics=exposition,
        api=admin_api(
            settings,
            foundation,
            clients=clients,
            credentials=read.credentials,
            trust=trust,
            tokens=_active_tokens(settings, foundation, clients),
        ),
    )


def _active_tokens(settings: Settings, foundation: Foundation, clients: ClientDirectory) -> ActiveTokens:
    reader = TokenReader(
        issuer=settings.issuer,
        signing_keys=foundation.signing_keys,
        opaque_tokens=foundation.storage.opaque_tokens,
    )
    return ActiveTokens(reader=reader, revocations=foundation.revocations, clients=clients)
