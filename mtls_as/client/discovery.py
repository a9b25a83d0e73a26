"""Which authorization server a resource takes tokens of, as it says itself (RFC 9728), out of those that are allowed.

Nothing of this happens by itself: a resource could otherwise choose who learns of its clients, and where they go.
"""

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mtls_as.client.errors import DiscoveryError
from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.rfc.rfc3986_uri import https_origin, is_https_url
from mtls_as.rfc.rfc9110_challenge import ChallengeError, parse_challenges
from mtls_as.rfc.rfc9728_resource_metadata import ResourceMetadataError, metadata_url, parse_resource_metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredResource:
    """What a `TokenSource` or `MutualTLSAuth` needs to know of a resource."""

    resource: str
    """Its identifier, for the token request (RFC 8707)."""
    issuer: str
    """The authorization server: one of those that the caller allows."""
    scopes_supported: tuple[str, ...]


async def discover_resource_async(
    resource: str,
    *,
    issuers: Sequence[str],
    asked: str | None = None,
    challenges: Iterable[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> DiscoveredResource:
    """Fetch a resource's metadata (§3), and choose the first of `issuers`, to the character, that they name (§7.6).

    `resource` is its identifier, and the metadata must be of that one (§3.3). They are at their well-known URL; or with
    `challenges`, all values of `WWW-Authenticate` in the answer to a request for the URL `asked`, where these say, if
    that is of the same origin (§5.1, §7.3). `ssl_context` says whom to trust, else it is the system's CAs.

    Raises `DiscoveryError` alone.
    """
    try:
        url = metadata_url(resource) if challenges is None else _challenged_url(challenges, asked or resource)
        fetcher = DocumentFetcher(ssl_context=ssl_context)
        try:
            found = parse_resource_metadata(await fetcher.get_json(url), resource=resource)
        finally:
            await fetcher.aclose()
    except (ChallengeError, DocumentUnavailable, ResourceMetadataError) as error:
        raise DiscoveryError(f"{resource}: {error}") from None
    allowed = [issuer for issuer in issuers if issuer in found.authorization_servers]
    if not allowed:
        raise DiscoveryError(f"{resource}: it takes tokens of none of the authorization servers that are allowed")
    return DiscoveredResource(resource=resource, issuer=allowed[0], scopes_supported=found.scopes_supported)


def discover_resource(
    resource: str,
    *,
    issuers: Sequence[str],
    asked: str | None = None,
    challenges: Iterable[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> DiscoveredResource:
    """`discover_resource_async` for blocking callers."""
    finding = discover_resource_async(
        resource, issuers=issuers, asked=asked, challenges=challenges, ssl_context=ssl_context
    )
    with ThreadPoolExecutor(1) as executor:  # the caller may have an event loop that runs
        return executor.submit(asyncio.run, finding).result()


def _challenged_url(challenges: Iterable[str], asked: str) -> str:
    """Where the challenges say that the metadata are: one place, of the origin that was asked."""
    urls = {challenge.parameters.get("resource_metadata") for challenge in parse_challenges(challenges)} - {None}
    if len(urls) != 1:
        raise ResourceMetadataError("the answer does not say where the metadata are, or says several places")
    (url,) = urls
    if not is_https_url(url) or not is_https_url(asked) or https_origin(str(url)) != https_origin(asked):
        raise ResourceMetadataError("the metadata are said to be at another origin")
    return str(url)
