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
        self._as_written, self._folded = _Paths(), _Paths()
        for route in routes:
            *parents, last = route.path[1:].split("/")
            is_below = last == ALL_BELOW
            segments = tuple(parents) if is_below else (*parents, last)
            self._as_written.add(segments, route, is_below=is_below)
            self._folded.add(_fold(segments), route, is_below=is_below)

    def find(self, method: str, segments: Segments) -> Route | None:
        """The route of a request, if there is one.

        Raises `AmbiguousPath` where the case of letters, or a slash at the end, is all that keeps a more specific route
        from it, which asks for something else: to many services that is the same path.
        """
        rank, methods = self._as_written.find(segments)
        route = _of(method, methods)
        if route is None:
            return None
        folded = _fold(segments)
        for same in (folded, folded[:-1] if len(folded) > 1 and not folded[-1] else (*folded, "")):
            its_rank, its_methods = self._folded.find(same)
            if its_rank > rank and not _ask_the_same(route, _of(method, its_methods)):
                raise AmbiguousPath("the path of another route, but for the case of letters or a slash at its end")
        return route


_Rank = tuple[int, int]
"""How specific a path is."""
_EXACT: Final[_Rank] = (1, 0)
_NO_PATH: Final[tuple[_Rank, Mapping[str, Route]]] = ((-1, 0), {})


class _Paths:
    """The routes by their paths, exact ones and those of all below, and by their methods."""

    def __init__(self) -> None:
        self._exact: dict[Segments, dict[str, Route]] = {}
        self._below: dict[Segments, dict[str, Route]] = {}

    def add(self, segments: Segments, route: Route, *, is_below: bool) -> None:
        methods = (self._below if is_below else self._exact).setdefault(segments, {})
        methods.update(dict.fromkeys(route.methods or ("",), route))

    def find(self, segments: Segments) -> tuple[_Rank, Mapping[str, Route]]:
        """The methods of the most specific path that is that of the request, and how specific it is."""
        if segments in self._exact:
            return _EXACT, self._exact[segments]
        for length in range(len(segments) - 1, -1, -1):
            methods = self._below.get(segments[:length])
            if methods is not None:
                return (0, length), methods
        return _NO_PATH


def _fold(segments: Segments) -> Segments:
    return tuple(segment.casefold() for segment in segments)


def _of(method: str, methods: Mapping[str, Route]) -> Route | None:
    return methods.get(method) or methods.get("")


def _ask_the_same(route: Route, other: Route | None) -> bool:
    return other is not None and (route.audience, set(route.scopes)) == (other.audience, set(other.scopes))
