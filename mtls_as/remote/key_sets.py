"""Key sets kept from remote documents: fetched rarely, replaced only by better ones, asked for at any rate."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.rfc.rfc7517_jwk import JWKError, JWKSet, parse_jwks
from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url, parse_metadata

COOL_DOWN: Final = 30.0
MAX_AGE: Final = 300.0

_log = logging.getLogger(__name__)


class RemoteKeySet:
    """The JWK Set at one URL. All waiting callers share one fetch, and two fetches are `cool_down` seconds apart.

    Keys once known stay in use until a fetch brings a set with at least one usable key: an empty, broken or missing
    answer changes nothing. After `max_age` seconds they are refreshed beside the running requests, which do not wait.
    """

    def __init__(
        self,
        url: str,
        fetcher: DocumentFetcher,
        *,
        clock: Callable[[], float],
        cool_down: float = COOL_DOWN,
        max_age: float = MAX_AGE,
    ) -> None:
        self._url = url
        self._fetcher = fetcher
        self._clock = clock
        self._cool_down = cool_down
        self._max_age = max_age
        self._keys: JWKSet | None = None
        self._fetched_at = 0.0
        self._attempted_at: float | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._failure = "not fetched yet"

    async def keys(self) -> JWKSet:
        """The keys, from memory once they are known. Raises `DocumentUnavailable` as long as there are none."""
        if self._keys is None:
            return await self.refreshed()
        if not 0 <= self._clock() - self._fetched_at < self._max_age:
            self._start()
        return self._keys

    async def refreshed(self) -> JWKSet:
        """The keys after a fetch that was allowed, else those from memory: to be called when a key is missing.

        Raises `DocumentUnavailable` as long as there are none.
        """
        self._start()
        if self._attempt is not None:
            await asyncio.shield(self._attempt)  # a caller that goes away leaves the fetch to the others
        if self._keys is None:
            raise DocumentUnavailable(self._failure)
        return self._keys

    def _start(self) -> None:
        """Start a fetch, unless one is running or the last one is too recent."""
        if self._attempt is not None and not self._attempt.done():
            return
        now = self._clock()
        # A difference below zero means that the clock was set back; waiting for it to catch up could take years.
        if self._attempted_at is not None and 0 <= now - self._attempted_at < self._cool_down:
            self._attempt = None
            return
        self._attempted_at = now
        self._attempt = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            keys = _parse_usable(await self._document())
        except (DocumentUnavailable, JWKError) as error:
            self._failure = f"{self._url}: {error}" if isinstance(error, JWKError) else str(error)
            _log.warning("no new keys: %s", self._failure)
        else:
            self._keys, self._fetched_at = keys, self._clock()

    async def _document(self) -> object:
        return await self._fetcher.get_json(self._url)


def _parse_usable(document: object) -> JWKSet:
    keys = parse_jwks(document)
    if not keys.keys:
        raise JWKError("the set holds no usable key")
    return keys


class DiscoveredKeySet(RemoteKeySet):
    """The JWK Set of an issuer, whose metadata says where it is (RFC 8414 §3). Raises `MetadataError` for a bad issuer.

    The place is remembered as long as keys come from it.
    """

    def __init__(
        self,
        issuer: str,
        fetcher: DocumentFetcher,
        *,
        clock: Callable[[], float],
        cool_down: float = COOL_DOWN,
        max_age: float = MAX_AGE,
    ) -> None:
        super().__init__(metadata_url(issuer), fetcher, clock=clock, cool_down=cool_down, max_age=max_age)
        self._issuer = issuer
        self._jwks_uri: str | None = None

    async def _document(self) -> object:
        jwks_uri, self._jwks_uri = self._jwks_uri or await self._discover(), None
        document = await self._fetcher.get_json(jwks_uri)
        self._jwks_uri = jwks_uri
        return document

    async def _discover(self) -> str:
        try:
            metadata = parse_metadata(await self._fetcher.get_json(self._url), issuer=self._issuer)
        except MetadataError as error:
            raise DocumentUnavailable(f"{self._url}: {error}") from None
        if metadata.jwks_uri is None:
            raise DocumentUnavailable(f"{self._url}: there is no jwks_uri")
        return metadata.jwks_uri
