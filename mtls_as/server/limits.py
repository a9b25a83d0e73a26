"""How much of the server one caller may use: requests of addresses and of clients, and failures to authenticate.

A request passes (1) before its form is parsed and anything is verified: the penalties and the rate of its address; and
(2) after its client is authenticated, the rate of the client. Failures count afterwards, from its event. All in the
memory of this process, but for penalties, which all nodes share.

Who shares an address with others pays for them. So addresses of `exempt` networks, those of balancers and proxies, are
left alone, and a certificate that authenticated a client within the last hour is let through to where the penalty is
on its address: a neighbour who guesses locks nobody out who has proven a key.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from mtls_as.pki.presented import PresentedCertificate
from mtls_as.rfc.refusal import Refusal
from mtls_as.rfc.rfc4291_addresses import Network, peer_key
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from mtls_as.rfc.rfc6749_framework import ErrorCode, OAuthError
from mtls_as.server.events import RequestEvent
from mtls_as.server.penalties import Penalties, PenaltyKind
from mtls_as.server.rates import Buckets, Rate, RecentKeys

LimitName = Literal["address", "client", "failures"]

PROVEN_SECONDS: Final = 3_600.0
FAILURE_OF_CLIENT: Final = 4.0
"""How many requests a refused one of an authenticated client costs beside itself."""

# Who is refused for these has done nothing wrong, or was not looked at.
_NOT_A_FAILURE: Final = frozenset(
    {
        Refusal.REVOCATION_UNKNOWN,
        Refusal.REGISTERED_KEYS_UNAVAILABLE,
        Refusal.SPIFFE_BUNDLE_UNAVAILABLE,
        Refusal.DPOP_NONCE_NEEDED,
    }
)
_FAILURES: Final = frozenset({ErrorCode.INVALID_CLIENT, ErrorCode.INVALID_TOKEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLimits:
    """The rates at one endpoint; None for no limit."""

    client: Rate | None = None
    address: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What is allowed. Every process counts for itself."""

    endpoints: Mapping[str, EndpointLimits] = field(default_factory=lambda: MappingProxyType({}))
    """By the endpoint's name in events."""
    failures: Rate | None = None
    """Failed authentications of one address, or of one certificate; None to count none."""
    penalty: float = 60.0
    """Seconds that nobody listens to who failed more often."""
    exempt: tuple[Network, ...] = ()
    """Addresses that stand for many: their requests and failures are not counted by address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What is left to a client at an endpoint, from 0 to 1."""

    client_id: str
    endpoint: str
    left: float


