"""What a process counts in plain numbers as it works, carried over into metrics every second and at each scrape.

Counting costs the one who counts an addition. Of several workers each carries over its own: gauges are added up, or the
greatest is told; counters go on where they were.
"""

from collections.abc import Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

Numbers = Mapping[tuple[str, ...], float]
"""The numbers of one process: by the metric, and the values of its labels. Those of counters may begin anew."""

_Mode = Literal["livesum", "livemax"]
_GAUGES: Final[Mapping[str, tuple[_Mode, str]]] = {
    "mtls_as_connections": ("livesum", "Connections that are open."),
    "mtls_as_handshakes_in_progress": ("livesum", "TLS handshakes that have begun and not ended."),
    "mtls_as_events_waiting": ("livesum", "Events that wait to be written to the event log."),
    "mtls_as_audit_events_waiting": ("livesum", "Events that wait to be recorded in the audit trail."),
    "mtls_as_audit_lag_seconds": ("livemax", "For how long the oldest event that is to be recorded has waited."),
    "mtls_as_storage_connections_in_use": ("livesum", "Connections to the database that are in use."),
}
_COUNTERS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "mtls_as_http2_floods": ((), "HTTP/2 connections that were ended for frames that are no use to anybody."),
    "mtls_as_events_lost": ((), "Events that the event log misses."),
    "mtls_as_audit_records": ((), "Records of the audit trail that were written."),
    "mtls_as_audit_events_lost": ((), "Events that the audit trail misses."),
    "mtls_as_storage_transactions": (("kind",), "Transactions of the database that ended well: read or write."),
    "mtls_as_storage_waits": ((), "Transactions that did not begin at once."),
    "mtls_as_storage_wait_seconds": ((), "What all transactions together waited to begin."),
    "mtls_as_remote_fetches": (("outcome",), "Key sets of others that were asked for: succeeded or failed."),
    "mtls_as_cache_lookups": (("cache", "outcome"), "Whether what was looked for was in memory: hit or miss."),
}


class ProcessMetrics:
    """The metrics of one process's numbers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauges = {
            name: Gauge(name, text, multiprocess_mode=mode, registry=registry) for name, (mode, text) in _GAUGES.items()
        }
        self._counters = {
            name: Counter(name, text, labels, registry=registry) for name, (labels, text) in _COUNTERS.items()
        }
        self._last: dict[tuple[str, ...], float] = {}

    def take(self, numbers: Numbers) -> None:
        """Carry over what the numbers are now. A counter that is less than it was has begun anew."""
        for key, value in numbers.items():
            name, *labels = key
            if name in self._gauges:
                self._gauges[name].set(value)
                continue
            counter = self._counters[name].labels(*labels) if labels else self._counters[name]
            last = self._last.get(key, 0.0)
            counter.inc(value - last if value >= last else value)
            self._last[key] = value
