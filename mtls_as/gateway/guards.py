"""The verifier of each resource of the configuration, with every file that it needs read and checked."""

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mtls_as.config.problems import ConfigurationError, Problem
from mtls_as.forwarded import PinnedHop, SocketHop
from mtls_as.gateway.document import IntrospectionTable, ResourceTable
from mtls_as.gateway.settings import GatewaySettings
from mtls_as.rfc.rfc7517_jwk import JWKSet, parse_jwks
from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadata
from mtls_as.verifier import (
    AccessTokenVerifier,
    ForwardedCertificate,
    Introspection,
    ProofMemory,
    ResourceGuard,
    TLSExtension,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What decides about tokens, by their audience."""

    guards: Mapping[str, ResourceGuard]
    verifiers: tuple[AccessTokenVerifier, ...]
    introspection: Introspection | None
    proofs: Mapping[str, ProofMemory] = field(default_factory=dict, repr=False)
    """The DPoP proofs that were used, by audience."""

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        if self.introspection is not None:
            await self.introspection.aclose()


def make_guards(
    settings: GatewaySettings, *, before: Guards | None = None, clock: Callable[[], float] = time.time
) -> Guards:
    """The guards of a configuration. Raises `ConfigurationError` for files and values that cannot work.

    Those of `before` hand on which DPoP proofs were used: a reload makes none good again.
    """
    issuer, tokens = settings.issuer, settings.tokens
    with _problems_at(settings.path, "issuer.ca"):
        context = _trusting_context(settings.folder, issuer.ca)
    keys = None
    if issuer.jwks is not None:
        with _problems_at(settings.path, "issuer.jwks"):
            keys = _read_keys(settings.folder / issuer.jwks)
    introspection = None
    if settings.introspection is not None:
        introspection = _introspection(settings, settings.introspection)
    verifiers, guards = [], {}
    proofs = {} if before is None else dict(before.proofs)
    for index, resource in enumerate(settings.resources):
        with _problems_at(settings.path, f"resources[{index}]"):
            verifier = AccessTokenVerifier(
                issuer=issuer.url,
                audience=resource.audience,
                jwks_uri=issuer.jwks_uri,
                jwks=keys,
                algorithms=issuer.algorithms,
                leeway=tokens.leeway,
                require_binding=tokens.require_binding,
                dpop=None
                if resource.dpop_url is None
                else proofs.setdefault(resource.audience, ProofMemory(clock=clock)),
                introspection=introspection,
                check_status=tokens.check_status,
                status_list_origins=tokens.status_list_origins,
                status_list_tolerance=tokens.status_list_tolerance,
                cache_tokens=tokens.cache,
                ssl_context=context,
                clock=clock,
            )
            guards[resource.audience] = ResourceGuard(
                verifier,
                certificates=_certificates(settings),
                authorization_details=resource.authorization_details,
                actors=resource.actors,
                dpop_url=resource.dpop_url,
                metadata=_metadata(settings, resource),
            )
            verifiers.append(verifier)
    return Guards(guards=guards, verifiers=tuple(verifiers), introspection=introspection, proofs=proofs)


def _certificates(settings: GatewaySettings) -> ForwardedCertificate:
    """Where the client's certificate is: in the proxy's header, over the proxy's own hop."""
    hop, proven = settings.hop, settings.listener.proxy.hop
    return ForwardedCertificate(
        preset=hop.preset or settings.listener.proxy.preset,
        unix_socket=isinstance(proven, SocketHop),
        proxy_addresses=hop.proxy_addresses or (),
        proxy_certificates=hop.proxy_certificates or (),
        handshake=TLSExtension() if isinstance(proven, PinnedHop) else None,
        header=hop.header,
    )


def _metadata(settings: GatewaySettings, resource: ResourceTable) -> ResourceMetadata | None:
    if not resource.metadata:
        return None
    routes = (route for route in settings.routes if route.audience == resource.audience)
    return ResourceMetadata(
        resource=resource.audience,
        authorization_servers=(settings.issuer.url,),
        scopes_supported=tuple(dict.fromkeys(scope for route in routes for scope in route.scopes)),
        tls_client_certificate_bound_access_tokens=settings.tokens.require_binding,
        authorization_details_types_supported=tuple(resource.authorization_details),
    )


def _introspection(settings: GatewaySettings, table: IntrospectionTable) -> Introspection:
    with _problems_at(settings.path, "introspection.certificate"):
        context = _trusting_context(settings.folder, settings.issuer.ca)
        context.load_cert_chain(settings.folder / table.certificate, settings.folder / table.private_key)
    return Introspection(
        client_id=table.client_id,
        ssl_context=context,
        endpoint=table.endpoint,
        jwts=table.jwts,
        signed=table.signed,
        max_age=table.max_age,
    )


def _trusting_context(folder: Path, ca: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if ca is None else folder / ca)


def _read_keys(path: Path) -> JWKSet:
    return parse_jwks(json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def _problems_at(path: Path, place: str) -> Iterator[None]:
    """What goes wrong with a value, or with the file that it names, as a problem of the configuration."""
    try:
        yield
    except ssl.SSLError as error:
        message = f"cannot be used by OpenSSL: {error.reason or error}"
    except OSError as error:
        message = f"names a file that cannot be read: {error.strerror or error}"
    except ValueError as error:
        message = str(error)
    else:
        return
    raise ConfigurationError.of(path, [Problem(place, message)])
