"""When certificates end, as metrics tell it: the soonest of each kind, within a bound."""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mtls_as.rfc.rfc5280_certificate import Certificate
from mtls_as.rfc.rfc6749_framework import OAuthError
from mtls_as.server.certificate_inventory import CertificateRole, registered_certificates
from mtls_as.server.clients import Client
from mtls_as.server.ports import ClientFinder, Clock, SpiffeSource, StorageUnavailable, TrustSource

MAX_CLIENTS: Final = 1_000
"""Clients that have a time series of their own: those whose certificate ends soonest."""
MAX_AGE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Expiry:
    """The soonest end (epoch seconds) of the certificates of one role, trust domain and client; `""` where none."""

    not_after: float
    role: str
    trust: str = ""
    client_id: str = ""


class Expiries:
    """Finds out what ends when. What the storage tells is remembered for a minute, and kept while it is silent.

    `seen` gives so many clients with the soonest end of a certificate in use, the most urgent first, and `registered`
    so many stored clients that registered certificates; both raise `StorageUnavailable`.
    """

    def __init__(
        self,
        *,
        server: Callable[[], Sequence[Certificate]],
        trust: TrustSource,
        spiffe: SpiffeSource,
        declared: Sequence[Client],
        clients: ClientFinder,
        seen: Callable[[int], Awaitable[Iterable[tuple[str, float]]]],
        registered: Callable[[int], Awaitable[Iterable[Client]]],
        clock: Clock,
    ) -> None:
        self._server = server
        self._trust = trust
        self._spiffe = spiffe
        self._declared = declared
        self._clients = clients
        self._seen = seen
        self._registered = registered
        self._clock = clock
        self._of_clients: tuple[Expiry, ...] = ()
        self._read_at = float("-inf")
        self.clients_left_out = False

    async def current(self) -> tuple[Expiry, ...]:
        """Everything, in an order that does not change by itself."""
        now = self._clock()
        if not 0 <= now - self._read_at < MAX_AGE_SECONDS:
            self._read_at = now
            # Readiness tells of a storage that is silent; the ends that are known are still true.
            with contextlib.suppress(StorageUnavailable, OAuthError):
                await self._read_clients()
        return (
            *_soonest(CertificateRole.SERVER, {"": self._server()}),
            *_anchors(self._trust),
            *_bundles(self._spiffe),
            *self._of_clients,
        )

    async def _read_clients(self) -> None:
        soonest: dict[str, float] = {}
        seen = tuple(await self._seen(MAX_CLIENTS + 1))
        for client_id, not_after in seen:
            client = await self._clients.find(client_id)
            if client is not None and client.enabled:
                soonest[client_id] = not_after
        stored = tuple(await self._registered(MAX_CLIENTS + 1))
        for client in (*self._declared, *stored):
            for certificate in registered_certificates(client) if client.enabled else ():
                not_after = certificate.not_after.timestamp()
                soonest[client.client_id] = min(not_after, soonest.get(client.client_id, not_after))
        found = sorted(Expiry(not_after, "client", "", client_id) for client_id, not_after in soonest.items())
        self._of_clients = tuple(found[:MAX_CLIENTS])
        self.clients_left_out = max(len(found), len(seen), len(stored)) > MAX_CLIENTS


def _anchors(trust: TrustSource) -> Iterable[Expiry]:
    return _soonest(CertificateRole.ANCHOR, trust.current().anchors)


def _bundles(spiffe: SpiffeSource) -> Iterable[Expiry]:
    """The last authority of each bundle to end: before that there is a newer one, if the bundle is kept current."""
    for name, authorities in spiffe.current().authorities.items():
        if authorities:
            yield Expiry(max(authority.not_after.timestamp() for authority in authorities), "spiffe", name)


def _soonest(role: str, certificates: Mapping[str, Sequence[Certificate]]) -> Iterable[Expiry]:
    for trust, group in certificates.items():
        if group:
            yield Expiry(min(certificate.not_after.timestamp() for certificate in group), role, trust)
