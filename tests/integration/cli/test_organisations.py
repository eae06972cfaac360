"""Sources and organisations: the real commands with two emulated upstreams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests.builders import CLUSTER_DELETED_RULE
from tests.integration.cli.conftest import Called, call
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.waiting import LIMIT

ONE, OTHER = "11111111-2222-4333-8444-55555555aaaa", "11111111-2222-4333-8444-55555555bbbb"
GROUPED = CLUSTER_DELETED_RULE + "  group_by: [userName]\n  realert: 1d\n"
BURST = """\
title: Burst
id: 33333333-3333-4333-8333-333333333333
name: burst
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_CLUSTER}, condition: selection}
correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 2}}
level: high
"""


@dataclass
class Site:
    """A folder with a configuration whose sources the test chooses, two organisations, and a webhook receiver."""

    folder: Path
    organisations: dict[str, Organisation]
    urls: dict[str, str]
    webhook: HttpEnd

    def write(self, sources: dict[str, str], rule: str = CLUSTER_DELETED_RULE, **more: str) -> None:
        """Write the configuration: which source reads which organisation."""
        (self.folder / "rules").mkdir(exist_ok=True)
        (self.folder / "rules" / "rule.yml").write_text(rule)
        more = {"start": "1d", "alert_backlog": "true", **more}
        keys = "".join(f", {name}: {value}" for name, value in more.items())
        lines = "".join(
            f"  - {{name: {name}, organisation_id: {given}, username: {DEMO_USER}, api_key: {DEMO_KEY},"
            f" base_url: '{self.urls[given]}', timeout: {LIMIT:g}s{keys}}}\n"
            for name, given in sources.items()
        )
        (self.folder / "actionwatch.yaml").write_text(
            f"sources:\n{lines}receivers:\n  - name: soar\n    webhook: {{url: '{self.webhook.url}/hook'}}\n"
            "log: {level: error}\n"
        )

    def call(self, *arguments: str) -> Called:
        """Call a command with this configuration."""
        return call("-c", str(self.folder / "actionwatch.yaml"), *arguments)

    def run(self) -> None:
        """Run `run --once`."""
        called = self.call("run", "--once")
        assert called.status == 0, called.err

    def alerts(self) -> list[dict[str, Any]]:
        """List the alerts."""
        found: list[dict[str, Any]] = self.call("alerts", "list", "-o", "json").json
        return found

    def delete(self, organisation: str, at: datetime) -> None:
        """Let the service user delete a cluster. The records of both organisations are equal."""
        self.organisations[organisation].append(
            "DELETE_CLUSTER", user_name="svc", at=at, description="Deleted a cluster"
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Serve two organisations."""
    organisations = {found: Organisation(id=found) for found in (ONE, OTHER)}
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(running(create_app(found))) for name, found in organisations.items()}
        yield Site(tmp_path, organisations, urls, stack.enter_context(HttpEnd(lambda _: Reply(204))))


def ago(minutes: float) -> datetime:
    """Return the time some minutes ago."""
    return datetime.now(UTC) - timedelta(minutes=minutes)


def test_twins_in_two_organisations_are_two_alerts(site: Site) -> None:
    """The same action of the same user at the same instant in two organisations opens two alerts."""
    at = ago(5)
    site.delete(ONE, at)
    site.delete(OTHER, at)
    site.write({"acme": ONE, "emca": OTHER})
    site.run()
    assert sorted(alert["source"] for alert in site.alerts()) == ["acme", "emca"]
    assert len({alert["id"] for alert in site.alerts()}) == 2
    assert len(site.webhook.requests) == 2
    keys = {record["key"] for record in site.call("records", "list", "-o", "json").json}
    assert len(keys) == 2


@pytest.mark.parametrize(("rule", "counts"), [(CLUSTER_DELETED_RULE, [1, 1]), (GROUPED, [2]), (BURST, [2])])
def test_two_sources_of_one_organisation_make_one_alert(site: Site, rule: str, counts: list[int]) -> None:
    """An action that two sources of one organisation read alerts and counts once, and `explain` shows that both read it."""
    site.delete(ONE, ago(5))
    site.delete(ONE, ago(4))
    site.write({"acme": ONE, "spare": ONE}, rule)
    site.run()
    site.run()
    assert [alert["count"] for alert in site.alerts()] == counts
    assert len(site.webhook.requests) == len(counts)
    stored = site.call("records", "list", "-o", "json").json
    assert sorted(record["source"] for record in stored) == ["acme", "acme", "spare", "spare"]
    story = site.call("explain", stored[0]["key"], "-o", "json").json["story"]
    (copied,) = [line["what"] for line in story if "counts once" in line["what"]]
    assert copied.startswith("also by a poll of spare, stored as no. ")
    backtest = site.call("rules", "backtest", str(site.folder / "rules"), "-o", "json").json
    assert sorted(alert["id"] for alert in backtest) == sorted(alert["id"] for alert in site.alerts())


def test_a_shared_organisation_is_noted(site: Site) -> None:
    """`check` prints a note if two sources read one organisation, and does not fail."""
    site.write({"acme": ONE, "spare": ONE})
    checked = site.call("check")
    assert checked.status == 0
    assert "actionwatch.yaml:3:" in checked.out + checked.err
    assert "'spare' reads the same organisation as 'acme'" in checked.out + checked.err


def test_a_name_keeps_its_organisation(site: Site) -> None:
    """A source name cannot change its organisation."""
    site.write({"acme": ONE})
    site.run()
    site.write({"acme": OTHER})
    refused = site.call("run", "--once")
    assert refused.status == 2
    assert "actionwatch.yaml:2:" in refused.err
    assert f"the store knows 'acme' as a source of the organisation {ONE}" in refused.err
    site.write({"acme": ONE})
    site.run()


def test_renamed_source_continues(site: Site) -> None:
    """A renamed source neither repeats alerts nor misses what happened in between."""
    site.write({"acme": ONE})
    site.run()
    site.delete(ONE, ago(1))
    site.run()
    site.delete(ONE, ago(0.5))
    site.write({"renamed": ONE}, start="now", alert_backlog="false")
    site.run()
    assert sorted(alert["source"] for alert in site.alerts()) == ["acme", "renamed"]
    proof = site.call("records", "proof", "-o", "json")
    assert (proof.status, {line["source"] for line in proof.json}) == (0, {"renamed"})
    assert {source["name"] for source in site.call("status", "-o", "json").json["sources"]} == {"renamed"}
    site.write({"acme": ONE}, start="now", alert_backlog="false")
    site.delete(ONE, ago(0.2))
    site.run()
    assert len(site.alerts()) == 3
