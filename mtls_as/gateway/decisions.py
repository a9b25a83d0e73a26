"""What a request of the proxy is answered: yes with what the token says, no with the challenge, or nothing of both.

Proxies know three kinds of answers. 200 lets the request in, 401 and 403 refuse it, and everything else is a failure,
for which the request is not let in either. So a malformed request, for which RFC 6750 has 400, is 401 here.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from mtls_as.forwarded import HopError
from mtls_as.gateway.guards import Guards
from mtls_as.gateway.identity import IdentityHeaders
from mtls_as.gateway.paths import AmbiguousPath, read_path
from mtls_as.gateway.questions import FORMS, Asked, NoQuestion
from mtls_as.gateway.routes import RouteTable
from mtls_as.gateway.settings import GatewaySettings
from mtls_as.rfc.rfc6750_bearer import BearerError, challenge
from mtls_as.verifier import Refusal, ResourceRequest, VerificationUnavailable, VerifiedToken
from mtls_as.verifier.asgi import describe

Emit = Callable[[Mapping[str, object]], None]

LIVE: Final = "/health/live"
READY: Final = "/health/ready"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer:
    """An answer to the proxy. Its headers hold the length of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An answer, and what the log is to say of it beside the request."""

    answer: CheckAnswer
    reason: str | None = None
    token: VerifiedToken | None = field(default=None, repr=False)


class Gateway:
    """Decides by one configuration, until another takes its place. Nothing that it is asked raises."""

    def __init__(self, settings: GatewaySettings, guards: Guards, *, emit: Emit) -> None:
        self._hop = settings.listener.proxy.hop
        self._form = FORMS[settings.proxy]
        self._routes = RouteTable(settings.routes)
        self._identity = IdentityHeaders(prefix=settings.headers.prefix)
        self._refuses_spoofed = settings.headers.from_clients == "refuse"
        self._guards = guards
        self._emit = emit
        self.stopping = False
        """Set when the process is about to end: it is not ready any more."""

    async def answer(self, scope: Any) -> CheckAnswer:  # noqa: ANN401 # an ASGI scope
        """Answer one request: how the process is, to anybody; everything else to the proxy alone."""
        request = describe(scope)
        if request.path in {LIVE, READY}:
            return await self._health(request.path)
        extensions: Mapping[str, Any] = scope.get("extensions") or {}
        chain: tuple[bytes, ...] = extensions.get("mtls_as", {}).get("client_der_chain", ())
        try:
            self._hop.check(peer=request.peer, der_chain=chain)
        except HopError as error:
            self._note(None, Decision(answer=_answer(HTTPStatus.FORBIDDEN), reason=f"not the proxy: {error}"))
            return _answer(HTTPStatus.FORBIDDEN)
        if not self._form.is_question(request.path):
            return self._published(request)
        asked, decision = (
            None,
            Decision(answer=_answer(HTTPStatus.INTERNAL_SERVER_ERROR), reason="an error in the gateway"),
        )
        try:
            asked = self._form.read(
                headers=request.headers, method=request.method, path=request.path, query=request.query
            )
            decision = await self._decide(request, asked)
        except NoQuestion as error:
            decision = Decision(answer=_answer(HTTPStatus.INTERNAL_SERVER_ERROR), reason=f"no question: {error}")
        except Exception:  # noqa: BLE001 # whatever it is, nobody is let in by it
            _log.exception("a request could not be decided, and is not let in")
        self._note(asked, decision)
        return decision.answer

    async def prepare(self) -> None:
        """Have the issuer's keys at hand. Raises `VerificationUnavailable` as long as there are none."""
        for verifier in self._guards.verifiers:
            await verifier.prepare()

    async def _decide(self, request: ResourceRequest, asked: Asked) -> Decision:
        """(1) no header of ours came from the client; (2) method and path have one reading; (3) a route; (4) the token.

        Each step fails closed, and the last is the verifier's. Methods have a case, which many services ignore.
        """
        spoofed = self._identity.find_spoofed(request.headers) if self._refuses_spoofed else None
        if spoofed is not None:  # (1)
            return _forbidden("The request has a header that only the gateway sets.", f"{spoofed[:64]!a} came along")
        if asked.method != asked.method.upper():  # (2)
            return _forbidden("The method of the request is ambiguous.", "a method in lower case")
        try:
            route = self._routes.find(asked.method, read_path(asked.path))  # (3)
        except AmbiguousPath as error:
            return _forbidden("The path of the request is ambiguous.", f"ambiguous path: {error}")
        if route is None:
            return _forbidden("No access token opens this.", "no route", error=BearerError.INSUFFICIENT_SCOPE)
        guard = self._guards.guards[route.audience]
        original = request._replace(method=asked.method, path=asked.path, query=asked.query)
        decided = await guard.check(original, scopes=route.scopes)  # (4)
        if isinstance(decided, Refusal):
            return _refused(decided)
        headers = {**self._identity.of(decided), "Cache-Control": "no-store", "Content-Length": "0"}
        return Decision(answer=CheckAnswer(status=HTTPStatus.OK, headers=headers), token=decided)

    def _published(self, request: ResourceRequest) -> CheckAnswer:
        """The metadata of a resource (RFC 9728), which the proxy is to pass on."""
        for guard in self._guards.guards.values():
            document = guard.published(request)
            if document is not None:
                headers = {**document.header_map, "Content-Length": str(len(document.body))}
                return CheckAnswer(status=document.status, headers=headers, body=document.body)
        return _answer(HTTPStatus.NOT_FOUND)

    async def _health(self, path: str) -> CheckAnswer:
        if path == LIVE:
            return _answer(HTTPStatus.OK)
        try:
            await self.prepare()
        except VerificationUnavailable:
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE)
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE if self.stopping else HTTPStatus.OK)

    def _note(self, asked: Asked | None, decision: Decision) -> None:
        """One event for each decision: whom it concerns and why, and no token, query or header."""
        status, token = decision.answer.status, decision.token
        event: dict[str, object] = {
            "event": "check",
            "outcome": _OUTCOMES.get(status, "failed"),
            "status": int(status),
        }
        if asked is not None:
            event |= {"method": asked.method, "path": asked.path}
        if token is not None:
            event |= {"client_id": token.client_id, "subject": token.subject, "token_id": token.claims.jwt_id}
        if decision.reason is not None:
            event["reason"] = decision.reason
        self._emit(event)


