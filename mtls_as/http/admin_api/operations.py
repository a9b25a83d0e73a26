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


ADMIN_OPERATIONS: Final[Mapping[AdminRoute, Operation]] = {
    routes.REVOKE_TOKENS: _described(
        routes.REVOKE_TOKENS,
        "End the access tokens of a client, of a certificate or before a time, or one by its jti.",
        {204: Response(description="They count for nothing.")},
        request=Content(media_type=FORM, schema=reference("RevocationRequest")),
    ),
    routes.RELOAD: _described(
        routes.RELOAD,
        "Take over what the configuration and its files say now, in every process, or leave all as it is.",
        {
            200: _json("Every process has taken it over.", "ReloadReport"),
            202: _json("The process that answers has; others have not told yet.", "ReloadReport"),
            409: _json("The files cannot be taken over, and the old state stays in force.", "ReloadReport"),
        },
    ),
}
