"""Publishes which tokens were revoked (draft-ietf-oauth-status-list): signed lists, made from what the storage knows.

A list says INVALID of an index when a revocation matches what is remembered of its token, and when nothing is
remembered though a revocation of many tokens could match it: as after a process that died before it wrote down its last
tokens.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.status_list import (
    MAX_LIST_TOKEN_LENGTH,
    STATUS_LIST_TYPE,
    StatusList,
    status_list_claims,
)
from mtls_as.server.ports import Clock, StorageUnavailable
from mtls_as.server.revocation import Revocation, RevocationKind
from mtls_as.server.revocations import Revocations
from mtls_as.server.status_block import (
    BLOCK_SIZE,
    BLOCKS_IN_LIST,
    LIST_SIZE,
    StatusBlock,
    StatusBlockStore,
    StatusIndex,
    short_name,
    unpack,
)
from mtls_as.server.token_signing import TokenSigner

PUBLISH_SECONDS: Final = 1.0
"""For how long a list is handed out before it is made anew."""
SETTLE_SECONDS: Final = 5.0
"""What the processes have, after a revocation of many tokens, to write down theirs: each looks every second."""
_AHEAD: Final = 4
"""So many lists behind the last known one may have been begun by other nodes meanwhile."""
_MAX_MADE: Final = 1_000
_MAX_JUDGED: Final = 10_000
_BLOCK_OCTETS: Final = BLOCK_SIZE // 8


class _Made(NamedTuple):
    at: float
    token: str


@dataclass(slots=True, kw_only=True)
class StatusLists:
    """The lists of one issuer, below `url`. A list may be relied on for `ttl` seconds. To be used on one event loop."""

    issuer: str
    url: str
    ttl: int
    store: StatusBlockStore
    revocations: Revocations
    signer: TokenSigner
    algorithm: str
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    _made: OrderedDict[int, _Made] = field(default_factory=OrderedDict, init=False)
    _judged: "OrderedDict[int, _Judged]" = field(default_factory=OrderedDict, init=False)
    _making: dict[int, asyncio.Task[str | None]] = field(default_factory=dict, init=False)
    _known: frozenset[int] = field(default=frozenset(), init=False)
    """The lists that there were at the last look."""
    _looked_at: float = field(default=float("-inf"), init=False)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def uri(self, number: int) -> str:
        """Where a list is published."""
        return f"{self.url}/{number}"

    async def uris(self) -> tuple[str, ...]:
        """Those of all lists (§9). Raises `OAuthError` `temporarily_unavailable`."""
        try:
            await self._look()
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        return tuple(self.uri(number) for number in sorted(self._known))

    async def token(self, number: int) -> str | None:
        """A list as a signed JWT, or None if there is none of this number.

        It holds every revocation that was acknowledged when it was made, which is what its `iat` says; of one that
        concerns many tokens, those that were issued in its last seconds may follow `SETTLE_SECONDS` later. Raises
        `OAuthError` `temporarily_unavailable` if the storage is silent: an old list would be a wrong yes.
        """
        made = self._made.get(number)
        if made is not None and 0 <= self.monotonic() - made.at < PUBLISH_SECONDS:
            return made.token
        try:
            if not await self._may_exist(number):
                return None
            task = self._making.get(number)
            if task is None:
                task = self._making[number] = asyncio.create_task(self._make(number))
                task.add_done_callback(lambda done: self._forget(number, done))
            return await asyncio.shield(task)
        except StorageUnavailable as error:
            raise _unavailable(error) from None

    async def _may_exist(self, number: int) -> bool:
        """Whether the storage is worth asking: anybody may invent numbers, which cost it one look a second in all."""
        if not self._is_known(number):
            await self._look()
        return self._is_known(number)

    async def _look(self) -> None:
        """Learn which lists there are, once a second for all who want to know. Raises `StorageUnavailable`."""
        async with self._looking:
            if self.monotonic() - self._looked_at >= PUBLISH_SECONDS:
                blocks = await self.store.numbers()
                self._known = frozenset(block // BLOCKS_IN_LIST for block in blocks)
                self._looked_at = self.monotonic()

    def _is_known(self, number: int) -> bool:
        last = max(self._known, default=-1)
        return number in self._known or last < number <= last + _AHEAD

    def _forget(self, number: int, done: "asyncio.Task[str | None]") -> None:
        del self._making[number]
        if not done.cancelled():
            done.exception()  # seen, also where everybody who waited has gone away

    async def _make(self, number: int) -> str | None:
        started, at = self.monotonic(), self.clock()
        await self.revocations.refresh()
        changes, many = self.revocations.broad_changes, _Many.of(self.revocations.of_many_tokens())
        numbers = range(number * BLOCKS_IN_LIST, (number + 1) * BLOCKS_IN_LIST)
        # What is closed and was judged by the same revocations is not looked at again.
        known = {each: self._judged[each].octets for each in numbers if self._is_judged(each, changes)}
        blocks = await self.store.blocks(numbers, without_records=frozenset(known))
        if not blocks:
            return None
        octets = bytearray(LIST_SIZE // 8)
        for block in blocks:
            ended = known.get(block.number)
            if ended is None:
                ended = await asyncio.to_thread(many.judge, block)
                if not block.unexplained:
                    self._remember(block.number, _Judged(changes, ended))
            first = block.number % BLOCKS_IN_LIST * _BLOCK_OCTETS
            octets[first : first + _BLOCK_OCTETS] = ended
        for place in _named(self.revocations.of_one_token(), number):
            octets[place >> 3] |= 1 << (place & 7)
        token = await self._sign(number, StatusList(1, bytes(octets)), at=at)
        self._made[number] = _Made(started, token)
        self._made.move_to_end(number)
        if len(self._made) > _MAX_MADE:
            self._made.popitem(last=False)
        return token

    async def _sign(self, number: int, statuses: StatusList, *, at: float) -> str:
        claims = status_list_claims(
            issuer=self.issuer,
            uri=self.uri(number),
            issued_at=int(at),
            expires_at=int(at) + 2 * self.ttl,
            ttl=self.ttl,
            statuses=statuses,
        )
        key = self.signer.key(self.algorithm, at)
        return await self.signer.sign(claims, type=STATUS_LIST_TYPE, key=key, max_length=MAX_LIST_TOKEN_LENGTH)

    def _is_judged(self, block: int, changes: int) -> bool:
        judged = self._judged.get(block)
        return judged is not None and judged.changes == changes

    def _remember(self, block: int, judged: "_Judged") -> None:
        self._judged[block] = judged
        self._judged.move_to_end(block)
        if len(self._judged) > _MAX_JUDGED:
            self._judged.popitem(last=False)


def _named(revocations: Iterable[Revocation], number: int) -> Iterator[int]:
    """The places in a list of tokens that were revoked by their `jti`, which says them."""
    for revocation in revocations:
        index = StatusIndex.of_token_id(revocation.value)
        if index is not None and index.list_number == number:
            yield index.place


class _Judged(NamedTuple):
    """What the revocations of many tokens have ended in a closed block, as of so many of them."""

    changes: int
    octets: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    """The revocations of many tokens, by the short names that records have: the tokens issued before a time."""

    clients: Mapping[bytes, float]
    certificates: Mapping[bytes, float]
    everything: float
    unexplained: float
    """The latest time of those that were heard of long enough ago for every process to have explained itself."""

    @classmethod
    def of(cls, revocations: Iterable[tuple[Revocation, float]]) -> "_Many":
        """Of revocations, and how many seconds ago each was heard of."""
        clients, certificates = dict[bytes, float](), dict[bytes, float]()
        everything = unexplained = float("-inf")
        for revocation, age in revocations:
            before = revocation.issued_before
            match revocation.kind:
                case RevocationKind.CLIENT:
                    clients[short_name(revocation.value)] = before
                case RevocationKind.CERTIFICATE:
                    certificates[short_name(revocation.value)] = before
                case _:
                    everything = max(everything, before)
            if age >= SETTLE_SECONDS:
                unexplained = max(unexplained, before)
        return cls(clients=clients, certificates=certificates, everything=everything, unexplained=unexplained)

    def judge(self, block: StatusBlock) -> bytes:
        """A bit for each place of a block: whether its token has been ended."""
        octets = bytearray(_BLOCK_OCTETS)
        never = float("-inf")
        if self.clients or self.certificates or self.everything > never:
            for offset, (client, certificate, issued_at) in enumerate(unpack(block.records)):
                if (
                    issued_at < self.everything
                    or issued_at < self.clients.get(client, never)
                    or issued_at < self.certificates.get(certificate, never)
                ):
                    octets[offset >> 3] |= 1 << (offset & 7)
        if block.leased_at < self.unexplained:
            for offset in block.unexplained:
                octets[offset >> 3] |= 1 << (offset & 7)
        return bytes(octets)


def _unavailable(error: StorageUnavailable) -> OAuthError:
    return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error))
