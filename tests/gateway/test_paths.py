"""Paths with one reading, and the route that speaks for a request."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_as.gateway.paths import AmbiguousPath, read_path
from mtls_as.gateway.routes import Route, RouteTable, route_problem


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("/", ("",)),
        ("/reports", ("reports",)),
        ("/reports/", ("reports", "")),
        ("/reports/caf%C3%A9/a%20b", ("reports", "café", "a b")),
        ("/%72eports", ("reports",)),
        ("/a.b/...", ("a.b", "...")),
        ("/100%25", ("100%",)),
    ],
)
def test_a_path_is_decoded_once(raw: str, segments: tuple[str, ...]) -> None:
    assert read_path(raw) == segments


@pytest.mark.parametrize(
    "raw",
    [
        "", "reports", "//reports", "/reports//x", "/./x", "/../x", "/x/..", "/%2e%2e/x", "/.%2E", "/x/%2f", "/x%2Fy",
        "/x\\y", "/x%5cy", "/x;y", "/x%3By", "/..;/x", "/x%00", "/x%0a", "/x%7f", "/%2561dmin", "/%252e%252e/x", "/x%",
        "/x%4", "/x%zz", "/x y", "/x#y", "/x?y", "/é", "/%C3", "/%FF", "*", "http://api.example/x",
    ],
)  # fmt: skip
def test_a_path_with_two_readings_is_refused(raw: str) -> None:
    """What a server may normalise, cut off, or decode a second time."""
    with pytest.raises(AmbiguousPath):
        read_path(raw)


@given(st.text(alphabet="/.%2eEfF5cC;ab\\0?#é ", max_size=30))
def test_whatever_is_sent_is_refused_or_has_one_reading(raw: str) -> None:
    """Nothing but `AmbiguousPath` is raised; what is read has nothing left to normalise or to decode."""
    try:
        segments = read_path(raw)
    except AmbiguousPath:
        return
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    for segment in segments:
        assert not set("/\\;") & set(segment)
        assert unquote(segment) == segment


def route(path: str, *methods: str, scope: str = "") -> Route:
    return Route(path=path, methods=frozenset(methods), audience="a", scopes=(scope,))


TABLE = RouteTable(
    [
        route("/*", "GET", scope="all"),
        route("/reports", "GET", scope="list"),
        route("/reports/*", "GET", scope="read"),
        route("/reports/*", "POST", scope="write"),
        route("/reports/secret/*", scope="secret"),
        route("/reports/secret/open", "GET", scope="open"),
        route("/reports/secret/open", scope="others"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/", "all"),
        ("GET", "/x/y", "all"),
        ("GET", "/reports", "list"),
        ("GET", "/reports/a/b", "read"),
        ("POST", "/reports/a", "write"),
        ("DELETE", "/reports/secret/a", "secret"),
        ("GET", "/reports/secret/open", "open"),
        ("PUT", "/reports/secret/open", "others"),
        ("GET", "/reports%2Dx", "all"),
        ("GET", "/reports/Secrets", "read"),
        ("GET", "/%72eports/%73ecret/x", "secret"),
    ],
)
def test_the_most_specific_path_decides(method: str, path: str, scope: str) -> None:
    found = TABLE.find(method, read_path(path))
    assert found is not None
    assert found.scopes == (scope,)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("POST", "/reports"), ("DELETE", "/reports/a"), ("get", "/")]
)
def test_no_less_specific_route_stands_in_for_a_method(method: str, path: str) -> None:
    assert TABLE.find(method, read_path(path)) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/Reports"),
        ("GET", "/REPORTS/a"),
        ("GET", "/reports/"),
        ("GET", "/%52eports"),
        ("GET", "/reports/Secret/a"),
        ("GET", "/reports/secret"),
        ("GET", "/reports/SECRET/"),
        ("GET", "/reports/secret/OPEN"),
        ("GET", "/reports/secret/open/"),
    ],
)
def test_a_path_that_a_service_takes_for_that_of_another_route_is_refused(method: str, path: str) -> None:
    """Many services ignore the case of letters, or a slash at the end: to them `/Admin/` is `/admin`."""
    with pytest.raises(AmbiguousPath):
        TABLE.find(method, read_path(path))


def test_the_case_and_a_slash_may_differ_where_it_makes_no_difference() -> None:
    """Both routes ask for the same; or both are named."""
    same = RouteTable([route("/a", scope="x"), route("/a/*", scope="x"), route("/*", scope="x")])
    for path in ("/A", "/a/", "/A/b", "/b"):
        assert same.find("GET", read_path(path)) is not None
    both = RouteTable([route("/a", scope="x"), route("/A", scope="y"), route("/a/", scope="z"), route("/*", scope="w")])
    found = {path: both.find("GET", read_path(path)) for path in ("/a", "/A", "/a/", "/b/")}
    assert {path: each.scopes for path, each in found.items() if each} == {
        "/a": ("x",),
        "/A": ("y",),
        "/a/": ("z",),
        "/b/": ("w",),
    }


@pytest.mark.parametrize("path", ["/", "/*", "/a", "/a/", "/a/*", "/a b/café/*"])
def test_paths_of_routes(path: str) -> None:
    assert route_problem(path) is None


@pytest.mark.parametrize(
    "path", ["", "a", "*", "/a*", "/*/a", "/a/**", "/a//b", "/a/../b", "/a;b", "/%61", "/a\\b", "/a\n"]
)
def test_a_route_that_can_match_nothing_is_noticed(path: str) -> None:
    assert route_problem(path) is not None
