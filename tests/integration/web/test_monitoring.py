"""The Prometheus rules and the Grafana dashboard of docs/monitoring, checked by promtool and against the metrics there are."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from actionwatch.base.ids import stable_id
from actionwatch.base.model import RuleName
from actionwatch.base.source_labels import use_labels
from actionwatch.store import delivery_latency, marks, outbox, polls, receivers, self_alerts
from actionwatch.store.database import Database
from actionwatch.web.metrics import StoreCollector
from tests import debian
from tests.builders import NOON, make_alert, make_delivery
from tests.children import run_child
from tests.fixtures import database

__all__ = ["database"]

FOLDER = Path(__file__).parents[3] / "docs" / "monitoring"
NAME = re.compile(r"actionwatch_[a-z_]+")
INTERVALS = dict.fromkeys(("prod", "test"), timedelta(seconds=10))
ORDINARY_RULES = 75  # of the pack
ORDINARY_RECEIVERS = 4


@pytest.fixture
def metrics(database: Database) -> str:
    """The metrics of an ordinary service: the rules of the pack, four receivers, two sources."""
    names = [f"receiver-{number}" for number in range(ORDINARY_RECEIVERS)]
    with database.write() as connection:
        for source in ("prod", "test"):
            start = NOON - timedelta(days=1)
            known = marks.Marks(
                name=source,
                organisation="o",
                begins_at=start,
                alerts_from=start,
                mark=NOON,
                seen_through=NOON,
                proved_through=NOON,
            )
            marks.write(connection, known)
            polls.note_poll(connection, source, NOON, None)
        for number in range(ORDINARY_RULES):
            alert = make_alert(
                stable_id(str(number)), rule=RuleName(str(number), f"rule_with_a_long_name_{number}", "A title")
            )
            sent = [(alert, make_delivery(alert.id, name)) for name in names]
            delivery_latency.note_sent(connection, sent, NOON + timedelta(seconds=number))
        for name in names:
            receivers.note_success(connection, name, NOON)
        self_alerts.insert(connection, self_alerts.OpenSelfAlert("clock_skew", "prod", NOON, "what", "remedy", "id"))
    with database.read() as connection:
        assert outbox.count_queues(connection) == {}
    roles = {"leader": True, "tail prod": False}
    return generate_latest(StoreCollector(database, INTERVALS, lambda: NOON, roles=lambda: roles)).decode()


def expressions() -> list[str]:
    """Return every query of the rules and of the dashboard."""
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [*(rule["expr"] for rule in rules), *(target["expr"] for panel in panels for target in panel["targets"])]


def test_metrics_are_small(metrics: str) -> None:
    """An ordinary service has less than 50 KB of metrics, however many rules it has."""
    assert len(metrics.encode()) < 50_000


def test_queries_name_metrics_that_exist(metrics: str) -> None:
    """Every metric that a rule or a panel asks for is one that the service has; and every one with a message is used."""
    there = {line.split("{")[0].split(" ")[0] for line in metrics.splitlines() if not line.startswith("#")}
    families = {line.split(" ")[2] for line in metrics.splitlines() if line.startswith("# TYPE")}
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    assert {name for name in asked if name not in there and name not in families} == set()


def test_rules_and_metrics_pass_promtool(metrics: str, tmp_path: Path) -> None:
    """promtool accepts the rules, their tests, the queries of the dashboard, and the format of the metrics."""
    promtool = debian.find("promtool", "prometheus")
    queries = [{"record": f"query{number}", "expr": expression} for number, expression in enumerate(expressions())]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queries}]}))
    for arguments in (
        ("check", "rules", "--lint=all", "--lint-fatal", str(FOLDER / "alerts.yml")),
        ("check", "rules", "--lint=none", str(tmp_path / "queries.yml")),
        ("test", "rules", str(FOLDER / "alerts.test.yml")),
    ):
        done = run_child([promtool, *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "metrics").write_text(metrics)
    shown = run_child(["sh", "-c", f"{promtool} check metrics < {tmp_path}/metrics"])
    assert shown.returncode == 0, shown.stdout + shown.stderr


def test_latency_is_summed_over_rules(database: Database) -> None:
    """The histogram of a receiver counts the alerts of all rules."""
    with database.write() as connection:
        for rule in ("one", "two"):
            alert = make_alert(stable_id(rule), rule=RuleName(rule, rule, rule))
            delivery_latency.note_sent(
                connection, [(alert, make_delivery(alert.id))], alert.opened_at + timedelta(seconds=1)
            )
    with database.read() as connection:
        (found,) = delivery_latency.read_all(connection)
    assert (found.buckets, found.total) == ({1: 2}, timedelta(seconds=2))


def test_labels_of_sources_are_metrics(database: Database) -> None:
    """`actionwatch_source_info` has the labels of each source, escaped."""
    use_labels({"prod": {"customer": 'a"b', "tier": "gold"}})
    collector = StoreCollector(database, INTERVALS, lambda: NOON)
    lines = generate_latest(collector).decode().splitlines()
    assert [line for line in lines if line.startswith("actionwatch_source_info")] == [
        r'actionwatch_source_info{customer="a\"b",source="prod",tier="gold"} 1.0',
        'actionwatch_source_info{source="test"} 1.0',
    ]
