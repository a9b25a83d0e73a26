"""What is needed for which request: the routes of the configuration, and the one that speaks for a request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from mtls_as.gateway.paths import AmbiguousPath, Segments, read_path

ALL_BELOW: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What the requests of one path, or with `/*` at its end of all paths below, need."""

    path: str
    methods: frozenset[str]
    """Empty for all that no other route of the same path names."""
    audience: str
    """The resource whose tokens open it."""
    scopes: tuple[str, ...]


def route_problem(path: str) -> str | None:
    """What is wrong with the path of a route, if anything: it is written as it reads, nothing percent-encoded."""
    if not path.startswith("/") or not path.isprintable():
        return "must begin with a slash"
    if "%" in path:
        return "is written without percent-encoding; requests are decoded before they are compared"
    below = path.removesuffix(ALL_BELOW)
    if ALL_BELOW in below or not (below == path or below.endswith("/")):
        return "has a star only as its last segment, as in /reports/*"
    try:
        read_path(quote(below, safe="/~!$&'()+,=:@"))
    except AmbiguousPath as error:
        return f"can match no request: {error}"
    return None


class RouteTable:
    """Finds the route of a request: that of the most specific path, and none where that has not the method.

    An exact path is more specific than all below one, and a longer path than a shorter one. A less specific route never
    stands in for a method that the more specific one does not have: what is opened is named.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[Segments, dict[str, Route]] = {}
        self._below: dict[Segments, dict[str, Route]] = {}
        for route in routes:
            *parents, last = route.path[1:].split("/")
            known = self._below if last == ALL_BELOW else self._exact
            methods = known.setdefault(tuple(parents) if last == ALL_BELOW else (*parents, last), {})
            methods.update(dict.fromkeys(route.methods or ("",), route))

    def find(self, method: str, segments: Segments) -> Route | None:
        """The route of a request, if there is one."""
        methods = self._methods(segments)
        return methods.get(method) or methods.get("")

    def _methods(self, segments: Segments) -> Mapping[str, Route]:
        if segments in self._exact:
            return self._exact[segments]
        for length in range(len(segments) - 1, -1, -1):
            methods = self._below.get(segments[:length])
            if methods is not None:
                return methods
        return {}
