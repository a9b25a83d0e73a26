"""Nonces for DPoP proofs (RFC 9449 §8): a proof that has one was made lately, and not in advance.

No node remembers any: a nonce is a function of the time and of a secret that all nodes have, so each knows those of the
others, also after a restart.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from mtls_as.rfc.rfc4648_base64url import encode_base64url

PERIOD: Final = 60.0
"""Seconds until another nonce is given out; one is good until the end of the next period, so for a minute at least."""

_BYTES: Final = 18


@dataclass(frozen=True, slots=True)
class DPoPNonces:
    """The nonces of one secret, of 32 bytes."""

    secret: bytes = field(repr=False)

    def current(self, at: float) -> str:
        """The nonce to give out at a time in epoch seconds."""
        return self._of_period(int(at // PERIOD))

    def is_good(self, nonce: str, at: float) -> bool:
        """Whether it is of this period or the one before; or of the next, since another node's clock may be ahead."""
        period = int(at // PERIOD)
        given = nonce.encode("utf-8", "surrogatepass")
        return any(
            hmac.compare_digest(given, self._of_period(known).encode("ascii"))
            for known in (period, period - 1, period + 1)
        )

    def _of_period(self, period: int) -> str:
        return encode_base64url(hmac.digest(self.secret, str(period).encode("ascii"), hashlib.sha256)[:_BYTES])
