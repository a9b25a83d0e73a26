"""Every operation that a listener can have; `routes` and `admin` say which ones it has."""

from typing import Final

from mtls_as.http.operation import FORM, Content, Operation, Response, Security
from mtls_as.http.schemas import reference
from mtls_as.rfc.rfc8414_metadata import WELL_KNOWN
from mtls_as.rfc.rfc9701_jwt_introspection import MEDIA_TYPE as SIGNED_INTROSPECTION
from mtls_as.rfc.status_list import MEDIA_TYPE as STATUS_LIST_MEDIA_TYPE

_TEXT: Final = {"type": "string"}
_TOKENS: Final = "Tokens"
_DOCUMENTS: Final = "Documents"
_REGISTRATION: Final = "Registration"
_HEALTH: Final = "Health"

# A client proves itself by its certificate, by its secret, or in the form; a certificate beside these binds its tokens.
_CLIENT: Final = ((Security.MUTUAL_TLS,), (Security.CLIENT_SECRET,), ())
_WRONG_CLIENT: Final = Response(
    description="The client did not prove who it is.", contents=(Content(schema=reference("Error")),)
)
_NO_TOKEN: Final = Response(
    description="The token in the Authorization header is missing, unknown or spent.",
    contents=(Content(schema=reference("Error")),),
    headers={"WWW-Authenticate": "The scheme Bearer (RFC 6750 §3)."},
)


def _json(description: str, schema: str) -> Response:
    return Response(description=description, contents=(Content(schema=reference(schema)),))


