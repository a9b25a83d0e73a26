"""The listeners of a configuration: what answers at each, which a reload replaces, and where they are."""

from collections.abc import Mapping
from typing import Any, Final

from mtls_as.config import ProxyListenerSettings, Settings
from mtls_as.forwarded import CERTIFICATE_HEADERS, MAX_FORWARDED_BYTES
from mtls_as.http.admin import AdminEndpoints, admin_routes
from mtls_as.http.admin_api.paths import UndecodedPaths
from mtls_as.http.app import BODY_TIMEOUT_SECONDS, MAX_BODY_BYTES, create_app
from mtls_as.http.certificate import ForwardedCertificate, HandshakeCertificate
from mtls_as.http.fast_lane import FastLane
from mtls_as.http.limited import LimitedCertificate, LimitedForwardedCertificate
from mtls_as.http.network_guard import NetworkGuard
from mtls_as.http.proxy_guard import ProxyGuard
from mtls_as.http.routes import Endpoints, Route, mtls_routes, public_routes
from mtls_as.server.limits import RequestLimits
from mtls_as.tls import Listener
from mtls_as.tls.direct_answers import DirectEndpoint
from mtls_as.tls.listeners import ASGIApplication

# The longest header that is read, and as much again for the rest.
MAX_PROXIED_HEAD_BYTES: Final = 2 * MAX_FORWARDED_BYTES


def make_applications(
    settings: Settings, endpoints: Endpoints, admin: AdminEndpoints, limits: RequestLimits
) -> dict[str, ASGIApplication]:
    """The application of each listener, by its name."""
    listeners = settings.listeners

    def app(routes: tuple[Route, ...]) -> ASGIApplication:
        return create_app(routes, emit=endpoints.emit, fast_lane=settings.server.fast_lane)

    headers = CERTIFICATE_HEADERS | (listeners.proxy.proxy.headers if listeners.proxy else frozenset())
    handshakes = LimitedCertificate(source=HandshakeCertificate(headers=headers), limits=limits)
    applications = {"mtls": app(mtls_routes(endpoints, handshakes))}
    if listeners.proxy is not None:
        proxy = listeners.proxy.proxy
        forwarded = LimitedForwardedCertificate(
            source=ForwardedCertificate(proxy=proxy), limits=limits, trusts_address=settings.trusts_forwarded_for
        )
        applications["proxy"] = ProxyGuard(app(mtls_routes(endpoints, forwarded)), proxy, emit=endpoints.emit)
    if listeners.public is not None:
        applications["public"] = app(public_routes(endpoints))
    if listeners.admin_bind is not None:
        routes = admin_routes(admin, url=f"https://{listeners.admin_bind}")
        administration = UndecodedPaths(create_app(routes, emit=endpoints.emit, fast_lane=False))
        applications["admin"] = NetworkGuard(administration, listeners.admin_networks)
    return applications


class CurrentApplication:
    """What a listener serves: each request goes to the application in force when it begins, and ends there."""

    max_body = MAX_BODY_BYTES
    body_timeout = BODY_TIMEOUT_SECONDS

    def __init__(self, application: ASGIApplication) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 # as ASGI applications are
        await self.application(scope, receive, send)

    def direct(self, method: bytes, target: bytes) -> DirectEndpoint | None:
        """What answers a request directly, if the application in force does that."""
        return self.application.direct(method, target) if isinstance(self.application, FastLane) else None


def make_listeners(settings: Settings, applications: Mapping[str, CurrentApplication]) -> list[Listener]:
    """Every listener of the configuration, with its application."""
    listeners = settings.listeners
    mtls = applications["mtls"]
    # Only here nothing stands before the application that must see each request, as the guards of other listeners must.
    direct = mtls if settings.server.http1 == "direct" else None
    found = [Listener(name="mtls", bind=listeners.mtls.bind, app=mtls, request_certificate=True, direct=direct)]
    if listeners.proxy is not None:
        found.append(_proxy_listener(listeners.proxy, applications["proxy"]))
    if listeners.public is not None:
        found.append(_open_listener("public", listeners.public.bind, applications))
    if listeners.admin_bind is not None:
        asks = listeners.admin_resource is not None  # whose tokens are bound to a certificate
        bind, app = listeners.admin_bind, applications["admin"]
        kept = settings.admin_connections
        found.append(Listener(name="admin", bind=bind, app=app, request_certificate=asks, reserved=kept))
    return found


def _open_listener(name: str, bind: str, applications: Mapping[str, CurrentApplication]) -> Listener:
    return Listener(name=name, bind=bind, app=applications[name], request_certificate=False)


def _proxy_listener(settings: ProxyListenerSettings, app: ASGIApplication) -> Listener:
    return Listener(
        name="proxy",
        bind=settings.bind,
        app=app,
        request_certificate=settings.tls,
        tls=settings.tls,
        socket_group=settings.socket_group,
        max_head_bytes=MAX_PROXIED_HEAD_BYTES,
    )
