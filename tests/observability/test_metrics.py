"""Metrics of a real server, read by Prometheus's own parser and judged by its own tool; the documents name them all."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mtls_as.observability.process_metrics import ProcessMetrics
from tests.authority import Authority, Identity, dns, self_signed
from tests.programs import require_program
from tests.running import Deployment, RunningServer, running

AUTHORITY = Authority.create("Partner CA")
DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    made = Deployment(tmp_path_factory.mktemp("metrics"), admin=True)
    made.trust("default", AUTHORITY).client("c1", tls_client_auth_san_dns="c1.example")
    with running(made) as server:
        yield server


@pytest.fixture(scope="module")
def identity() -> Identity:
    return AUTHORITY.issue("c1", san=[dns("c1.example")])


def scrape(server: RunningServer) -> str:
    return httpx.get(f"{server.admin_url}/metrics", verify=server.ssl_context(), trust_env=False).text


def families(server: RunningServer) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(scrape(server))}


def value(server: RunningServer, sample: str, **labels: str) -> float:
    for family in families(server).values():
        for found in family.samples:
            if found.name == sample and found.labels == labels:
                return float(found.value)
    return 0.0


def documented() -> dict[str, set[str]]:
    """The metrics of the document's table, with their labels."""
    section = DOCUMENT.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(mtls_as_\w+)` \| (.*?) \|", section, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_the_document_lists_every_metric_with_its_labels(server: RunningServer, identity: Identity) -> None:
    """And none that there is not."""
    server.token(identity)
    server.token(self_signed("c1"))
    exposed: dict[str, set[str]] = {}
    for name, family in families(server).items():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exposed[f"{name}_total" if family.type == "counter" else name] = labels
    table = documented()
    assert exposed.keys() == table.keys()
    assert {name: labels for name, labels in exposed.items() if labels} == {
        name: table[name] for name, labels in exposed.items() if labels
    }


def test_promtool_finds_nothing_to_say(server: RunningServer, identity: Identity) -> None:
    """Names, units, types and help texts are as Prometheus recommends."""
    program = require_program("promtool")
    server.token(identity)
    checked = subprocess.run([program, "check", "metrics"], input=scrape(server), capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_handshakes_are_counted_and_timed(server: RunningServer) -> None:
    """Completed ones; those in progress and open connections are told as they are."""
    before = value(server, "mtls_as_handshake_duration_seconds_count")
    httpx.get(f"{server.url}/jwks", verify=server.ssl_context(), trust_env=False)
    # The scrapes themselves are connections too.
    assert value(server, "mtls_as_handshake_duration_seconds_count") - before == 2
    assert 0 < value(server, "mtls_as_handshake_duration_seconds_sum") < 60
    assert value(server, "mtls_as_connections") >= 1
    assert value(server, "mtls_as_handshakes_in_progress") == 0


def test_what_memory_knew_is_told(server: RunningServer) -> None:
    """A certificate that comes again is not verified again."""
    identity = AUTHORITY.issue("c1", san=[dns("c1.example")])

    def verdicts(outcome: str) -> float:
        return value(server, "mtls_as_cache_lookups_total", cache="verdicts", outcome=outcome)

    hits, misses = verdicts("hit"), verdicts("miss")
    assert server.token(identity).status_code == 200
    assert server.token(identity).status_code == 200
    assert verdicts("miss") - misses == 1
    assert verdicts("hit") - hits >= 1


def test_the_audit_trail_is_told(server: RunningServer, identity: Identity) -> None:
    """How many records there are, how many wait and for how long."""
    audit = server.node.foundation.audit
    assert audit is not None
    server.call(audit.flush())
    before = value(server, "mtls_as_audit_records_total")
    server.token(identity)
    server.token(identity)
    server.call(audit.flush())
    assert value(server, "mtls_as_audit_records_total") - before == 2
    assert value(server, "mtls_as_audit_events_waiting") == 0
    assert value(server, "mtls_as_audit_lag_seconds") == 0
    assert value(server, "mtls_as_audit_events_lost_total") == 0
    assert value(server, "mtls_as_storage_transactions_total", kind="write") > 0


def test_a_counter_goes_on_where_what_it_follows_begins_anew() -> None:
    """As the memory of verdicts does with each reload."""
    registry = CollectorRegistry()
    metrics = ProcessMetrics(registry)
    key = ("mtls_as_cache_lookups", "verdicts", "hit")
    for number in (5, 9, 2, 3):
        metrics.take({key: number})
    text = generate_latest(registry).decode()
    assert 'mtls_as_cache_lookups_total{cache="verdicts",outcome="hit"} 12.0' in text
