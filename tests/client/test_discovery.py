"""RFC 9728 at the client: asked for only, of the resource's own origin, and among the servers that are allowed."""

import asyncio
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mtls_as.client import DiscoveryError, discover_resource, discover_resource_async
from tests.authority import Authority
from tests.client.resource_server import BoundServer

ISSUERS = ["https://as.example", "https://other-as.example"]


class Resource(BoundServer):
    """A resource that publishes metadata."""

    def publish(self, **replaced: Any) -> None:
        document = {"resource": self.url, "authorization_servers": ISSUERS, "scopes_supported": ["a"]} | replaced
        self.resource_metadata = {name: value for name, value in document.items() if value is not None}

    @property
    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.pem)


@pytest.fixture
def resource() -> Iterator[Resource]:
    with Resource(Authority.create()) as resource:
        resource.publish()
        yield resource


def find(resource: Resource, name: str | None = None, **options: Any) -> str:
    options = {"issuers": ISSUERS, "ssl_context": resource.trusting} | options
    return discover_resource(name or resource.url, **options).issuer


def test_the_well_known_place(resource: Resource) -> None:
    found = discover_resource(resource.url, issuers=ISSUERS, ssl_context=resource.trusting)
    assert (found.resource, found.issuer, found.scopes_supported) == (resource.url, ISSUERS[0], ("a",))


async def test_within_an_event_loop(resource: Resource) -> None:
    """Both ways work there."""
    found = await discover_resource_async(resource.url, issuers=ISSUERS, ssl_context=resource.trusting)
    assert found == await asyncio.to_thread(
        discover_resource, resource.url, issuers=ISSUERS, ssl_context=resource.trusting
    )


def test_the_caller_has_the_first_word(resource: Resource) -> None:
    """§7.6: of the servers that the resource names, the one that stands first among those that are allowed."""
    assert find(resource, issuers=ISSUERS[::-1]) == ISSUERS[1]
    assert find(resource, issuers=["https://third.example", ISSUERS[1]]) == ISSUERS[1]


@pytest.mark.parametrize("issuers", [[], ["https://third.example"], ["https://as.example/"], ["https://AS.example"]])
def test_a_server_that_is_not_allowed(resource: Resource, issuers: list[str]) -> None:
    """To the character, as an issuer is compared (RFC 8414 §3.3)."""
    with pytest.raises(DiscoveryError, match="allowed"):
        find(resource, issuers=issuers)


@pytest.mark.parametrize(
    "replaced",
    [
        {"resource": "https://api.example"}, {"resource": None}, {"authorization_servers": "https://as.example"},
        {"authorization_servers": None}, {"authorization_servers": ["http://as.example"]},
    ],
    ids=["another", "nobody", "a text", "none", "plain http"],
)  # fmt: skip
def test_metadata_that_are_not_believed(resource: Resource, replaced: dict[str, Any]) -> None:
    """§3.3: they must be of the resource that was asked for."""
    resource.publish(**replaced)
    with pytest.raises(DiscoveryError):
        find(resource)


def test_no_metadata(resource: Resource) -> None:
    resource.resource_metadata = None
    with pytest.raises(DiscoveryError, match="404"):
        find(resource)


@pytest.mark.parametrize("name", ["http://localhost", "https://localhost?a", "api", "https://localhost#a"])
def test_what_has_no_metadata(resource: Resource, name: str) -> None:
    with pytest.raises(DiscoveryError):
        find(resource, name)


def test_following_a_challenge(resource: Resource) -> None:
    """§5.1: the answer to a request without a token says where."""
    url = resource.url + "/api"
    refused = httpx.get(url, verify=resource.trusting, trust_env=False)
    assert refused.status_code == 401
    assert find(resource, asked=url, challenges=refused.headers.get_list("www-authenticate")) == ISSUERS[0]


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer resource_metadata="https://elsewhere.example/.well-known/oauth-protected-resource"',
        'Bearer resource_metadata="https://localhost/.well-known/oauth-protected-resource"',
        'Bearer resource_metadata="http://{place}/.well-known/oauth-protected-resource"',
        'Bearer resource_metadata="https://user@{place}/.well-known/oauth-protected-resource"',
        'Bearer resource_metadata="/.well-known/oauth-protected-resource"',
        'Bearer resource_metadata="https://{place}/a", DPoP resource_metadata="https://{place}/b"',
        "Bearer",
        'Bearer resource_metadata="',
    ],
    ids=["another host", "another port", "plain http", "a user", "relative", "two places", "none", "malformed"],
)
def test_challenges_that_are_not_followed(resource: Resource, challenge: str) -> None:
    """§7.3: nothing is fetched from anywhere else."""
    place = f"localhost:{resource.port}"
    with pytest.raises(DiscoveryError):
        find(resource, asked=f"https://{place}/api", challenges=[challenge.replace("{place}", place)])


def test_a_challenge_does_not_change_the_resource(resource: Resource) -> None:
    """Metadata at the same origin that are of another resource are not taken."""
    resource.publish(resource=resource.url + "/other")
    challenge = f'Bearer resource_metadata="{resource.url}/.well-known/oauth-protected-resource"'
    with pytest.raises(DiscoveryError, match="another resource"):
        find(resource, challenges=[challenge])
