"""Metrics in the Prometheus text format; the only importer of its client library.

Counters and histograms belong to all workers together: of several, each writes its own into files of a shared folder
(`shared_by_workers`), and whichever worker is scraped adds them up. What can be read off the server's state is read at
that moment. Every label has few values: names of the configuration, or lists that this program closes; clients, which
may be many, appear only where their certificate ends soonest.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from mtls_as.observability.process_metrics import Numbers, ProcessMetrics
from mtls_as.observability.state_metrics import ServerState, StateCollector
from mtls_as.rfc.refusal import Refusal
from mtls_as.server.events import Outcome, RequestEvent

_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # the library's own name for it
_LATENCIES: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What this process counts. An `EventSink`, among other things."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library leaves it untyped
        self._registry = registry = CollectorRegistry()
        self._tokens = Counter(
            "mtls_as_tokens_issued",
            "Access tokens issued.",
            ["grant_type", "authentication_method"],
            registry=registry,
        )
        self._refusals = Counter(
            "mtls_as_refusals", "Requests refused, by the reason code of the log.", ["reason"], registry=registry
        )
        self._latency = Histogram(
            "mtls_as_request_duration_seconds",
            "Time from a request's head to its answer.",
            ["endpoint", "outcome"],
            buckets=_LATENCIES,
            registry=registry,
        )
        self._handshake_failures = Counter(
            "mtls_as_handshake_failures", "TLS handshakes that failed.", ["reason"], registry=registry
        )
        self._handshakes = Histogram(
            "mtls_as_handshake_duration_seconds",
            "Time from the accepted connection to the end of a TLS handshake that was completed.",
            buckets=_LATENCIES,
            registry=registry,
        )
        self.numbers: Callable[[], Numbers] = dict
        """Tells the plain numbers of this process."""
        self._process = ProcessMetrics(registry)
        self._limited = Counter(
            "mtls_as_limited_requests",
            "Requests refused for how often somebody asks, by what is limited.",
            ["limit", "endpoint"],
            registry=registry,
        )
        self._reloads = Counter(
            "mtls_as_reloads", "Reloads of certificates and trust.", ["what", "outcome"], registry=registry
        )
        self._lost_uses = Counter(
            "mtls_as_certificate_uses_lost", "Uses of certificates that the inventory misses.", registry=registry
        )
        # Workers reload each on their own: the least of their generations shows one that stayed behind.
        self._generation = Gauge(
            "mtls_as_trust_generation",
            "The generation of trust domains in force, the least of all workers.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        # A series that is there from the start shows its first rise; and looking one up costs more than counting does.
        self._refused = {reason: self._refusals.labels(reason.value) for reason in Refusal}
        self._issued: dict[tuple[str | None, str | None], Counter] = {}
        self._latencies: dict[tuple[str, Outcome], Histogram] = {}
        for outcome in ("succeeded", "failed"):
            self._reloads.labels("configuration", outcome)

    def __call__(self, event: RequestEvent) -> None:
        """Count a request."""
        if event.refusal is not None:
            self._refused[event.refusal].inc()
        elif event.endpoint == "token" and event.token_id is not None:
            how = (event.grant_type, event.authentication_method)
            issued = self._issued.get(how)
            if issued is None:
                issued = self._issued[how] = self._tokens.labels(*(label or "" for label in how))
            issued.inc()
        if event.latency_seconds is not None:
            end = (event.endpoint, event.outcome)
            latency = self._latencies.get(end)
            if latency is None:
                latency = self._latencies[end] = self._latency.labels(event.endpoint, Outcome(event.outcome).value)
            latency.observe(event.latency_seconds)

    def count_handshake_failure(self, reason: str) -> None:
        """Count a failed handshake by its stable reason."""
        self._handshake_failures.labels(reason).inc()

    def count_handshake(self, seconds: float) -> None:
        """Count a handshake that was completed."""
        self._handshakes.observe(seconds)

    def take_numbers(self) -> None:
        """Carry over what this process counts in plain numbers."""
        self._process.take(self.numbers())

    def count_limited(self, limit: str, endpoint: str) -> None:
        """Count a request over a limit: `address`, `client` or `failures`, fixed words of this program."""
        self._limited.labels(limit, endpoint).inc()

    def count_reload(self, what: str, *, succeeded: bool) -> None:
        """Count a reload of `what`, a fixed word of this program."""
        self._reloads.labels(what, "succeeded" if succeeded else "failed").inc()

    def count_lost_uses(self, count: int) -> None:
        """Count uses of certificates that could not be stored."""
        self._lost_uses.inc(count)

    def set_trust_generation(self, generation: int) -> None:
        """Tell the generation of trust domains in force in this process."""
        self._generation.set(generation)

    def exposition(self, state: ServerState) -> tuple[str, bytes]:
        """Content type and body of an answer to Prometheus: what all workers counted, and the state of this one."""
        self.take_numbers()
        read_off = CollectorRegistry()
        read_off.register(StateCollector(state))
        return CONTENT_TYPE_LATEST, generate_latest(self._counted()) + generate_latest(read_off)

    def _counted(self) -> CollectorRegistry:
        folder = os.environ.get(_FOLDER_VARIABLE)
        if folder is None:
            return self._registry
        _forget_dead_workers(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # the library leaves it untyped
        return registry


@contextlib.contextmanager
def shared_by_workers() -> Iterator[None]:
    """Let the worker processes that are started within share what they count, in a folder that ends with it."""
    with tempfile.TemporaryDirectory(prefix="mtls-as-metrics-") as folder:
        os.environ[_FOLDER_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[_FOLDER_VARIABLE]


def _forget_dead_workers(folder: Path) -> None:
    """Drop what only a living process can tell; what a dead one counted still counts."""
    for file in folder.glob("gauge_live*.db"):
        match = re.search(r"_([0-9]+)\.db$", file.name)
        if match is not None and not _is_alive(int(match[1])):
            mark_process_dead(int(match[1]), str(folder))  # type: ignore[no-untyped-call] # the library leaves it untyped


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