class RequestLimits:
    """Lets requests in, or not. On one event loop; an `EventSink`, too. `monotonic` is a clock that nobody sets."""

    def __init__(
        self,
        penalties: Penalties,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        note: Callable[[LimitName, str], None] = lambda _limit, _endpoint: None,
    ) -> None:
        """`note` is told of each request that is refused: the limit, and the endpoint."""
        self.penalties = penalties
        self._monotonic = monotonic
        self._note = note
        self._settings = LimitSettings()
        self._addresses: dict[str, Buckets] = {}
        self._clients: dict[str, Buckets] = {}
        self._failures: Buckets | None = None
        self._keys: RecentKeys[str, str] = RecentKeys()
        self._proven: RecentKeys[str, float] = RecentKeys()

    def use(self, settings: LimitSettings) -> None:
        """Take settings over. Buckets whose rates have not changed stay as full as they are."""
        ends = settings.endpoints.items()
        self._addresses = _buckets({name: limits.address for name, limits in ends}, self._addresses)
        self._clients = _buckets({name: limits.client for name, limits in ends}, self._clients)
        before = {"": self._failures} if self._failures else {}
        self._failures = _buckets({"": settings.failures}, before).get("")
        if settings.exempt != self._settings.exempt:
            self._keys = RecentKeys()
        self._settings = settings

    def admit(self, endpoint: str, peer: str | None) -> str:
        """Let a request in before anything about it was verified, and say what its address counts as.

        `peer` is the address that it comes from, None where that is not known. Raises `OAuthError`.
        """
        if peer is None:
            return ""
        key = self._keys.get(peer)
        if key is None:
            key = peer_key(peer, exempt=self._settings.exempt)
            self._keys.put(peer, key)
        buckets = self._addresses.get(endpoint)
        if key and buckets is not None:
            wait = buckets.take(key, self._monotonic())
            if wait:
                raise self._refusal("address", endpoint, wait, f"the address {key} has used up its rate")
        return key

    def refuse_penalised(self, endpoint: str, key: str, certificate: PresentedCertificate | None) -> None:
        """Raise `OAuthError` if its address, as `admit` said, or its certificate has failed too often."""
        penalties = self.penalties
        if not penalties:
            return
        now, thumbprint = self._monotonic(), None
        if certificate is not None:
            thumbprint = encode_base64url(certificate.leaf.sha256)
            left = penalties.left(PenaltyKind.CERTIFICATE, thumbprint, now)
            if left:
                raise self._refusal("failures", endpoint, left, "the certificate has failed too often")
        left = penalties.left(PenaltyKind.ADDRESS, key, now) if key else 0.0
        if left and not self._is_proven(thumbprint, now):
            raise self._refusal("failures", endpoint, left, f"the address {key} has failed too often")

    def spend(self, endpoint: str, client_id: str) -> None:
        """Let an authenticated client's request go on, or raise `OAuthError`."""
        buckets = self._clients.get(endpoint)
        if buckets is not None:
            wait = buckets.take(client_id, self._monotonic())
            if wait:
                raise self._refusal("client", endpoint, wait, f"the client {client_id} has used up its rate")

    def __call__(self, event: RequestEvent) -> None:
        """Count what came of a request."""
        if event.error is None:
            if event.certificate is not None and event.certificate_thumbprint is not None:
                self._note_proof(event.certificate_thumbprint)
        elif event.client_id is not None:
            buckets = self._clients.get(event.endpoint)
            if buckets is not None and event.refusal is not Refusal.RATE_LIMITED:
                buckets.charge(event.client_id, self._monotonic(), FAILURE_OF_CLIENT)
        elif event.error in _FAILURES and event.refusal not in _NOT_A_FAILURE and self._failures is not None:
            self._note_failure(self._failures, event)

    def budgets(self, limit: int) -> list[Budget]:
        """The clients that have least left, at most so many."""
        now = self._monotonic()
        found = [
            Budget(client_id=client_id, endpoint=endpoint, left=left)
            for endpoint, buckets in self._clients.items()
            for client_id, left in buckets.left(now).items()
        ]
        return sorted(found, key=lambda budget: (budget.left, budget.client_id))[:limit]

    def _is_proven(self, thumbprint: str | None, now: float) -> bool:
        at = None if thumbprint is None else self._proven.get(thumbprint)
        return at is not None and now < at + PROVEN_SECONDS

    def _note_proof(self, thumbprint: str) -> None:
        now = self._monotonic()
        at = self._proven.get(thumbprint)
        if at is None or now >= at + PROVEN_SECONDS / 4:
            self._proven.put(thumbprint, now)

    def _note_failure(self, failures: Buckets, event: RequestEvent) -> None:
        """A failure is the certificate's, and its address's unless the certificate has proven itself."""
        now, thumbprint, address = self._monotonic(), event.certificate_thumbprint, event.counted_as
        found = [] if thumbprint is None else [(PenaltyKind.CERTIFICATE, thumbprint)]
        if address and not self._is_proven(thumbprint, now):
            found.append((PenaltyKind.ADDRESS, address))
        for kind, value in found:
            if failures.take(f"{kind} {value}", now):
                self.penalties.impose(kind, value, seconds=self._settings.penalty, now=now)

    def _refusal(self, limit: LimitName, endpoint: str, wait: float, detail: str) -> OAuthError:
        self._note(limit, endpoint)
        refusal = Refusal.TOO_MANY_FAILURES if limit == "failures" else Refusal.RATE_LIMITED
        return OAuthError(ErrorCode.TEMPORARILY_UNAVAILABLE, refusal, detail, retry_after=math.ceil(wait))


def _buckets(rates: Mapping[str, Rate | None], before: Mapping[str, Buckets]) -> dict[str, Buckets]:
    found = dict[str, Buckets]()
    for name, rate in rates.items():
        if rate is not None:
            known = before.get(name)
            found[name] = known if known is not None and known.rate == rate else Buckets(rate)
    return found
