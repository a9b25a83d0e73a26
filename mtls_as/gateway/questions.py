"""How each proxy asks: where its question names the method and the URI of the request that it is about.

Only a question that came over the proxy's own hop is read. A header that stands twice, or not at all, is a mistake of
the proxy's configuration: nothing is decided on the first of two.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

ProxyName = Literal["nginx", "haproxy", "traefik", "envoy"]
PROXIES: Final[tuple[ProxyName, ...]] = get_args(ProxyName)

CHECK_PATH: Final = "/check"
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_MAX_URI: Final = 16 * 1024

Headers = Sequence[tuple[bytes, bytes]]


class NoQuestion(Exception):  # noqa: N818 # said about a request, not raised by a bug
    """The proxy did not say which request it asks about, or said it twice. The message quotes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The request that the proxy asks about, as its client sent it to the proxy."""

    method: str
    path: str
    """As it was sent, percent-encoded, without the query."""
    query: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderForm:
    """Method and URI in two headers, which the proxy sets itself; the question's own are those of `/check`."""

    method: bytes
    uri: bytes

    def is_question(self, path: str) -> bool:
        """Whether a path is the one that questions go to."""
        return path == CHECK_PATH

    def read(self, *, headers: Headers, **_own: object) -> Asked:
        """What is asked about. Raises `NoQuestion`."""
        return _asked(_single(headers, self.method), _single(headers, self.uri))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLineForm:
    """Method, path and query as they came, with `/check` before the path: Envoy, with `path_prefix: /check`."""

    def is_question(self, path: str) -> bool:
        """Whether a path is one that questions go to."""
        return path.startswith(f"{CHECK_PATH}/")

    def read(self, *, headers: Headers, method: str, path: str, query: bytes) -> Asked:  # noqa: ARG002 - as the other
        """What is asked about. Raises `NoQuestion`."""
        uri = path.removeprefix(CHECK_PATH).encode("latin-1") + (b"?" + query if query else b"")
        return _asked(method.encode("latin-1"), uri)


Form = HeaderForm | RequestLineForm

_ORIGINAL: Final = HeaderForm(method=b"x-original-method", uri=b"x-original-uri")
FORMS: Final[dict[ProxyName, Form]] = {
    "nginx": _ORIGINAL,
    "haproxy": _ORIGINAL,
    "traefik": HeaderForm(method=b"x-forwarded-method", uri=b"x-forwarded-uri"),
    "envoy": RequestLineForm(),
}


def _single(headers: Headers, name: bytes) -> bytes:
    values = [value for key, value in headers if key.lower() == name]
    if len(values) != 1:
        raise NoQuestion(f"{name.decode()} came {len(values)} times: the proxy must set it, once")
    return values[0]


def _asked(method: bytes, uri: bytes) -> Asked:
    if not _METHOD.fullmatch(method):
        raise NoQuestion("the method is none")
    if not uri.startswith(b"/") or len(uri) > _MAX_URI:
        raise NoQuestion("the URI does not begin with a slash, or is too long")
    path, _, query = uri.partition(b"?")
    return Asked(method=method.decode("ascii"), path=path.decode("latin-1"), query=query)
