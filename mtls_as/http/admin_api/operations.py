"""Every operation of the administration, described; what it does stands in `mtls_as.server.endpoints.admin`."""

from collections.abc import Mapping
from typing import Final

from mtls_as.http.operation import FORM, Content, Operation, Response, Schema, Security
from mtls_as.http.schemas import reference
from mtls_as.server.endpoints.admin import routes
from mtls_as.server.endpoints.admin.routes import AdminRoute

_TAG: Final = "administration"
_STANDARD: Final = "docs/administration.md"
_SECURITY: Final = ((Security.BOUND_ACCESS_TOKEN, Security.MUTUAL_TLS),)
_ERROR: Final = (Content(schema=reference("AdminError")),)


def _described(
    route: AdminRoute,
    summary: str,
    responses: Mapping[int, Response],
    *,
    request: Content | None = None,
    query: Mapping[str, Schema] | None = None,
) -> Operation:
    scopes = " or ".join(route.needs)
    refusals = {
        400: Response(description="The request is refused; the description says why.", contents=_ERROR),
        401: Response(
            description="There is no good token, or not the certificate that it is bound to.",
            contents=(Content(schema=reference("Error")),),
            headers={"WWW-Authenticate": "The scheme Bearer (RFC 6750 §3)."},
        ),
        403: Response(
            description=f"The token has not the scope {scopes}.",
            contents=_ERROR,
            headers={"WWW-Authenticate": "The scheme Bearer (RFC 6750 §3)."},
        ),
    }
    return Operation(
        name=route.name,
        method=route.method,
        path=route.path,
        summary=summary,
        standard=_STANDARD,
        tag=_TAG,
        request=request,
        query=query or {},
        responses={**refusals, **responses},
        security=_SECURITY,
    )


def _json(description: str, schema: str) -> Response:
    return Response(description=description, contents=(Content(schema=reference(schema)),))


_MISSING: Final = Response(description="There is no such thing.", contents=_ERROR)
_CONFLICT: Final = Response(description="It cannot be, as things are; the description says why.", contents=_ERROR)
_CHANGED: Final = Response(description="It is not any longer what If-Match says.", contents=_ERROR)
_LIMIT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 1_000}
_CURSOR: Final[Schema] = {"type": "string", "description": "The `next_cursor` of the page before."}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}


def _body(schema: str) -> Content:
    return Content(schema=reference(schema))


def _client(description: str, *, status: int = 200) -> dict[int, Response]:
    tagged = {"ETag": "What If-Match of a replacement takes."}
    return {status: Response(description=description, contents=(_body("StoredClient"),), headers=tagged)}


_ALL: Final = (
    _described(
        routes.LIST_CLIENTS,
        "List the clients of the configuration and of the database.",
        {200: _json("A page of them.", "StoredClients")},
        query={"limit": _LIMIT, "cursor": _CURSOR},
    ),
    _described(
        routes.ADD_CLIENT,
        "Register a client.",
        {**_client("It is registered.", status=201), 409: _CONFLICT},
        request=_body("AdminClient"),
    ),
    _described(routes.SHOW_CLIENT, "Show a client.", {**_client("The client."), 404: _MISSING}),
    _described(
        routes.REPLACE_CLIENT,
        "Replace the registration of a stored client, with If-Match only if nobody has changed it.",
        {**_client("It is replaced."), 404: _MISSING, 409: _CONFLICT, 412: _CHANGED},
        request=_body("AdminClientUpdate"),
    ),
    _described(
        routes.DELETE_CLIENT,
        "Forget a stored client, and end its tokens.",
        {204: Response(description="It is gone."), 404: _MISSING, 409: _CONFLICT},
    ),
    _described(
        routes.ENABLE_CLIENT,
        "Let a stored client in again.",
        {**_client("It is enabled."), 404: _MISSING, 409: _CONFLICT},
    ),
    _described(
        routes.DISABLE_CLIENT,
        "Keep a stored client out.",
        {**_client("It is disabled."), 404: _MISSING, 409: _CONFLICT},
    ),
    _described(
        routes.ROTATE_SECRET,
        "Make the next secret of a stored client, and show it once.",
        {**_client("It has a new secret."), 404: _MISSING, 409: _CONFLICT},
        request=_body("SecretRequest"),
    ),
    _described(
        routes.LIST_REGISTRATION_TOKENS,
        "List the initial access tokens, by the beginning of their hash.",
        {200: _json("The tokens.", "RegistrationTokens")},
    ),
    _described(
        routes.ADD_REGISTRATION_TOKEN,
        "Make an initial access token, and show it once.",
        {201: _json("The token.", "RegistrationToken"), 409: _CONFLICT},
        request=_body("RegistrationTokenRequest"),
    ),
    _described(
        routes.DELETE_REGISTRATION_TOKEN,
        "Forget an initial access token.",
        {204: Response(description="It is gone."), 404: _MISSING},
    ),
    _described(routes.LIST_KEYS, "List the keys that sign access tokens.", {200: _json("The keys.", "SigningKeys")}),
    _described(
        routes.ROTATE_KEY,
        "Make the next signing key.",
        {201: _json("The new key.", "SigningKeyInformation"), 409: _CONFLICT},
        request=_body("KeyRequest"),
    ),
    _described(
        routes.SHOW_TRUST,
        "Show the trust domains in force, their anchors, and what is known of revocation.",
        {200: _json("The trust domains.", "Trust")},
    ),
    _described(
        routes.TAKE_INVENTORY,
        "List every certificate registered or seen, the soonest to end first.",
        {200: _json("The certificates.", "Inventory")},
        query={
            "within": {**_NUMBER, "description": "Seconds: only what ends by then and matters to somebody."},
            "limit": {**_LIMIT, "maximum": 10_000},
        },
    ),
    _described(
        routes.LIST_AUDIT,
        "List what the audit trail has, the newest first.",
        {200: _json("A page of records.", "AuditRecords")},
        query={"since": _NUMBER, "client_id": {"type": "string"}, "kind": {"type": "string"}}
        | {"limit": _LIMIT, "cursor": _NUMBER},
    ),
    _described(
        routes.VERIFY_AUDIT,
        "Find out whether a record of the audit trail was changed, removed or added.",
        {200: _json("What was found.", "AuditVerification")},
        query={"from": {"type": "string", "description": "A checkpoint to begin at."}},
    ),
    _described(
        routes.HEAD_OF_AUDIT,
        "Show a checkpoint of the audit trail, to be kept elsewhere.",
        {200: _json("The checkpoint.", "AuditHead")},
    ),
    _described(
        routes.REVOKE_TOKENS,
        "End the access tokens of a client, of a certificate or before a time, or one of them.",
        {200: _json("They count for nothing.", "RevocationReport"), 404: _MISSING, 409: _CONFLICT},
        request=Content(media_type=FORM, schema=reference("RevocationRequest")),
    ),
    _described(
        routes.RELOAD,
        "Take over what the configuration and its files say now, in every process, or leave all as it is.",
        {
            200: _json("Every process has taken it over.", "ReloadReport"),
            202: _json("The process that answers has; others have not told yet.", "ReloadReport"),
            409: _json("The files cannot be taken over, and the old state stays in force.", "ReloadReport"),
        },
    ),
)
_BY_NAME: Final = {operation.name: operation for operation in _ALL}
ADMIN_OPERATIONS: Final[Mapping[AdminRoute, Operation]] = {
    route: _BY_NAME[route.name] for route in vars(routes).values() if isinstance(route, AdminRoute)
}
"""Every route with its description."""
