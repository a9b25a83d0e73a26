"""The routes of the admin listener: health for orchestrators, metrics for Prometheus, and the administration."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mtls_as.http.admin_api.answers import AdminAPI
from mtls_as.http.admin_api.operations import ADMIN_OPERATIONS
from mtls_as.http.answers import Answer, json_answer
from mtls_as.http.operation import Operation
from mtls_as.http.operations import LIVE, METRICS, READY
from mtls_as.http.routes import HTTPEndpoint, ReadBody, Route, with_description
from mtls_as.server.readiness import Readiness

_CACHING: Final = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEndpoints:
    """What the routes call. `metrics` gives a content type and a body; `api` is there if configured."""

    readiness: Callable[[], Awaitable[Readiness]]
    metrics: Callable[[], Awaitable[tuple[str, bytes]]]
    api: AdminAPI | None = None


def admin_routes(endpoints: AdminEndpoints, *, url: str) -> tuple[Route, ...]:
    """`/health/live`: the process answers. `/health/ready`: it can serve clients, else 503. The others say it."""

    async def live(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        return json_answer({"live": True}, headers=_CACHING)

    async def ready(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        readiness = await endpoints.readiness()
        checks = {check.name: {"passed": check.passed, "detail": check.detail} for check in readiness.checks}
        status = 200 if readiness.ready else 503
        return json_answer({"ready": readiness.ready, "checks": checks}, status=status, headers=_CACHING)

    async def metrics(_scope: Mapping[str, Any], _read_body: ReadBody) -> Answer:
        content_type, body = await endpoints.metrics()
        headers = {"Content-Type": content_type, "Content-Length": str(len(body)), **_CACHING}
        return Answer(status=200, headers=headers, body=body)

    found: list[tuple[Operation, HTTPEndpoint]] = [(LIVE, live), (READY, ready), (METRICS, metrics)]
    if endpoints.api is not None:
        found += [(each, endpoints.api.endpoint(route, each)) for route, each in ADMIN_OPERATIONS.items()]
    routes = [Route(operation=operation, path=operation.path, endpoint=endpoint) for operation, endpoint in found]
    return with_description(routes, title="The administration of the server", url=url)
