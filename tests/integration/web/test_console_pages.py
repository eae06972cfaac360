"""The pages of one alert, one record, deliveries and rules: what a person reads there, escaped."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch import __version__
from actionwatch.base.model import Entity, Event, Status
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.rules.model import Rule
from actionwatch.store import (
    alert_history,
    alerts,
    delivery_transitions,
    receipts,
    records,
    rule_history,
    rule_versions,
    self_alerts,
)
from actionwatch.store.database import Database
from tests.builders import (
    CLUSTER_DELETED_RULE,
    NOON,
    make_alert,
    make_delivery,
    make_receipt,
    make_record,
    make_version,
)
from tests.integration.web.console_kit import Served
from tests.integration.web.test_console_lists import linked
from tests.unit.rules.builders import rules_in

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def served(database: Database) -> Served:
    """A console with waiting deliveries, also for a receiver that was removed, and a dead letter."""
    rows = [*(make_delivery(f"alert-{number}") for number in range(3)), make_delivery("alert-0", "old")]
    with database.write() as connection:
        alerts.insert_new(
            connection, [(make_alert(f"alert-{number}", title=f"Title {number}"), "g") for number in range(3)]
        )
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.bury(connection, rows[2], "gave up after 8 attempts: 503")
    return Served(database)


def test_deliveries_by_state(served: Served) -> None:
    """Waiting deliveries and dead letters have their own lists, with the alert and the reason; a receiver is a filter."""
    with served.open() as client:
        waiting = client.get("/deliveries").text
        assert [title in waiting for title in ("Title 0", "Title 1", "Title 2")] == [True, True, False]
        assert "no longer configured" in waiting, "of the receiver that was removed"
        dead = client.get("/deliveries?state=dead").text
        assert [title in dead for title in ("Title 0", "Title 1", "Title 2")] == [False, False, True]
        assert "gave up after 8 attempts: 503" in dead
        assert "Title 1" not in client.get("/deliveries?receiver=old").text


@pytest.mark.parametrize("status", Status)
def test_a_dead_resolution_of_an_alert_that_is_open_again_is_marked(database: Database, status: Status) -> None:
    """To send it late would say that the alert is resolved."""
    row = make_delivery("alert-1", event=Event.RESOLVED)
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(status=status), "g")])
        delivery_transitions.enqueue(connection, [row])
        delivery_transitions.bury(connection, row, "gave up after 8 attempts: 503")
    with Served(database).open() as client:
        text = client.get("/deliveries?state=dead").text
    assert ("The alert is no longer resolved" in text) is (status is not Status.RESOLVED)


def test_rules_and_one_rule(database: Database) -> None:
    """The list has mode, level and alerts of each rule, and broken files; a rule has its YAML and a chart."""
    rules = rules_in(CLUSTER_DELETED_RULE).rules
    name = rules[0].name
    version = make_version(name.id, CLUSTER_DELETED_RULE, name=name.name)
    with database.write() as connection:
        rule_versions.write(connection, [version])
        alerts.insert_new(connection, [(make_alert(f"a{number}"), "g") for number in range(3)])
        broken = self_alerts.OpenSelfAlert("rule_broken", "bad.yml", NOON, "line 3: no such field", "fix it", "x")
        self_alerts.insert(connection, broken)
    with Served(database, rules=rules).open() as client:
        listed = html.unescape(client.get("/rules").text)
        one = html.unescape(client.get(f"/rules/{name.id}").text)
        assert client.get("/rules/cluster_deleted").status_code == 200
        missing = client.get("/rules/gone")
    assert "bad.yml: line 3: no such field" in listed
    assert re.search(r'data-label="alerts in 30 days" class="n">3<', listed)
    assert "title: Cluster deleted" in one
    assert f"<p>actionwatch {__version__} ·" in one
    assert "2026-11-25 00:00 UTC: 3 high" in one
    assert (missing.status_code, "no rule in use has the id or name gone" in missing.text) == (404, True)


def test_the_address_chooses_and_orders_the_rules(database: Database) -> None:
    """The page hands its filters and its order to the question that `queries/rules.py` answers."""
    quiet = (
        CLUSTER_DELETED_RULE.replace("cluster_deleted", "a_quiet_one")
        .replace("critical", "low")
        .replace("1111", "2222")
    )
    rules = (*rules_in(quiet).rules, *rules_in(CLUSTER_DELETED_RULE).rules)
    with database.write() as connection:
        name = rules[1].name
        rule_versions.write(connection, [make_version(name.id, CLUSTER_DELETED_RULE, name=name.name)])
        alerts.insert_new(connection, [(make_alert("a1", rule=name), "g")])
    with Served(database, rules=rules).open() as client:
        listed = {
            query: linked(client.get(f"/rules{query}").text)
            for query in ("?level=critical", "?sort=alerts", "?sort=name")
        }
    first, last = (each.name.id for each in rules)
    assert listed == {"?level=critical": [last], "?sort=alerts": [last, first], "?sort=name": [first, last]}


def test_removed_rules_are_noticed(database: Database) -> None:
    """For a week, the overview and the rules name each rule that was removed, with its file, unless it came back."""
    entry = RuleEntry(
        at=NOON, rule_id="1", name="<one>", state=RuleState.LIVE, file="rules/one.yml",
    )  # fmt: skip
    gone = replace(entry, state=RuleState.REMOVED)
    old = replace(gone, rule_id="2", name="two", at=NOON - 8 * 24 * HOUR)
    with database.write() as connection:
        rule_history.append(
            connection, [old, entry, gone, replace(gone, rule_id="3", name="three"), replace(entry, rule_id="3")]
        )
    with Served(database).open() as client:
        for path in ("/", "/rules"):
            text = client.get(path).text.replace("<wbr>", "")
            assert "1 rule was removed in the last 7 days, and no longer detects anything:" in text
            assert "&lt;one&gt;" in text
            assert "rules/one.yml" in text
            assert "two" not in re.findall(r'role="status">.*?</div>', text, re.DOTALL)[-1]


def test_rule_is_shown_as_people_wrote_it(database: Database, tmp_path: Path) -> None:
    """The page of a rule has the document of its file, with comments; of another version, what runs."""
    (rule,) = rules_in(CLUSTER_DELETED_RULE).rules
    file = tmp_path / "rules.yml"
    other = CLUSTER_DELETED_RULE.replace("cluster_deleted", "other")
    file.write_text(f"{other}---\n# why we have it\n{CLUSTER_DELETED_RULE}---\n{other}")
    line = other.count("\n") + 3
    version = replace(make_version(rule.name.id, CLUSTER_DELETED_RULE, name=rule.name.name), file=str(file), line=line)
    with database.write() as connection:
        rule_versions.write(connection, [version])
    page = f"/rules/{rule.name.id}"
    with Served(database, rules=[rule]).open() as client:
        text = client.get(page).text
        assert "# why we have it" in text
        assert "name: other" not in text
        file.write_text(file.read_text().replace("level: critical", "level: low"))
        text = client.get(page).text
        assert "# why we have it" not in text
        assert "level: critical" in text


def test_a_rule_has_its_history_and_the_list_has_tactics(database: Database) -> None:
    """The page of a rule lists what it did, newest first; each tactic of the list leads to its rules."""
    (rule,) = rules_in(f"{CLUSTER_DELETED_RULE}tags: [attack.impact, attack.t1485]\n").rules
    first = RuleEntry(
        at=NOON - 2 * HOUR, rule_id=rule.name.id, name=rule.name.name, state=RuleState.OFF,
        why="it counts fed, which has mode: off",
    )  # fmt: skip
    held = replace(first, at=NOON - HOUR, state=RuleState.LIVE, is_held=True, file="rules/one.yml", why="")
    with Served(database, rules=[rule]).open() as client:
        assert "has not recorded this rule yet" in client.get(f"/rules/{rule.name.id}").text
        with database.write() as connection:
            rule_history.append(connection, [first, held])
        page = client.get(f"/rules/{rule.name.id}").text
        tactic = re.search(r'href="(/rules\?tactic=impact)">impact <b>1</b>', client.get("/rules").text)
        assert tactic
        assert "1 of 1 rule" in client.get(tactic[1]).text
        assert "0 of 1 rule" in client.get("/rules?tactic=collection").text
    words = re.findall(r"<strong>(an older version runs|off)</strong>(.*?)</li>", page)
    assert [(word, re.sub("<.*?>", "", more)) for word, more in words] == [
        ("an older version runs", ", because rules/one.yml is broken"),
        ("off", ": it counts fed, which has mode: off"),
    ]


@pytest.fixture
def detailed(database: Database) -> Served:
    """A console with an alert of a real rule, its record, its history, and a delivery that failed once."""
    (rule,) = rules_in(CLUSTER_DELETED_RULE).rules
    assert isinstance(rule, Rule)
    record = make_record(1, raw='{"actionKind": "DELETE_CLUSTER"}', description="deleted by hand")
    alert = make_alert("0badcafe-1", rule=rule.name, runbook="1. Ask.\n2. Run `<restore>`.", group={"userName": "eve"})
    with database.write() as connection:
        records.insert_new(connection, [record])
        alerts.insert_new(connection, [(alert, "g"), (make_alert("0badcafe-2"), "g"), (make_alert("0badcafe"), "g")])
        alerts.join(connection, [(alert.id, records.newest_id(connection), NOON)])
        delivery_transitions.enqueue(connection, [make_delivery(alert.id)])
        line = alert_history.Entry(
            NOON, alert.id, "delivery to hook", "attempt 1: 503, retried at 2026-11-25T12:00:30Z"
        )
        alert_history.append(connection, [line])
    return Served(database, rules=[rule])


def test_one_alert_has_everything(detailed: Served) -> None:
    """The page of an alert has its records, the selections with their values, deliveries, history, runbook and command."""
    with detailed.open() as client:
        page = client.get("/alerts/0badcafe-1").text
    assert "<li>Run <code>&lt;restore&gt;</code>.</li>" in page
    text = html.unescape(page)
    for expected in (
        "eve deleted a cluster",
        "deleted by hand",
        "actionKind: DELETE_CLUSTER",
        "← DELETE_CLUSTER",
        "attempt 1: 503, retried at",
        "actionwatch explain 0badcafe",
        "actionwatch alerts ack 0badcafe",
        '<a href="/records?user=eve">eve</a>',
        ">pending</span>",
    ):
        assert expected in text, expected


def test_one_user_and_one_cluster_have_a_timeline(database: Database) -> None:
    """A record leads to what its user did, and what happened in its cluster, in that hour."""
    made = [
        make_record(number, minutes=minutes, cluster=Entity("c-1", "orders")) for number, minutes in ((1, 0), (2, -90))
    ]
    with database.write() as connection:
        records.insert_new(connection, made)
    with Served(database).open() as client:
        around = re.findall(r'href="(/records\?[^"]+)">same (\w+)', client.get(f"/records/{made[0].key}").text)
        assert [name for _, name in around] == ["user", "cluster"]
        for target, _ in around:
            assert len(linked(client.get(html.unescape(target)).text)) == 1


def test_one_record_has_everything(database: Database) -> None:
    """The page of a record has its facts, its alerts, the receipts of its time, its copies, and the raw JSON."""
    record = make_record(1, raw='{"actionKind":"DELETE_CLUSTER","note":"<b>x</b>"}', late_by=MINUTE)
    with database.write() as connection:
        records.insert_new(connection, [record])
        records.insert_new(connection, [make_record(1, source="other")])
        alerts.insert_new(connection, [(make_alert("one"), "g")])
        alerts.join(connection, [("one", 1, NOON)])
        window = {"starts_at": NOON - MINUTE, "ends_at": NOON + MINUTE}
        receipts.write(connection, make_receipt(**window, record_count=7))
        receipts.write(connection, make_receipt(starts_at=NOON + MINUTE, ends_at=NOON + 2 * MINUTE, record_count=9))
    with Served(database).open() as client:
        text = client.get(f"/records/{record.key}").text
        assert client.get(f"/records/{record.key[:20]}").status_code == 200
        missing = client.get("/records/ffff")
    assert (missing.status_code, "no stored record has the key ffff" in missing.text) == (404, True)
    for expected in (
        "1m late",
        "Cluster deleted",
        "7 records, by counts",
        "&lt;b&gt;x&lt;/b&gt;",
        "by a poll of other",
    ):
        assert expected in text, expected
    assert "9 records" not in text
