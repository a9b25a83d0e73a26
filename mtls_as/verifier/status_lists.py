"""Which tokens their issuer has revoked, from its status lists (draft-ietf-oauth-status-list §8)."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from mtls_as.remote.documents import DocumentFetcher, DocumentUnavailable
from mtls_as.remote.remembered import Remembered
from mtls_as.rfc.rfc3986_uri import https_origin
from mtls_as.rfc.rfc7519_jwt import JWTError, VerifiedJWT
from mtls_as.rfc.status_list import (
    MAX_LIST_BYTES,
    MAX_LIST_TOKEN_LENGTH,
    MEDIA_TYPE,
    StatusListClaims,
    StatusListError,
    StatusReference,
    read_status_list_claims,
)
from mtls_as.verifier.errors import InvalidToken, TokenRefusal, VerificationUnavailable

MAX_TTL: Final = 3600.0
"""Seconds that a list counts at most, whatever its issuer allows, and without a word of it."""
COOL_DOWN: Final = 5.0
MAX_LISTS: Final = 4_096
MAX_BYTES: Final = 64 * 1024 * 1024


class ListVerifier(Protocol):
    """Checks the signature of a list by the issuer's keys."""

    def __call__(self, token: str) -> Awaitable[VerifiedJWT]:
        """Raises `JWTError`, or `DocumentUnavailable` as long as no key is known."""
        ...


class StatusLists:
    """The lists that tokens name, fetched from the issuer's own origins alone, whatever a token says.

    A list counts for its `ttl`, from the time on that it says it was made: an old one that somebody replays, or a cache
    held back, is worth no more than what is left of that. It is fetched anew after half of the time, beside the running
    requests. `tolerance` is seconds beyond its end for which a list still counts while no new one can be had.
    """

    def __init__(
        self,
        *,
        issuer: str,
        origins: Callable[[], Collection[str]],
        verify: ListVerifier,
        fetcher: DocumentFetcher,
        clock: Callable[[], float],
        leeway: float,
        tolerance: float,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._issuer = issuer
        self._origins = origins
        self._verify = verify
        self._fetcher = fetcher
        self._clock = clock
        self._leeway = leeway
        self._tolerance = tolerance
        self._max_bytes = max_bytes
        self._lists: OrderedDict[str, _RemoteList] = OrderedDict()

    def is_known_valid(self, reference: StatusReference) -> bool:
        """Whether memory alone says that the token is good. If not, `require_valid` tells."""
        known = self._lists.get(reference.uri)
        if known is None or (claims := known.known()) is None:
            return False
        try:
            return claims.statuses.status(reference.index) == 0
        except StatusListError:
            return False

    async def require_valid(self, reference: StatusReference) -> None:
        """Return if the list says that the token is good, and for no other reason.

        Raises `InvalidToken`, or `VerificationUnavailable` where no current list can be had.
        """
        try:
            claims = await self._at(reference.uri).get()
        except DocumentUnavailable as error:
            raise VerificationUnavailable(str(error)) from None
        try:
            status = claims.statuses.status(reference.index)
        except StatusListError as error:
            raise InvalidToken(TokenRefusal.CLAIM_REFUSED, f"status: {error}") from None
        if status != 0:
            raise InvalidToken(TokenRefusal.REVOKED, f"its status is {status}")

    def _at(self, uri: str) -> "_RemoteList":
        found = self._lists.get(uri)
        if found is None:
            # A token chooses among the issuer's lists; it does not choose whom this server talks to.
            if https_origin(uri) not in {https_origin(each) for each in self._origins()}:
                raise InvalidToken(TokenRefusal.CLAIM_REFUSED, "status: the list is not of an origin of the issuer")
            self._make_room()
            found = self._lists[uri] = _RemoteList(
                uri,
                issuer=self._issuer,
                verify=self._verify,
                fetcher=self._fetcher,
                clock=self._clock,
                leeway=self._leeway,
                tolerance=self._tolerance,
            )
        self._lists.move_to_end(uri)
        return found

    def _make_room(self) -> None:
        size = sum(each.size for each in self._lists.values())
        while self._lists and (size > self._max_bytes - MAX_LIST_BYTES or len(self._lists) >= MAX_LISTS):
            size -= self._lists.popitem(last=False)[1].size


class _RemoteList(Remembered[StatusListClaims]):
    """The list at one URI."""

    def __init__(
        self,
        uri: str,
        *,
        issuer: str,
        verify: ListVerifier,
        fetcher: DocumentFetcher,
        clock: Callable[[], float],
        leeway: float,
        tolerance: float,
    ) -> None:
        super().__init__(clock=clock, cool_down=COOL_DOWN)
        self._uri = uri
        self._issuer = issuer
        self._verify = verify
        self._fetcher = fetcher
        self._leeway = leeway
        self._tolerance = tolerance

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return 1_024 + (len(self._value.statuses.octets) if self._value is not None else 0)

    async def _load(self) -> StatusListClaims:
        text = await self._fetcher.get_text(self._uri, media_type=MEDIA_TYPE, limit=MAX_LIST_TOKEN_LENGTH)
        try:
            claims = read_status_list_claims((await self._verify(text)).claims, issuer=self._issuer, uri=self._uri)
        except (JWTError, StatusListError) as error:
            raise DocumentUnavailable(f"{self._uri}: {error}") from None
        now = self._clock()
        if claims.issued_at > now + self._leeway:
            raise DocumentUnavailable(f"{self._uri}: the list is from the future")
        if now >= self._end(claims):
            raise DocumentUnavailable(f"{self._uri}: the list has ended, or is older than its ttl")
        if self._value is not None and claims.issued_at < self._value.issued_at:
            raise DocumentUnavailable(f"{self._uri}: the list is older than the one before")
        return claims

    def _is_usable(self, value: StatusListClaims) -> bool:
        now = self._clock()
        return value.issued_at - self._leeway <= now < self._end(value) + self._tolerance

    def _is_young(self) -> bool:
        if self._value is None:
            return False
        return 0 <= self._clock() - self._fetched_at < _ttl(self._value) / 2

    def _end(self, claims: StatusListClaims) -> float:
        end = claims.issued_at + _ttl(claims)
        if claims.expires_at is not None:
            end = min(end, claims.expires_at)
        return end + self._leeway


def _ttl(claims: StatusListClaims) -> float:
    return MAX_TTL if claims.ttl is None else min(claims.ttl, MAX_TTL)
