"""FastAPI: a dependency that needs a token which its sender proves to be bound to, and says so in the OpenAPI document.

`bound = BoundToken(guard, …)`, `bound.install(app)`, and in a route
`token: Annotated[VerifiedToken, Security(bound, scopes=["reports:read"])]`.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlows
from fastapi.requests import HTTPConnection, Request
from fastapi.responses import Response
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from mtls_as.verifier.asgi import POLICY_VIOLATION, describe
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.request import Answer
from mtls_as.verifier.verifier import VerifiedToken

MUTUAL_TLS: Final = "mutualTLS"
"""The type, and here also the name, of OpenAPI 3.1's security scheme for client certificates."""


class Refused(HTTPException):
    """The guard's answer. `BoundToken.install` has the application send it as it is; else FastAPI words it itself."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(int(answer.status), headers=answer.header_map)
        self.answer = answer


class BoundToken(SecurityBase):
    """The dependency. Its value is the `VerifiedToken`; the scopes of `Security(…)` are needed beside the guard's.

    `token_url` is the token endpoint, and `scopes` describes those that there are, for the OpenAPI document. Clients
    read in it that they need the token and the certificate, both.
    """

    def __init__(
        self, guard: ResourceGuard, *, token_url: str, scopes: Mapping[str, str], scheme_name: str = "BoundToken"
    ) -> None:
        flow = OAuthFlowClientCredentials(tokenUrl=token_url, scopes=dict(scopes))
        self.model = OAuth2(flows=OAuthFlows(clientCredentials=flow))
        self.scheme_name = scheme_name
        self._guard = guard

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes) -> VerifiedToken:
        """Raises `Refused`."""
        checked = await self._guard.check(describe(connection.scope), scopes=security_scopes.scopes)
        if isinstance(checked, VerifiedToken):
            return checked
        raise Refused(checked)

    def install(self, app: FastAPI) -> None:
        """Answer refusals as RFC 6750 has them, publish the metadata (RFC 9728), and complete the OpenAPI document."""
        app.add_exception_handler(Refused, _answer_refused)  # type: ignore[arg-type] # typed for requests alone
        if self._guard.metadata is not None:
            app.add_route(self._guard.metadata.path, self._publish, methods=["GET"], include_in_schema=False)
        describe_api = app.openapi

        def openapi() -> dict[str, Any]:
            document = describe_api()
            self._require_certificate(document)
            return document

        app.openapi = openapi  # type: ignore[method-assign] # as FastAPI documents it

    async def _publish(self, request: Request) -> Response:
        answer = self._guard.published(describe(request.scope))
        return Response(status_code=404) if answer is None else _response(answer)

    def _require_certificate(self, document: dict[str, Any]) -> None:
        """FastAPI lists schemes as alternatives; here the token is worth nothing without the certificate."""
        schemes = document.get("components", {}).get("securitySchemes", {})
        if self.scheme_name not in schemes:
            return
        schemes[MUTUAL_TLS] = {"type": MUTUAL_TLS, "description": "The certificate that the token is bound to."}
        for path in document["paths"].values():
            for operation in path.values():
                for requirement in operation.get("security", ()):
                    if self.scheme_name in requirement:
                        requirement[MUTUAL_TLS] = []


async def _answer_refused(connection: Request | WebSocket, error: Exception) -> Response | None:
    if not isinstance(error, Refused):  # the handler is for this exception alone
        raise error
    if isinstance(connection, WebSocket) and "websocket.http.response" not in connection.scope.get("extensions", {}):
        await connection.close(POLICY_VIOLATION)
        return None
    return _response(error.answer)


def _response(answer: Answer) -> Response:
    response = Response(answer.body, status_code=int(answer.status))
    for name, value in answer.headers:
        response.headers.append(name, value)
    return response
