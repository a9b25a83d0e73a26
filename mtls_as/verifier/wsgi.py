"""WSGI middleware that lets a request through only with a token that its sender proves to be bound to."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from mtls_as.verifier.blocking import SyncGuard
from mtls_as.verifier.certificates import ForwardedCertificate
from mtls_as.verifier.guard import ResourceGuard
from mtls_as.verifier.request import UNKNOWN_PEER, Answer, ResourceRequest
from mtls_as.verifier.verifier import VerifiedToken

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Any, Any], Iterable[bytes]]

ENVIRON_KEY: Final = "mtls_as.access_token"
"""Where the application finds the `VerifiedToken`."""

_HEADER_PREFIX: Final = "HTTP_"
_PATH_CHARACTERS: Final = "/!$&'()*+,;=:@~"  # RFC 3986 §3.3, beside what `quote` leaves alone


class RequireBoundToken:
    """Wraps a WSGI application so that every request needs a token that the guard lets through.

    The application finds the `VerifiedToken` as `environ["mtls_as.access_token"]`. Raises `ValueError` for a guard that
    cannot work under WSGI: see `check_guard`.
    """

    def __init__(self, app: Application, guard: ResourceGuard) -> None:
        check_guard(guard)
        self._app = app
        self._guard = SyncGuard(guard)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or pass on."""
        admitted = self._guard.admit(describe(environ))
        if isinstance(admitted, VerifiedToken):
            return self._app({**environ, ENVIRON_KEY: admitted}, start_response)
        status = HTTPStatus(admitted.status)
        start_response(f"{status.value} {status.phrase}", response_headers(admitted))
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else admitted.body]


def describe(environ: Mapping[str, Any]) -> ResourceRequest:
    """The request of a WSGI environ (PEP 3333). Names of headers have hyphens, as nobody can tell what they had."""
    return ResourceRequest(
        method=environ["REQUEST_METHOD"],
        path=_path(environ),
        query=environ.get("QUERY_STRING", "").encode("latin-1"),
        headers=[
            (name.removeprefix(_HEADER_PREFIX).replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in environ.items()
            if name.startswith(_HEADER_PREFIX)
        ],
        secure=environ.get("wsgi.url_scheme") == "https",
        peer=environ.get("REMOTE_ADDR", UNKNOWN_PEER) if environ.get("REMOTE_ADDR") != "" else None,
        connection=environ,
        headers_joined=True,
    )


def check_guard(guard: ResourceGuard) -> None:
    """Raise `ValueError` for a forwarded header whose name has an underscore.

    WSGI makes no difference between it and the same name with hyphens, so that servers drop the one or take the other
    for it. Let the proxy write a name with hyphens, and give that as `header`.
    """
    source = guard.certificates
    if isinstance(source, ForwardedCertificate) and any(b"_" in name for name in source.headers):
        raise ValueError("under WSGI the proxy's header needs a name without underscores: give it as header=")


def response_headers(answer: Answer) -> list[tuple[str, str]]:
    """The headers of an answer, its length among them."""
    return [*answer.headers, ("content-length", str(len(answer.body)))]


def _path(environ: Mapping[str, Any]) -> str:
    """As it was sent if the server says so: Gunicorn and Werkzeug, uWSGI and mod_wsgi. Else as it may have been."""
    for name in ("RAW_URI", "REQUEST_URI"):
        sent: str = environ.get(name, "").partition("?")[0]
        if sent.startswith("/"):
            return sent
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return quote(path.encode("latin-1"), safe=_PATH_CHARACTERS)
