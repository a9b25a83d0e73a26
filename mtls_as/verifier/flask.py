"""Flask: views that need a token which its sender proves to be bound to, each with scopes of its own."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import flask

from mtls_as.verifier.blocking import SyncGuard
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.request import Answer
from mtls_as.verifier.verifier import VerifiedToken
from mtls_as.verifier.wsgi import check_guard, describe

_View = TypeVar("_View", bound=Callable[..., Any])


class BoundToken:
    """An extension: `protect = BoundToken(guard)`, then `@protect("reports:read")` below the route of a view.

    The view finds the `VerifiedToken` as `flask.g.access_token`. `init_app` publishes the guard's metadata (RFC 9728).
    A view without the decorator is open to anybody; to protect all of them, wrap `app.wsgi_app` in
    `mtls_as.verifier.wsgi.RequireBoundToken`. Raises `ValueError` as `wsgi.check_guard` does.
    """

    def __init__(self, guard: ResourceGuard, app: flask.Flask | None = None) -> None:
        check_guard(guard)
        self._metadata = guard.metadata
        self._guard = SyncGuard(guard)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Publish the guard's metadata, if it has any."""
        if self._metadata is not None:
            app.add_url_rule(self._metadata.path, "mtls_as.resource_metadata", self._publish)

    def __call__(self, *scopes: str) -> Callable[[_View], _View]:
        """A decorator for a view that needs a token with these scopes, beside those of the guard."""

        def protect(view: _View) -> _View:
            @wraps(view)
            def protected(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 # as the view
                checked = self._guard.check(describe(flask.request.environ), scopes=scopes)
                if not isinstance(checked, VerifiedToken):
                    return _response(checked)
                flask.g.access_token = checked
                return flask.current_app.ensure_sync(view)(*arguments, **named)

            return cast("_View", protected)

        return protect

    def _publish(self) -> flask.Response:
        answer = self._guard.admit(describe(flask.request.environ))
        if isinstance(answer, VerifiedToken):  # another method than GET, which the route does not have
            flask.abort(405)
        return _response(answer)


def _response(answer: Answer) -> flask.Response:
    return flask.Response(answer.body, status=int(answer.status), headers=list(answer.headers))
