"""The Grafana dashboard and the Prometheus rules in docs/: every metric that they ask for is one that a server has."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workplace import ROOT
from tests.observability.test_metrics import documented
from tests.programs import require_program

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana" / "mtls-as.json").read_text())
RULES = ROOT / "docs" / "prometheus" / "alerts.yml"
WANTED_ALERTS = {
    "MtlsAsCertificateEndsSoon", "MtlsAsRevocationListStale", "MtlsAsRefusalsRising", "MtlsAsAuditGap",
    "MtlsAsDatabaseAway", "MtlsAsSigningKeyOld", "MtlsAsReloadFailed",
}  # fmt: skip


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def metrics_in(text: str) -> set[str]:
    """Every name of a metric, without what a histogram's series append."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bmtls_as_\w+", text)}


def labels_in(text: str) -> set[tuple[str, str]]:
    """Every label that a selector asks for, with its metric."""
    found = set[tuple[str, str]]()
    for name, selector in re.findall(r"\b(mtls_as_\w+)\{([^}]*)\}", text):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        found |= {(base, label) for label in re.findall(r"(\w+)\s*[=!]", selector)}
    return found


def test_every_query_of_the_dashboard_asks_for_a_metric_that_there_is() -> None:
    """Held against the document, which is held against a server."""
    assert len(queries()) > 20
    for query in queries():
        assert metrics_in(query), query
        assert metrics_in(query) <= documented().keys(), query


def test_every_metric_is_on_the_dashboard() -> None:
    """But for two that are for the inventory alone."""
    shown = {name for query in queries() for name in metrics_in(query)}
    assert documented().keys() - shown == {"mtls_as_certificate_uses_lost_total", "mtls_as_clients_left_out"}


def test_every_rule_asks_for_a_metric_that_there_is() -> None:
    assert metrics_in(RULES.read_text()) <= documented().keys()
    assert set(re.findall(r"- alert: (\w+)", RULES.read_text())) >= WANTED_ALERTS


@pytest.mark.parametrize("text", [RULES.read_text(), "\n".join(queries())], ids=["rules", "dashboard"])
def test_selectors_name_labels_that_the_metrics_have(text: str) -> None:
    table = documented()
    for name, label in labels_in(text) - {(name, "job") for name in table}:
        assert label in table[name] | {"instance"}, name


def promtool(*arguments: str | Path) -> None:
    checked = subprocess.run([require_program("promtool"), *arguments], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    """By the unit tests of the rules, in which every alert of the file stands."""
    file = RULES.with_name("alerts_test.yml")
    for alert in re.findall(r"- alert: (\w+)", RULES.read_text()):
        assert len(re.findall(rf"\b{alert}\b", file.read_text())) == 2, alert
    promtool("test", "rules", file)


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """Written into a file of rules, with what Grafana puts in for its variables."""
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$job", "mtls-as")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


def test_panels_do_not_cover_each_other() -> None:
    """And each has a name of its own."""
    places = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & places, panel["title"]
        places |= own
        assert at["x"] + at["w"] <= 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
