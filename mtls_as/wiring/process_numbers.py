"""Where the plain numbers of a process are read for its metrics."""

from mtls_as.observability.event_log import EventLog
from mtls_as.observability.process_metrics import Numbers
from mtls_as.pki.trust_domains import TrustDomains
from mtls_as.tls import Population
from mtls_as.wiring.foundation import Foundation


def process_numbers(
    foundation: Foundation, trust: TrustDomains, population: Population, events: EventLog | None
) -> Numbers:
    """The numbers as they are now; without an event log, where somebody else takes the events, none of one."""
    return {
        ("mtls_as_connections",): len(population.connections),
        ("mtls_as_handshakes_in_progress",): population.handshakes,
        ("mtls_as_http2_floods",): population.floods,
        **_events(events),
        **_audit(foundation),
        **_storage(foundation),
        **_remote(foundation),
        **_lookups("verdicts", *trust.verdict_lookups),
        **_lookups("clients", foundation.stored_clients.hits, foundation.stored_clients.misses),
    }


def _events(events: EventLog | None) -> Numbers:
    if events is None:
        return {}
    return {("mtls_as_events_waiting",): events.depth, ("mtls_as_events_lost",): events.lost}


def _audit(foundation: Foundation) -> Numbers:
    audit = foundation.audit
    if audit is None:
        return {}
    return {
        ("mtls_as_audit_events_waiting",): audit.depth,
        ("mtls_as_audit_lag_seconds",): audit.lag,
        ("mtls_as_audit_records",): audit.written,
        ("mtls_as_audit_events_lost",): audit.lost,
    }


def _storage(foundation: Foundation) -> Numbers:
    activity = foundation.storage.activity
    return {
        ("mtls_as_storage_connections_in_use",): activity.in_use,
        ("mtls_as_storage_transactions", "read"): activity.reads,
        ("mtls_as_storage_transactions", "write"): activity.writes,
        ("mtls_as_storage_waits",): activity.waits,
        ("mtls_as_storage_wait_seconds",): activity.wait_seconds,
    }


def _remote(foundation: Foundation) -> Numbers:
    pool, fetcher = foundation.remote_key_sets, foundation.remote_key_sets.fetcher
    return {
        ("mtls_as_remote_fetches", "succeeded"): fetcher.fetches - fetcher.failures,
        ("mtls_as_remote_fetches", "failed"): fetcher.failures,
        # Each fetch was begun by a look-up that found nothing, or something old.
        **_lookups("remote_keys", max(0, pool.lookups - fetcher.fetches), fetcher.fetches),
    }


def _lookups(cache: str, hits: int, misses: int) -> Numbers:
    return {("mtls_as_cache_lookups", cache, "hit"): hits, ("mtls_as_cache_lookups", cache, "miss"): misses}