TOKEN: Final = Operation(
    name="requestToken",
    method="POST",
    path="/token",
    summary="Ask for an access token.",
    standard="RFC 6749 §3.2, RFC 8705 §3, RFC 9449 §5",
    tag=_TOKENS,
    request=Content(media_type=FORM, schema=reference("TokenRequest")),
    responses={200: _json("The token.", "TokenResponse"), 401: _WRONG_CLIENT},
    security=_CLIENT,
)
REVOKE: Final = Operation(
    name="revokeToken",
    method="POST",
    path="/revoke",
    summary="Give back a token of one's own.",
    standard="RFC 7009 §2",
    tag=_TOKENS,
    request=Content(media_type=FORM, schema=reference("TokenReference")),
    responses={200: Response(description="The token counts for nothing, if it ever did."), 401: _WRONG_CLIENT},
    security=_CLIENT,
)
INTROSPECT: Final = Operation(
    name="introspectToken",
    method="POST",
    path="/introspect",
    summary="Learn what a token means, as the resource server that it is for.",
    standard="RFC 7662 §2, RFC 9701",
    tag=_TOKENS,
    request=Content(media_type=FORM, schema=reference("TokenReference")),
    responses={
        200: Response(
            description="What the token means; signed, if that is what the caller accepts.",
            contents=(
                Content(schema=reference("IntrospectionResponse")),
                Content(media_type=SIGNED_INTROSPECTION, schema=_TEXT),
            ),
        ),
        401: _WRONG_CLIENT,
    },
    security=_CLIENT,
)
METADATA: Final = Operation(
    name="getMetadata",
    method="GET",
    path=WELL_KNOWN,
    summary="What this server offers, and where.",
    standard="RFC 8414 §3",
    tag=_DOCUMENTS,
    responses={200: _json("The metadata.", "ServerMetadata")},
)
JWKS: Final = Operation(
    name="getKeys",
    method="GET",
    path="/jwks",
    summary="The public keys of the tokens' signatures.",
    standard="RFC 7517 §5",
    tag=_DOCUMENTS,
    responses={
        200: Response(
            description="The keys.",
            contents=(Content(media_type="application/jwk-set+json", schema=reference("JWKSet")),),
        )
    },
)
STATUS_LIST: Final = Operation(
    name="getStatusList",
    method="GET",
    path="/status/{list}",
    summary="Which tokens were revoked, signed: the list that a token names.",
    standard="draft-ietf-oauth-status-list §8",
    tag=_DOCUMENTS,
    responses={
        200: Response(description="The list.", contents=(Content(media_type=STATUS_LIST_MEDIA_TYPE, schema=_TEXT),)),
        304: Response(description="The caller has this very list."),
        404: _json("There is no such list.", "Error"),
    },
)
STATUS_LISTS: Final = Operation(
    name="getStatusLists",
    method="GET",
    path="/status",
    summary="Where all status lists are.",
    standard="draft-ietf-oauth-status-list §9",
    tag=_DOCUMENTS,
    responses={200: _json("Their URLs.", "StatusListAggregation")},
)
STATUS_OPERATIONS: Final = (STATUS_LISTS, STATUS_LIST)
OPENAPI: Final = Operation(
    name="getDescription",
    method="GET",
    path="/openapi.json",
    summary="This description.",
    standard="OpenAPI 3.1",
    tag=_DOCUMENTS,
    responses={200: _json("The description.", "OpenAPI")},
)
LIVE: Final = Operation(
    name="getLiveness",
    method="GET",
    path="/health/live",
    summary="Whether the process answers.",
    standard="docs/pki.md",
    tag=_HEALTH,
    responses={200: _json("It does.", "Liveness")},
)
READY: Final = Operation(
    name="getReadiness",
    method="GET",
    path="/health/ready",
    summary="Whether the server can serve clients.",
    standard="docs/pki.md",
    tag=_HEALTH,
    responses={200: _json("It can.", "Readiness"), 503: _json("It cannot, for the reasons told.", "Readiness")},
)
METRICS: Final = Operation(
    name="getMetrics",
    method="GET",
    path="/metrics",
    summary="Metrics in the text format of Prometheus.",
    standard="Prometheus exposition format",
    tag=_HEALTH,
    responses={200: Response(description="The metrics.", contents=(Content(media_type="text/plain", schema=_TEXT),))},
)
REGISTER: Final = Operation(
    name="registerClient",
    method="POST",
    path="/register",
    summary="Register a client, with an initial access token or a certificate that allows it.",
    standard="RFC 7591 §3",
    tag=_REGISTRATION,
    request=Content(schema=reference("ClientMetadata")),
    responses={201: _json("The client as it is registered now.", "ClientInformation"), 401: _NO_TOKEN},
    security=((Security.INITIAL_ACCESS_TOKEN,), (Security.MUTUAL_TLS,)),
)
_MANAGER: Final = (
    (Security.REGISTRATION_ACCESS_TOKEN,),
    (Security.REGISTRATION_ACCESS_TOKEN, Security.MUTUAL_TLS),
)
READ_CLIENT: Final = Operation(
    name="readClient",
    method="GET",
    path="/register/{client_id}",
    summary="Read a registration.",
    standard="RFC 7592 §2.1",
    tag=_REGISTRATION,
    responses={200: _json("The client.", "ClientInformation"), 401: _NO_TOKEN},
    security=_MANAGER,
)
UPDATE_CLIENT: Final = Operation(
    name="updateClient",
    method="PUT",
    path="/register/{client_id}",
    summary="Replace a registration.",
    standard="RFC 7592 §2.2",
    tag=_REGISTRATION,
    request=Content(schema=reference("ClientUpdate")),
    responses={200: _json("The client as it is registered now.", "ClientInformation"), 401: _NO_TOKEN},
    security=_MANAGER,
)
DELETE_CLIENT: Final = Operation(
    name="deleteClient",
    method="DELETE",
    path="/register/{client_id}",
    summary="Delete a client, and end its tokens.",
    standard="RFC 7592 §2.3",
    tag=_REGISTRATION,
    responses={204: Response(description="It is gone."), 401: _NO_TOKEN},
    security=_MANAGER,
)
REGISTRATION_OPERATIONS: Final = (REGISTER, READ_CLIENT, UPDATE_CLIENT, DELETE_CLIENT)
MTLS_OPERATIONS: Final = (
    TOKEN,
    REVOKE,
    INTROSPECT,
    *REGISTRATION_OPERATIONS,
    METADATA,
    JWKS,
    *STATUS_OPERATIONS,
    OPENAPI,
)
"""What the listener that asks for certificates has once everything is switched on."""
