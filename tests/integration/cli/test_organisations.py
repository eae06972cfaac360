"""Sources and organisations: the real commands with two emulated upstreams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from actionwatch.base.clock import to_micros
from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from actionwatch.store.database import Database
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
DAY = 24 * 60  # minutes
NEW_USER = """\
title: New user
id: 44444444-4444-4444-8444-444444444444
name: new_user
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_CLUSTER}, condition: selection}
correlation: {type: new_term, group-by: [BY], fields: [userName], history: 5d}
level: high
"""
NEW_EACH, NEW_ALL = NEW_USER.replace("BY", "source"), NEW_USER.replace("group-by: [BY], ", "")
MISSING = """\
title: No deletion
id: 55555555-5555-4555-8555-555555555555
name: missing
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_CLUSTER}, condition: selection}
correlation:
  {type: event_count, group-by: [source], timespan: 2d, condition: {lt: 1}, expect-groups: {source: [acme]}}
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

    def delete(self, organisation: str, at: datetime, user: str = "svc") -> None:
        """Let a user delete a cluster. The records of both organisations are equal."""
        self.organisations[organisation].append(
            "DELETE_CLUSTER", user_name=user, at=at, description="Deleted a cluster"
        )

    def move(self, source: str, days: float, *marks: str) -> None:
        """Move marks of a source back, as if it had stopped then."""
        with contextlib.closing(Database(f"sqlite:///{self.folder / 'actionwatch.db'}")) as database:
            at = to_micros(ago(days * DAY))
            columns = ", ".join(f"{mark} = :at" for mark in marks)
            with database.write() as connection:
                connection.execute(text(f"UPDATE source SET {columns} WHERE name = :name"), {"at": at, "name": source})


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


@pytest.fixture
def old(site: Site) -> Site:
    """A site whose first source begins 20 days ago; its second user appears 3 days ago."""
    for days, user in ((19, "bob"), (3, "eve"), (0.1, "eve")):
        site.delete(ONE, ago(days * DAY), user)
    site.write({"acme": ONE}, NEW_EACH, start="20d")
    site.run()
    return site


def backtest(site: Site, *more: str) -> list[tuple[str | None, str | None]]:
    """Return the source and the user of each alert that the rule would have opened."""
    called = site.call("rules", "backtest", *more, "-o", "json")
    assert called.status == 0, called.err
    return [(alert["group"].get("source"), alert["group"].get("userName")) for alert in called.json]


def test_backtest_gives_each_source_its_beginning(old: Site) -> None:
    """A source that was added an hour ago learns for itself: the time of the other one is as long as before."""
    old.delete(OTHER, ago(5), "kim")
    old.write({"acme": ONE, "new": OTHER}, NEW_EACH, start="1h")
    old.run()
    assert backtest(old) == [("acme", "eve")]
    assert backtest(old, "--source", "new") == []
    (row,) = [line.split() for line in old.call("rules", "backtest").out.splitlines() if "new_user" in line]
    assert row[2:5] == ["1", "1", "0.05"], "alerts, records, and alerts a day of 20 days"


def test_backtest_does_not_wait_for_a_removed_source(old: Site) -> None:
    """The proof of a source that is no longer configured ends nothing: what is missing in another one is found."""
    old.delete(OTHER, ago(5), "kim")
    old.write({"acme": ONE, "gone": OTHER}, MISSING, start="20d")
    old.run()
    old.move("gone", 18, "proved_through", "seen_through")
    assert backtest(old) == [("acme", None)] * 2, "a source that lags holds back its own groups only"
    old.write({"acme": ONE}, MISSING)
    assert backtest(old) == [("acme", None)] * 2
    assert backtest(old, "--since", "60h") == [("acme", None)]
    old.write({"acme": ONE}, MISSING.replace("[source]", "[userName]").replace("source: [acme]", "userName: [bob]"))
    assert backtest(old) == [(None, "bob")]


def test_backtest_knows_nothing_of_a_source_that_was_never_read(old: Site) -> None:
    """It holds back the rules that wait for all sources, as it does in the service, and the command says so."""
    sources = {"acme": ONE, "late": OTHER}
    old.write(sources, NEW_EACH)
    assert backtest(old) == [("acme", "eve")]
    old.write(sources, NEW_ALL)
    assert backtest(old) == []
    note = "late was not read yet: rules that wait for all sources find nothing"
    assert f"note: {note}\n" in old.call("rules", "backtest").err
    assert backtest(old, "--source", "acme") == [(None, "eve")]
    old.write({"other": OTHER}, NEW_ALL)
    assert backtest(old) == [(None, "eve")], "without any of the configured sources, all that are stored count"


def test_groups_of_a_renamed_source_begin_with_its_name(old: Site) -> None:
    """Rules that group by source alert about nobody who was known under the former name, and about nothing that is missing.

    They learn again for this source. Backtests have all of its records under the name of now.
    """
    opened = [(alert["source"], alert["group"]) for alert in old.alerts()]
    assert opened == [("acme", {"source": "acme", "userName": "eve"})]
    old.organisations[ONE].append("CREATE_CLUSTER", user_name="svc", at=ago(60), description="Created a cluster")
    old.run()
    old.delete(ONE, ago(1), "eve")
    expecting = MISSING.replace("[acme]", "[renamed]").replace("DELETE_CLUSTER", "CREATE_CLUSTER")
    old.write({"renamed": ONE}, f"{NEW_EACH}---\n{expecting}")
    old.run()
    assert [(alert["source"], alert["group"]) for alert in old.alerts()] == opened
    assert backtest(old, "new_user") == [("renamed", "eve")]
    assert backtest(old, "new_user", "--source", "renamed") == [("renamed", "eve")]


def explained(site: Site, user: str = "eve") -> str:
    """Return what the rule counted for the first record of a user, as `rules explain` reports it."""
    key = next(each["key"] for each in site.call("records", "export").jsonl if each["userName"] == user)
    called = site.call("rules", "explain", key, "new_user")
    assert called.status == 0, called.err
    return called.out


def test_explain_has_the_beginnings_of_the_service(old: Site) -> None:
    """A removed source makes no rule learn again. A new one does where groups wait for all sources, and no other."""
    learns, opens = "no alert: the rule was still learning", "opens the alert "
    unknown = "not known: what it counted is not stored"
    old.delete(ONE, ago(1), "sam")
    old.run()
    assert opens in explained(old, "sam")
    old.write({"acme": ONE, "new": OTHER}, NEW_EACH, start="1h")
    old.run()
    assert opens in explained(old, "sam")
    old.write({"acme": ONE, "new": OTHER}, NEW_ALL)
    assert unknown in explained(old, "sam"), "the rule does not run yet"
    old.run()
    assert learns in explained(old, "sam"), "it runs"
    old.write({"acme": ONE}, NEW_ALL)
    assert learns in explained(old, "sam"), "it still has the beginning with which it was fed"
    old.run()
    assert opens in explained(old, "sam")


def test_explain_of_a_rule_that_runs_keeps_its_beginning(old: Site) -> None:
    """A source that was never read does not change what a rule that runs knows; of a changed rule nothing is stored yet."""
    old.delete(ONE, ago(1), "sam")
    old.write({"acme": ONE}, NEW_ALL)
    old.run()
    old.write({"acme": ONE, "late": OTHER}, NEW_ALL)
    assert "opens the alert " in explained(old, "sam")
    old.write({"acme": ONE, "late": OTHER}, NEW_ALL.replace("5d", "6d"))
    assert "not known: what it counted is not stored" in explained(old, "sam")
