"""OpenAPI 3.1 documents, put together from the operations of a listener's routes."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from mtls_as import __version__
from mtls_as.http.operation import Content, Operation, Response
from mtls_as.http.schemas import SCHEMAS, reference

OPENAPI_VERSION: Final = "3.1.0"

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SECURITY_SCHEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "mutualTLS": {"type": "mutualTLS", "description": "The client's certificate (RFC 8705)."},
    "clientSecret": {"type": "http", "scheme": "basic", "description": "client_secret_basic (RFC 6749 §2.3.1)."},
    "initialAccessToken": {"type": "http", "scheme": "bearer", "description": "RFC 7591 §3."},
    "registrationAccessToken": {"type": "http", "scheme": "bearer", "description": "RFC 7592 §1.3."},
    "boundAccessToken": {"type": "http", "scheme": "bearer", "description": "RFC 8705 §3, with its certificate."},
}


def _refusal(description: str) -> Response:
    return Response(description=description, contents=(Content(schema=reference("Error")),))


# What any operation may answer, whatever it does.
_REFUSALS: Final[Mapping[int, Response]] = {
    400: _refusal("The request is refused; `error` says why."),
    405: _refusal("The path has no such method."),
    429: _refusal("Too many requests of this client or address, or too many that failed."),
    500: _refusal("The server met an unexpected condition."),
    503: _refusal("The server cannot answer now."),
}
# And with a body.
_REFUSALS_OF_BODIES: Final[Mapping[int, Response]] = {
    408: _refusal("The body did not come in time."),
    413: _refusal("The body is too large."),
}


def describe(operations: Iterable[tuple[str, Operation]], *, title: str, url: str) -> dict[str, object]:
    """The document of a listener at `url`: its operations, each with its full path."""
    paths: dict[str, dict[str, object]] = {}
    used: set[str] = set()
    for path, operation in operations:
        paths.setdefault(path, {})[operation.method.lower()] = _operation(path, operation)
        used |= {scheme for way in operation.security for scheme in way}
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": title, "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {name: dict(scheme) for name, scheme in _SECURITY_SCHEMES.items() if name in used},
        },
    }


def _operation(path: str, operation: Operation) -> dict[str, object]:
    responses = {**_REFUSALS, **(_REFUSALS_OF_BODIES if operation.request else {}), **operation.responses}
    described: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Specified by {operation.standard}.",
        "tags": [operation.tag],
        "security": [{scheme.value: [] for scheme in way} for way in operation.security],
        "responses": {str(status): _response(response) for status, response in sorted(responses.items())},
    }
    if operation.request is not None:
        described["requestBody"] = {"required": True, "content": _contents((operation.request,))}
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]
    if parameters:
        described["parameters"] = parameters
    return described


def _response(response: Response) -> dict[str, object]:
    described: dict[str, object] = {"description": response.description}
    if response.contents:
        described["content"] = _contents(response.contents)
    if response.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in response.headers.items()
        }
    return described


def _contents(contents: Iterable[Content]) -> dict[str, object]:
    return {content.media_type: {"schema": content.schema} for content in contents}
