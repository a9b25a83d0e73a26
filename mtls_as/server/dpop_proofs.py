"""DPoP proofs as the token endpoint takes them (RFC 9449 §5): each good for this endpoint, now, and once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.rfc.rfc9449_dpop import Proof, ProofError, single_proof, verify_proof
from mtls_as.server.dpop_nonces import DPoPNonces
from mtls_as.server.ports import ReplayStore, StorageUnavailable

CLOCK_DIFFERENCE: Final = 300.0
"""Seconds that the clocks of nodes may differ. A use is remembered for so much longer than the proof is good: no node
may forget what another would still let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPProofs:
    """Checks the proofs of requests to one URL, by which clients know the endpoint. No request can say another.

    With `nonces`, a proof needs one that is current.
    """

    url: str
    replays: ReplayStore
    nonces: DPoPNonces | None = None

    def verify(self, headers: Sequence[str], *, at: float) -> Proof | None:
        """The proof among the values of a request's `DPoP` headers, or None without any. Nothing is used up yet.

        Raises `OAuthError`: `invalid_dpop_proof`, or `use_dpop_nonce`.
        """
        if not headers:
            return None
        try:
            proof = verify_proof(single_proof(headers), method="POST", url=self.url, at=at)
        except ProofError as error:
            raise OAuthError(ErrorCode.INVALID_DPOP_PROOF, error.refusal, str(error)) from None
        if self.nonces is not None and (proof.nonce is None or not self.nonces.is_good(proof.nonce, at)):
            detail = "the proof has no nonce" if proof.nonce is None else "the proof's nonce is none, or is too old"
            raise OAuthError(ErrorCode.USE_DPOP_NONCE, Refusal.DPOP_NONCE_NEEDED, detail)
        return proof

    async def use(self, proof: Proof) -> None:
        """Let a proof in, once on all nodes (§11.1).

        Call it for authenticated clients alone: nobody else is to fill the storage. Raises `OAuthError`:
        `invalid_dpop_proof`, or `temporarily_unavailable` when that cannot be told.
        """
        try:
            is_first = await self.replays.use(proof.use, proof.ends_at + CLOCK_DIFFERENCE)
        except StorageUnavailable as error:
            raise OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, Refusal.TEMPORARILY_UNAVAILABLE, str(error)) from None
        if not is_first:
            detail = "a proof with this key and jti was used before"
            raise OAuthError(ErrorCode.INVALID_DPOP_PROOF, Refusal.DPOP_PROOF_REPLAYED, detail)

    def next_nonce(self, at: float) -> str | None:
        """The nonce for the client's next proof (§8.2), at a time in epoch seconds; None where none is needed."""
        return None if self.nonces is None else self.nonces.current(at)
