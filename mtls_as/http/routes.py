"""Which path is answered by what: the table that the Quart applications and the fast lane both read."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from mtls_as.http.answers import Answer, json_answer
from mtls_as.http.certificate import CertificateSource
from mtls_as.http.introspection import answer_introspection_request
from mtls_as.http.openapi import describe
from mtls_as.http.operation import Operation
from mtls_as.http.operations import (
    INTROSPECT,
    JWKS,
    METADATA,
    OPENAPI,
    REGISTRATION_OPERATIONS,
    REVOKE,
    STATUS_LIST,
    STATUS_LISTS,
    TOKEN,
)
from mtls_as.http.registration import answer_registration_request
from mtls_as.http.revocation import answer_revocation_request
from mtls_as.http.status_lists import answer_aggregation_request, answer_status_list_request
from mtls_as.http.token import answer_token_request
from mtls_as.rfc.rfc8414_metadata import metadata_url
from mtls_as.server.endpoints.introspection import IntrospectionEndpoint
from mtls_as.server.endpoints.metadata import MetadataEndpoint
from mtls_as.server.endpoints.registration import RegistrationEndpoint
from mtls_as.server.endpoints.revocation import RevocationEndpoint
from mtls_as.server.endpoints.signed_metadata import SignedMetadata
from mtls_as.server.endpoints.token import TokenEndpoint
from mtls_as.server.events import EventSink
from mtls_as.server.ports import Clock, SigningKeySource
from mtls_as.server.status_lists import StatusLists

DOCUMENT_MAX_AGE_SECONDS: Final = 300
_CACHING: Final = {"Cache-Control": f"public, max-age={DOCUMENT_MAX_AGE_SECONDS}"}

ReadBody = Callable[[], Awaitable[bytes]]
"""Reads the body of a request, bounded in size and time."""
HTTPEndpoint = Callable[[Mapping[str, Any], ReadBody], Coroutine[Any, Any, Answer]]
"""Answers a request from its ASGI scope and a way to read its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation at its full path. A `hot` one is worth the fast lane."""

    operation: Operation
    path: str
    endpoint: HTTPEndpoint
    hot: bool = False

    @property
    def method(self) -> str:
        return self.operation.method


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What the routes call."""

    token: TokenEndpoint
    introspection: IntrospectionEndpoint | None
    """None where no client may introspect anything."""
    revocation: RevocationEndpoint
    registration: RegistrationEndpoint | None
    """None where clients cannot register themselves."""
    metadata: MetadataEndpoint
    signed_metadata: SignedMetadata
    signing_keys: SigningKeySource
    status_lists: StatusLists | None
    """None where tokens name none."""
    clock: Clock
    emit: EventSink


def mtls_routes(endpoints: Endpoints, certificate: CertificateSource) -> tuple[Route, ...]:
    """The routes of a listener whose requests have a certificate, each in its own way."""
    prefix = _path(endpoints.metadata.mtls_url)

    def route(
        operation: Operation, answer: Callable[..., Coroutine[Any, Any, Answer]], endpoint: object, *, hot: bool = False
    ) -> Route:
        answered = partial(
            answer, endpoint=endpoint, certificate=certificate, clock=endpoints.clock, emit=endpoints.emit
        )
        return Route(operation=operation, path=prefix + operation.path, endpoint=answered, hot=hot)

    routes = [
        route(TOKEN, answer_token_request, endpoints.token, hot=True),
        route(REVOKE, answer_revocation_request, endpoints.revocation),
    ]
    if endpoints.introspection is not None:
        routes.append(route(INTROSPECT, answer_introspection_request, endpoints.introspection, hot=True))
    if endpoints.registration is not None:
        registration = endpoints.registration
        routes += [route(each, answer_registration_request, registration) for each in REGISTRATION_OPERATIONS]
    routes += _document_routes(endpoints, prefix)
    return with_description(routes, title="The authorization server", url=endpoints.metadata.mtls_url)


def public_routes(endpoints: Endpoints) -> tuple[Route, ...]:
    """The routes of the listener that never asks for a certificate: the documents that anybody may read."""
    url = endpoints.metadata.public_url or endpoints.metadata.mtls_url
    return with_description(_document_routes(endpoints, _path(url)), title="The documents of the server", url=url)


def with_description(routes: Iterable[Route], *, title: str, url: str) -> tuple[Route, ...]:
    """These routes of the listener at `url`, and one more, which describes them all."""
    path = _path(url) + OPENAPI.path
    routes = tuple(routes)
    operations = [*((route.path, route.operation) for route in routes), (path, OPENAPI)]
    answer = json_answer(describe(operations, title=title, url=url.removesuffix(urlsplit(url).path)), headers=_CACHING)

    async def description(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        return answer

    return (*routes, Route(operation=OPENAPI, path=path, endpoint=description))


def _document_routes(endpoints: Endpoints, prefix: str) -> tuple[Route, ...]:
    async def metadata(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        return json_answer(await endpoints.signed_metadata.current(endpoints.clock()), headers=_CACHING)

    async def jwks(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        document = endpoints.signing_keys.current().published(endpoints.clock())
        return json_answer(document, headers=_CACHING, content_type="application/jwk-set+json")

    well_known = urlsplit(metadata_url(endpoints.metadata.issuer)).path
    return (
        Route(operation=METADATA, path=well_known, endpoint=metadata),
        Route(operation=JWKS, path=prefix + JWKS.path, endpoint=jwks, hot=True),
        *(() if endpoints.status_lists is None else _status_routes(endpoints.status_lists, prefix)),
    )


def _status_routes(lists: StatusLists, prefix: str) -> tuple[Route, ...]:
    async def one(scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        return await answer_status_list_request(scope, lists)

    async def all_lists(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        return await answer_aggregation_request(lists)

    return (
        Route(operation=STATUS_LISTS, path=prefix + STATUS_LISTS.path, endpoint=all_lists),
        Route(operation=STATUS_LIST, path=prefix + STATUS_LIST.path, endpoint=one),
    )


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/")
