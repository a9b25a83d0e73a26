"""Key sets kept from remote documents."""

from collections.abc import Callable

from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.remote.remembered import COOL_DOWN, MAX_AGE, Remembered
from mtls_as.rfc.rfc7517_jwk import JWKError, JWKSet, parse_jwks
from mtls_as.rfc.rfc8414_metadata import MetadataError, metadata_url, parse_metadata

__all__ = ["COOL_DOWN", "MAX_AGE", "DiscoveredKeySet", "RemoteKeySet"]


class RemoteKeySet(Remembered[JWKSet]):
    """The JWK Set at one URL. Keys once known stay in use until a fetch brings a set with at least one usable key."""

    def __init__(
        self,
        url: str,
        fetcher: DocumentFetcher,
        *,
        clock: Callable[[], float],
        cool_down: float = COOL_DOWN,
        max_age: float = MAX_AGE,
        eager: bool = False,
    ) -> None:
        super().__init__(clock=clock, cool_down=cool_down, max_age=max_age, eager=eager)
        self._url = url
        self._fetcher = fetcher
        self._place = url

    @property
    def places(self) -> tuple[str, ...]:
        """The URL that the keys come from, or as long as none did, where they are looked for."""
        return (self._place,)

    async def keys(self) -> JWKSet:
        """The keys, from memory once they are known. Raises `DocumentUnavailable` as long as there are none."""
        return await self.get()

    async def _load(self) -> JWKSet:
        try:
            keys = parse_jwks(await self._document())
        except JWKError as error:
            raise DocumentUnavailable(f"{self._url}: {error}") from None
        if not keys.keys:
            raise DocumentUnavailable(f"{self._url}: the set holds no usable key")
        return keys

    async def _document(self) -> object:
        return await self._fetcher.get_json(self._url)


class DiscoveredKeySet(RemoteKeySet):
    """The JWK Set of an issuer, whose metadata says where it is (RFC 8414 §3). Raises `MetadataError` for a bad issuer.

    The place is relied on as long as keys come from it.
    """

    def __init__(
        self,
        issuer: str,
        fetcher: DocumentFetcher,
        *,
        clock: Callable[[], float],
        cool_down: float = COOL_DOWN,
        max_age: float = MAX_AGE,
        eager: bool = False,
    ) -> None:
        super().__init__(metadata_url(issuer), fetcher, clock=clock, cool_down=cool_down, max_age=max_age, eager=eager)
        self._issuer = issuer
        self._is_certain = False

    async def _document(self) -> object:
        jwks_uri, self._is_certain = self._place if self._is_certain else await self._discover(), False
        document = await self._fetcher.get_json(jwks_uri)
        self._place, self._is_certain = jwks_uri, True
        return document

    async def _discover(self) -> str:
        try:
            metadata = parse_metadata(await self._fetcher.get_json(self._url), issuer=self._issuer)
        except MetadataError as error:
            raise DocumentUnavailable(f"{self._url}: {error}") from None
        if metadata.jwks_uri is None:
            raise DocumentUnavailable(f"{self._url}: there is no jwks_uri")
        return metadata.jwks_uri
