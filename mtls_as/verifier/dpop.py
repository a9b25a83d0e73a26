"""DPoP at the resource server: what the request says, and a memory of proofs, each of which is good for once."""

import hashlib
import heapq
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from mtls_as.verifier.errors import VerificationUnavailable

MAX_PROOFS: Final = 200_000
"""Some 30 MB; proofs are remembered for a minute, so that is 3,000 requests per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPRequest:
    """A request that came with `Authorization: DPoP`: its one proof, its method, and its URL.

    The URL is what clients know this resource by, from the configuration: no `Host` and no forwarded header.
    """

    proof: str = field(repr=False)
    method: str
    url: str


class ProofStore(Protocol):
    """What proofs were used (RFC 9449 §11.1). Resource servers of one URL that share it share a store of their own."""

    def use(self, key: str, until: float) -> Awaitable[bool]:
        """Note a use, and say whether it was the first; it may be forgotten after a time in epoch seconds.

        Where several clocks are in play, remember for as much longer as they may differ. Raises
        `VerificationUnavailable` when it cannot tell; then nothing is let in.
        """
        ...


class ProofMemory:
    """The proofs that one process has seen. A restart forgets them: a proof is then good again for what is left of it.

    Beyond `max_proofs` within a minute no more is let in. `clock` gives epoch seconds, as that of the verifier.
    """

    def __init__(self, *, max_proofs: int = MAX_PROOFS, clock: Callable[[], float] = time.time) -> None:
        self._max_proofs = max_proofs
        self._clock = clock
        self._seen: set[bytes] = set()
        self._ends: list[tuple[float, bytes]] = []

    async def use(self, key: str, until: float) -> bool:
        """As `ProofStore.use`."""
        now = self._clock()
        while self._ends and self._ends[0][0] < now:
            self._seen.discard(heapq.heappop(self._ends)[1])
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        if digest in self._seen:
            return False
        if len(self._seen) >= self._max_proofs:
            raise VerificationUnavailable(
                f"{self._max_proofs} DPoP proofs are remembered, and there is room for no more"
            )
        self._seen.add(digest)
        heapq.heappush(self._ends, (until, digest))
        return True
