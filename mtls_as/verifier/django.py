"""Django: middleware for all views or a decorator for one, behind a guard that the settings name.

`MTLS_AS_GUARD` in the settings is the dotted path of a `ResourceGuard`, or of a function without arguments that makes
one. Under WSGI its certificate source is one of WSGI's; under ASGI wrap the whole application in
`mtls_as.verifier.asgi.RequireBoundToken` instead.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.module_loading import import_string

from mtls_as.verifier.blocking import SyncGuard
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.request import Answer
from mtls_as.verifier.verifier import VerifiedToken
from mtls_as.verifier.wsgi import check_guard, describe

SETTING: Final = "MTLS_AS_GUARD"

_View = TypeVar("_View", bound=Callable[..., HttpResponseBase])


@lru_cache(maxsize=1)
def configured_guard() -> SyncGuard:
    """The guard that the settings name. Raises `ImproperlyConfigured`."""
    path = getattr(settings, SETTING, None)
    if not isinstance(path, str):
        raise ImproperlyConfigured(f"{SETTING} is the dotted path of a ResourceGuard")
    guard = import_string(path)
    if not isinstance(guard, ResourceGuard):
        guard = guard()
    if not isinstance(guard, ResourceGuard):
        raise ImproperlyConfigured(f"{SETTING} names something that is no ResourceGuard")
    try:
        check_guard(guard)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None
    return SyncGuard(guard)


class BoundTokenMiddleware:
    """Every request needs a token; the metadata of the guard are published. Views find `request.access_token`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._guard = configured_guard()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, or pass on."""
        admitted = self._guard.admit(describe(request.META))
        if not isinstance(admitted, VerifiedToken):
            return _response(admitted)
        request.access_token = admitted
        return self._get_response(request)


def require_bound_token(*scopes: str) -> Callable[[_View], _View]:
    """A decorator for a view that needs a token with these scopes, beside those of the guard."""

    def protect(view: _View) -> _View:
        @wraps(view)
        def protected(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponseBase:  # noqa: ANN401 # as the view
            checked = configured_guard().check(describe(request.META), scopes=scopes)
            if not isinstance(checked, VerifiedToken):
                return _response(checked)
            request.access_token = checked
            return view(request, *arguments, **named)

        return cast("_View", protected)

    return protect


def resource_metadata(request: HttpRequest) -> HttpResponse:
    """A view for the guard's metadata (RFC 9728), where the middleware is not in use."""
    answer = configured_guard().admit(describe(request.META))
    if isinstance(answer, VerifiedToken):
        return HttpResponse(status=404)
    return _response(answer)


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=int(answer.status), headers=answer.header_map)
