"""Where a verifier has its issuer's keys from."""

from collections.abc import Callable, Mapping
from typing import Protocol

from mtls_as.remote.documents import DocumentFetcher
from mtls_as.remote.key_sets import DiscoveredKeySet, RemoteKeySet
from mtls_as.rfc.rfc3986_uri import is_https_url
from mtls_as.rfc.rfc7517_jwk import JWKSet, parse_jwks


class KeySource(Protocol):
    """Where the issuer's keys come from. What waits raises `DocumentUnavailable` as long as there are none.

    A set that has not changed stays the same object.
    """

    def known(self) -> JWKSet | None:
        """The keys, if memory has them and no refresh is due."""
        ...

    async def keys(self) -> JWKSet: ...

    async def refreshed(self) -> JWKSet: ...

    @property
    def places(self) -> tuple[str, ...]:
        """The URLs that keys come from."""
        ...


class _StaticKeys:
    """Keys from the configuration: there are no others."""

    places: tuple[str, ...] = ()

    def __init__(self, keys: JWKSet) -> None:
        self._keys = keys

    def known(self) -> JWKSet:
        return self._keys

    async def keys(self) -> JWKSet:
        return self._keys

    async def refreshed(self) -> JWKSet:
        return self._keys


def key_source(
    issuer: str,
    jwks_uri: str | None,
    jwks: JWKSet | Mapping[str, object] | None,
    fetcher: DocumentFetcher,
    clock: Callable[[], float],
) -> KeySource:
    """The keys that are given, those at `jwks_uri`, or those that the metadata lead to. Raises `ValueError`."""
    if jwks is not None:
        if jwks_uri is not None:
            raise ValueError("jwks and jwks_uri exclude each other")
        keys = jwks if isinstance(jwks, JWKSet) else parse_jwks(dict(jwks))
        if not keys.keys:
            raise ValueError("jwks holds no usable key")
        return _StaticKeys(keys)
    if jwks_uri is None:
        return DiscoveredKeySet(issuer, fetcher, clock=clock, eager=True)
    if not is_https_url(jwks_uri):
        raise ValueError("jwks_uri is not an https URL")
    return RemoteKeySet(jwks_uri, fetcher, clock=clock, eager=True)
