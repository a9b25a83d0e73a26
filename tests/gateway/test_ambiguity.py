"""Ways around a decision: what the service behind the proxy understands in another way than the gateway did."""

from collections.abc import Iterator

import pytest

from tests.gateway.running import MINE, PROXIES, Site, site

MORE = """
[[routes]]
path = "/*"
scopes = ["reports:read"]
[[routes]]
path = "/things"
scopes = ["reports:read"]
[[routes]]
path = "/things"
methods = ["DELETE"]
scopes = ["reports:admin"]
"""


@pytest.fixture(scope="module", params=PROXIES)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(request.param, tmp_path_factory.mktemp(request.param), more=MORE) as running:
        yield running


@pytest.mark.parametrize("path", ["/admin", "/ADMIN", "/admin/", "/aDmin", "/%41dmin"])
def test_no_spelling_of_a_path_opens_it(behind: Site, path: str) -> None:
    """Another route is open to the token, under which the path falls for whoever looks at its letters alone."""
    assert behind.get(MINE, behind.token(MINE.der), "/other").status == 200
    assert behind.get(MINE, behind.token(MINE.der), path).status == 403


@pytest.mark.parametrize("method", ["DELETE", "delete", "Delete"])
def test_no_spelling_of_a_method_opens_it(behind: Site, method: str) -> None:
    """Some proxies hand on any method, and some services, as those in Django, take it for that in upper case."""
    assert behind.get(MINE, behind.token(MINE.der), "/things", method=method).status in {400, 403}


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
)
def test_no_header_tells_the_service_of_another_request(behind: Site, name: str) -> None:
    """Some services act on these instead of the request line."""
    reply = behind.get(MINE, behind.token(MINE.der), headers=[(name, "DELETE")])
    assert reply.status == 403 or name.lower() not in dict(reply.behind)


@pytest.mark.parametrize("upgrade", ["h2c", "H2C", "websocket, h2c", "tls/1.0"])
def test_no_connection_is_handed_to_the_service(behind: Site, upgrade: str) -> None:
    """A service that goes over to HTTP/2 would get further requests past the proxy, and past every decision."""
    headers = [("Upgrade", upgrade), ("HTTP2-Settings", "AAMAAABkAAQAAP__"), ("Connection", "Upgrade, HTTP2-Settings")]
    reply = behind.get(MINE, behind.token(MINE.der), headers=headers)
    assert reply.status in {400, 403} or "upgrade" not in dict(reply.behind)


def test_connection_takes_no_header_away(behind: Site) -> None:
    """What a client names there, the next hop would remove: also what the gateway says (GHSA-62c8-mh53-4cqv)."""
    reply = behind.get(MINE, behind.token(MINE.der), headers=[("Connection", "close, X-Token-Subject")])
    assert reply.told()["x-token-subject"] == "reports"
    assert "x-token" not in dict(reply.behind).get("connection", "").lower()
