"""Metrics that are read off the state of the server when somebody asks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mtls_as.observability.expiries import Expiry
from mtls_as.server.limits import Budget
from mtls_as.server.signing_keys import SigningKeys

MAX_BUDGETS: Final = 20
"""Clients whose budgets are told: those that have least left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEnd:
    """When a revocation list in use ends (epoch seconds), and the file or URL it is from."""

    trust: str
    source: str
    next_update: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What one worker knows at a time (epoch seconds)."""

    at: float
    signing_keys: SigningKeys
    expiries: Sequence[Expiry]
    clients_left_out: bool
    """Whether more clients have certificates than `expiries` lists."""
    lists: Sequence[ListEnd] = ()
    storage_silence: float = 0.0
    """Seconds since the storage answered the last time; 0 as long as it does."""
    budgets: Sequence[Budget] = ()
    penalties: int = 0
    """How many addresses and certificates are not listened to."""
    failing_sources: Sequence[tuple[str, str]] = ()
    """Trust domains with the sources of revocation lists that could not be read or fetched the last time."""


class StateCollector(Collector):
    """Gauges of one state."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Every gauge, in a fixed order."""
        yield self._certificates()
        left_out = "1 if more clients have certificates than are listed; the most urgent ones are."
        yield GaugeMetricFamily("mtls_as_clients_left_out", left_out, value=float(self._state.clients_left_out))
        yield self._signing_keys()
        yield self._lists()
        yield self._failing_sources()
        yield self._budgets()
        penalties = "Addresses and certificates that have failed too often, and are not listened to."
        yield GaugeMetricFamily("mtls_as_penalties", penalties, value=self._state.penalties)
        silence = "Seconds since the storage answered the last time, 0 as long as it does."
        yield GaugeMetricFamily("mtls_as_storage_silence_seconds", silence, value=self._state.storage_silence)

    def _certificates(self) -> Metric:
        gauge = GaugeMetricFamily(
            "mtls_as_certificate_seconds_left",
            "Seconds until a certificate ends, negative afterwards; the soonest of each role, domain and client.",
            labels=["role", "trust", "client_id"],
        )
        for expiry in self._state.expiries:
            gauge.add_metric([expiry.role, expiry.trust, expiry.client_id], expiry.not_after - self._state.at)
        return gauge

    def _lists(self) -> Metric:
        soonest: dict[tuple[str, str], float] = {}
        for end in self._state.lists:
            key = (end.trust, end.source)
            soonest[key] = min(end.next_update, soonest.get(key, end.next_update))
        gauge = GaugeMetricFamily(
            "mtls_as_revocation_list_seconds_left",
            "Seconds until a revocation list in use ends, negative afterwards; the soonest of each source.",
            labels=["trust", "source"],
        )
        for key, next_update in soonest.items():
            gauge.add_metric(key, next_update - self._state.at)
        return gauge

    def _failing_sources(self) -> Metric:
        gauge = GaugeMetricFamily(
            "mtls_as_revocation_source_failing",
            "1 for a source of revocation lists that could not be read or fetched the last time.",
            labels=["trust", "source"],
        )
        for key in self._state.failing_sources:
            gauge.add_metric(key, 1.0)
        return gauge

    def _budgets(self) -> Metric:
        gauge = GaugeMetricFamily(
            "mtls_as_client_budget_ratio",
            "What a client has left of its rate in this process, from 0 to 1; the clients that have least.",
            labels=["client_id", "endpoint"],
        )
        for budget in self._state.budgets:
            gauge.add_metric([budget.client_id, budget.endpoint], budget.left)
        return gauge

    def _signing_keys(self) -> Metric:
        gauge = GaugeMetricFamily(
            "mtls_as_signing_key_age_seconds",
            "Seconds since a published signing key was made.",
            labels=["kid", "algorithm", "state"],
        )
        keys, at = self._state.signing_keys, self._state.at
        for key in keys.keys:
            if not key.is_gone(at):
                gauge.add_metric([key.kid, key.algorithm, keys.state(key, at).value], at - key.created_at)
        return gauge
