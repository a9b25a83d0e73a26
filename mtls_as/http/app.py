"""The Quart application of one listener: its routes, and an answer for whatever reaches none of them."""

from collections.abc import Iterable
from functools import partial
from typing import Final, cast

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from mtls_as.http.answers import Answer
from mtls_as.http.errors import as_oauth_error, error_answer, http_exception_answer
from mtls_as.http.fast_lane import FastLane
from mtls_as.http.routes import ReadBody, Route
from mtls_as.rfc.rfc6749_framework import MAX_FORM_BYTES
from mtls_as.server.events import EventSink, RequestEvent

MAX_BODY_BYTES: Final = MAX_FORM_BYTES
BODY_TIMEOUT_SECONDS: Final = 10


def create_app(routes: Iterable[Route], *, emit: EventSink, fast_lane: bool = True) -> Quart | FastLane:
    """The application of a listener. With `fast_lane`, hot routes are answered before Quart sees the request."""
    routes = tuple(routes)
    app = Quart("mtls_as", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_TIMEOUT_SECONDS
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # a path with two slashes is another path, and nothing is sent elsewhere
    for route in routes:
        view = partial(_answer_by, route)
        rule = route.path.replace("{", "<").replace("}", ">")
        app.add_url_rule(rule, f"{route.method} {route.path}", view, methods=[route.method])
    _answer_errors(app, emit)
    if not fast_lane:
        return app
    hot = {(route.method, route.path): route.endpoint for route in routes if route.hot}
    return FastLane(app, hot, max_body=MAX_BODY_BYTES, body_timeout=BODY_TIMEOUT_SECONDS)


async def _answer_by(route: Route, **_parts_of_the_path: str) -> Response:
    read_body = cast("ReadBody", partial(request.get_data, cache=False))
    return _as_response(await route.endpoint(request.scope, read_body))


def _answer_errors(app: Quart, emit: EventSink) -> None:
    @app.errorhandler(HTTPException)
    async def no_route(exception: HTTPException) -> Response:
        return _as_response(http_exception_answer(exception))

    @app.errorhandler(Exception)
    async def unforeseen(exception: Exception) -> Response:
        error = as_oauth_error(exception)
        event = RequestEvent(endpoint=request.path, peer=request.remote_addr)
        event.refuse(error)
        emit(event)
        return _as_response(error_answer(error, has_authorization_header=False))


def _as_response(answer: Answer) -> Response:
    return Response(answer.body, status=answer.status, headers=dict(answer.headers))