_OUTCOMES: Final[Mapping[int, str]] = {
    HTTPStatus.OK: "granted",
    HTTPStatus.UNAUTHORIZED: "refused",
    HTTPStatus.FORBIDDEN: "refused",
}


def _answer(status: HTTPStatus) -> CheckAnswer:
    return CheckAnswer(status=status, headers={"Cache-Control": "no-store", "Content-Length": "0"})


def _forbidden(description: str, reason: str, *, error: BearerError = BearerError.INVALID_REQUEST) -> Decision:
    headers = {
        "WWW-Authenticate": challenge(error=error, description=description),
        "Cache-Control": "no-store",
        "Content-Length": "0",
    }
    return Decision(answer=CheckAnswer(status=HTTPStatus.FORBIDDEN, headers=headers), reason=reason)


def _refused(refusal: Refusal) -> Decision:
    """The guard's refusal in a form that every proxy passes on: the challenges in one header, and no body."""
    status = HTTPStatus.UNAUTHORIZED if refusal.status == HTTPStatus.BAD_REQUEST else HTTPStatus(refusal.status)
    headers = {"Cache-Control": "no-store", "Content-Length": "0"}
    challenges = refusal.header_map.get("www-authenticate")
    if challenges:
        headers["WWW-Authenticate"] = challenges
    return Decision(answer=CheckAnswer(status=status, headers=headers), reason=refusal.detail or "no token")
