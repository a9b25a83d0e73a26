"""Publishes which tokens were revoked (draft-ietf-oauth-status-list): signed lists, made from what the storage knows.

A list says INVALID of an index when a revocation matches what is remembered of its token, and when nothing is
remembered though a revocation of many tokens could match it: as after a process that died before it wrote down its last
tokens.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
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
_MAX_MADE: Final = 1_000


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
    _making: dict[int, asyncio.Task[str | None]] = field(default_factory=dict, init=False)

    def uri(self, number: int) -> str:
        """Where a list is published."""
        return f"{self.url}/{number}"

    async def uris(self) -> tuple[str, ...]:
        """Those of all lists (§9). Raises `OAuthError` `temporarily_unavailable`."""
        try:
            numbers = await self.store.numbers()
        except StorageUnavailable as error:
            raise _unavailable(error) from None
        return tuple(self.uri(number) for number in sorted({block // BLOCKS_IN_LIST for block in numbers}))

    async def token(self, number: int) -> str | None:
        """A list as a signed JWT, or None if there is none of this number.

        It holds every revocation that was acknowledged when it was made, which is what its `iat` says; of one that
        concerns many tokens, those that were issued in its last seconds may follow `SETTLE_SECONDS` later. Raises
        `OAuthError` `temporarily_unavailable` if the storage is silent: an old list would be a wrong yes.
        """
        made = self._made.get(number)
        if made is not None and 0 <= self.monotonic() - made.at < PUBLISH_SECONDS:
            return made.token
        task = self._making.get(number)
        if task is None:
            task = self._making[number] = asyncio.create_task(self._make(number))
            task.add_done_callback(lambda done: self._forget(number, done))
        try:
            return await asyncio.shield(task)
        except StorageUnavailable as error:
            raise _unavailable(error) from None

    def _forget(self, number: int, done: "asyncio.Task[str | None]") -> None:
        del self._making[number]
        if not done.cancelled():
            done.exception()  # seen, also where everybody who waited has gone away

    async def _make(self, number: int) -> str | None:
        started, at = self.monotonic(), self.clock()
        await self.revocations.refresh()
        first = number * BLOCKS_IN_LIST
        blocks = await self.store.blocks(range(first, first + BLOCKS_IN_LIST))
        if not blocks:
            return None
        revoked = set(_named(self.revocations.of_one_token(), number))
        many = self.revocations.of_many_tokens()
        if many:
            revoked |= await asyncio.to_thread(_ended_by, many, blocks)
        claims = status_list_claims(
            issuer=self.issuer,
            uri=self.uri(number),
            issued_at=int(at),
            expires_at=int(at) + 2 * self.ttl,
            ttl=self.ttl,
            statuses=StatusList.of_bits(LIST_SIZE, revoked),
        )
        key = self.signer.key(self.algorithm, at)
        token = await self.signer.sign(claims, type=STATUS_LIST_TYPE, key=key, max_length=MAX_LIST_TOKEN_LENGTH)
        self._made[number] = _Made(started, token)
        self._made.move_to_end(number)
        if len(self._made) > _MAX_MADE:
            self._made.popitem(last=False)
        return token


def _named(revocations: Iterable[Revocation], number: int) -> Iterator[int]:
    """The indices in a list of tokens that were revoked by their `jti`, which says them."""
    for revocation in revocations:
        index = StatusIndex.of_token_id(revocation.value)
        if index is not None and index.list_number == number:
            yield index.place


def _ended_by(revocations: Iterable[tuple[Revocation, float]], blocks: Iterable[StatusBlock]) -> set[int]:
    """The indices of the tokens that revocations end, each of which was heard of so many seconds ago."""
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
    indices = set[int]()
    for block in blocks:
        base = block.number % BLOCKS_IN_LIST * BLOCK_SIZE
        for offset, (client, certificate, issued_at) in enumerate(unpack(block.records)):
            ended = max(everything, clients.get(client, everything), certificates.get(certificate, everything))
            if issued_at < ended:
                indices.add(base + offset)
        if block.leased_at < unexplained:
            indices.update(base + offset for offset in block.unexplained)
    return indices


def _unavailable(error: StorageUnavailable) -> OAuthError:
    return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error))
