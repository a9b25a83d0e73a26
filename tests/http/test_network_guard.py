"""The admin listener answers the networks that its configuration names, and nobody else."""

import ipaddress
from pathlib import Path
from typing import Any

import httpx
import pytest

from mtls_as.http.network_guard import NetworkGuard
from tests.authority import Authority
from tests.running import Deployment, running


def test_other_addresses_are_refused_whatever_they_ask(tmp_path: Path) -> None:
    """Real connections, from an address inside and one outside."""
    deployment = Deployment(tmp_path, admin=True).trust("default", Authority.create("CA"))
    deployment.admin_options = 'networks = ["127.0.0.2"]'
    with running(deployment) as server:
        for path in ("/health/live", "/metrics", "/openapi.json", "/nothing"):
            for address, status in (("127.0.0.2", {200, 404}), ("127.0.0.1", {403})):
                transport = httpx.HTTPTransport(verify=server.ssl_context(), local_address=address)
                with httpx.Client(transport=transport, trust_env=False) as client:
                    answer = client.get(server.admin_url + path)
                assert answer.status_code in status, (path, address)
                if status == {403}:
                    assert answer.json()["error"] == "access_denied"
                    assert "Server" not in answer.text


@pytest.mark.parametrize(
    ("peer", "inside"),
    [
        (("10.1.2.3", 1), True),
        (("::ffff:10.1.2.3", 1), True),
        (("2001:db8::1", 1), True),
        (("11.0.0.1", 1), False),
        (("::ffff:11.0.0.1", 1), False),
        (("::1", 1), False),
        (None, False),
    ],
    ids=str,
)
async def test_addresses_of_both_families(peer: tuple[str, int] | None, *, inside: bool) -> None:
    """A mapped IPv4 address is that address; one that is not known is outside."""
    seen: list[Any] = []

    async def app(_scope: object, _receive: object, _send: object) -> None:
        seen.append("reached")

    async def send(message: Any) -> None:
        seen.append(message.get("status"))

    async def receive() -> Any:
        raise AssertionError("the body is not read")

    guard = NetworkGuard(app, [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")])
    await guard({"type": "http", "client": peer}, receive, send)
    assert seen[0] == ("reached" if inside else 403)
