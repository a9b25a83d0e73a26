"""The Quart applications, one for each listener: which paths it has, and which function answers them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

from quart import Blueprint, Quart, Response, request
from werkzeug.exceptions import HTTPException

from mtls_as.http.answers import as_response, json_answer
from mtls_as.http.errors import as_oauth_error, error_answer, http_exception_answer
from mtls_as.http.token import answer_token_request
from mtls_as.rfc.rfc6749_framework import MAX_FORM_BYTES
from mtls_as.rfc.rfc8414_metadata import metadata_url
from mtls_as.server.endpoints.metadata import MetadataEndpoint
from mtls_as.server.endpoints.token import TokenEndpoint
from mtls_as.server.events import EventSink, RequestEvent
from mtls_as.server.ports import Clock, SigningKeySource

JWKS_MAX_AGE_SECONDS: Final = 300
BODY_TIMEOUT_SECONDS: Final = 10
_PUBLIC_CACHING: Final = {"Cache-Control": f"public, max-age={JWKS_MAX_AGE_SECONDS}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What the routes call."""

    token: TokenEndpoint
    metadata: MetadataEndpoint
    signing_keys: SigningKeySource
    clock: Clock
    emit: EventSink


def create_mtls_app(endpoints: Endpoints) -> Quart:
    """The application of the listener that asks for certificates."""
    app = _create_documents_app(endpoints, endpoints.metadata.mtls_url)
    routes = Blueprint("mtls", __name__, url_prefix=_path(endpoints.metadata.mtls_url))

    @routes.post("/token")
    async def token() -> Response:
        read_body = cast("Callable[[], Awaitable[bytes]]", partial(request.get_data, cache=False))
        answer = await answer_token_request(
            request.scope, read_body, endpoints.token, clock=endpoints.clock, emit=endpoints.emit
        )
        return as_response(answer)

    app.register_blueprint(routes)
    return app


def create_public_app(endpoints: Endpoints) -> Quart:
    """The application of the listener that never asks for a certificate: the documents that anybody may read."""
    return _create_documents_app(endpoints, endpoints.metadata.public_url or endpoints.metadata.mtls_url)


def _create_documents_app(endpoints: Endpoints, url: str) -> Quart:
    app = Quart("mtls_as", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_SECONDS
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False

    @app.get(urlsplit(metadata_url(endpoints.metadata.issuer)).path)
    async def authorization_server_metadata() -> Response:
        return as_response(json_answer(endpoints.metadata.document, headers=_PUBLIC_CACHING))

    @app.get(f"{_path(url)}/jwks")
    async def jwks() -> Response:
        document = endpoints.signing_keys.current().published(endpoints.clock())
        return as_response(json_answer(document, headers=_PUBLIC_CACHING, content_type="application/jwk-set+json"))

    @app.errorhandler(HTTPException)
    async def no_route(exception: HTTPException) -> Response:
        return as_response(http_exception_answer(exception))

    @app.errorhandler(Exception)
    async def unforeseen(exception: Exception) -> Response:
        error = as_oauth_error(exception)
        event = RequestEvent(endpoint=request.path, peer=request.remote_addr)
        event.refuse(error)
        endpoints.emit(event)
        return as_response(error_answer(error, has_authorization_header=False))

    return app


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/")
