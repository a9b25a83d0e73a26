"""Litestar: a guard for routes, controllers or the whole application that needs a token bound to its sender.

Scopes that a route needs beside the guard's own are an option of its (`opt`):
`@get("/reports", required_scopes=["reports:read"])`. For a whole application the middleware does as well:
`DefineMiddleware(RequireBoundToken, …)` with that of `mtls_as.verifier.asgi`.
"""

from collections.abc import Iterable
from typing import Any, Final

from litestar import Request, Response, get
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from mtls_as.verifier.asgi import STATE_KEY, describe
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.request import Refusal
from mtls_as.verifier.verifier import VerifiedToken

OPTION: Final = "required_scopes"


class RequireBoundToken:
    """A Litestar guard; the handler finds the `VerifiedToken` as `request.state.access_token`."""

    def __init__(self, guard: ResourceGuard) -> None:
        self._guard = guard

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Raises `HTTPException` with the status and the challenge of the guard's answer."""
        scopes: Iterable[str] = handler.opt.get(OPTION, ())
        if isinstance(scopes, str):
            raise TypeError(f"{OPTION} is a list of texts")
        checked = await self._guard.check(describe(connection.scope), scopes=scopes)  # type: ignore[arg-type] # a dict, and typed as its members
        if not isinstance(checked, VerifiedToken):
            raise _refused(checked)
        # A copy: a server may share one state among all its connections.
        connection.scope["state"] = {**connection.scope["state"], STATE_KEY: checked}

    def metadata_handler(self) -> HTTPRouteHandler:
        """A route that publishes the guard's metadata (RFC 9728): put it where this guard does not stand before it.

        Raises `ValueError` if the guard has none.
        """
        metadata = self._guard.metadata
        if metadata is None:
            raise ValueError("the guard has no metadata")
        document = metadata.document()

        @get(metadata.path, include_in_schema=False, sync_to_thread=False)
        def resource_metadata(request: Request[Any, Any, Any]) -> Response[dict[str, object]]:  # noqa: ARG001 # as Litestar calls it
            return Response(document)

        return resource_metadata


def _refused(refusal: Refusal) -> HTTPException:
    extra = {"error": refusal.error} if refusal.error else None
    headers = {name: value for name, value in refusal.header_map.items() if name != "content-type"}
    return HTTPException(
        status_code=int(refusal.status), detail=refusal.description or "", headers=headers, extra=extra
    )
