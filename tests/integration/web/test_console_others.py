"""The pages of deliveries, silences and rules."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch import __version__
from actionwatch.alerts.silences import make_silence
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Event, Status
from actionwatch.base.rule_state import EntryOrigin, RuleEntry, RuleState
from actionwatch.rules.blindness import Blindness, BlindSpan, Effect, RuleBlindness
from actionwatch.rules.coverage import cover_techniques
from actionwatch.store import alerts, delivery_transitions, outbox, rule_history, rule_versions, self_alerts, silences
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.web.console import deliveries as delivery_view
from actionwatch.web.console import rules as rules_view
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_alert, make_delivery, make_version, only_sqlite
from tests.integration.web.console_kit import Served
from tests.integration.web.test_console_alerts import pages_of
from tests.statements import statements
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
        wrong = client.get("/deliveries?state=sent")
    assert (wrong.status_code, "state: sent is unknown: use waiting, held, dead" in wrong.text) == (400, True)


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


def test_held_deliveries_say_why(database: Database) -> None:
    """A delivery that waits for a summary is listed with what holds it."""
    row = make_delivery("alert-1")
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(), "g")])
        delivery_transitions.enqueue(connection, [row])
        delivery_transitions.suppress(connection, [Suppression(row, "silence", "silence-1", "silence")])
    with Served(database).open() as client:
        text = client.get("/deliveries?state=held").text
    assert "Cluster deleted" in text
    assert '<a class="ref" href="/silences" title="silence-1">silence-1</a>' in text
    assert "reported in the summary of the silence" in text


def test_pages_of_deliveries_are_one_list(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paging lists every waiting delivery once, by receiver and time."""
    monkeypatch.setattr(delivery_view, "PAGE_SIZE", 4)
    rows = [
        make_delivery(f"a{number:02}", "hook" if number % 3 else "z", due_at=NOON + MINUTE * (number % 4))
        for number in range(14)
    ]
    with database.write() as connection:
        delivery_transitions.enqueue(connection, rows)
    with Served(database).open() as client:
        found = [re.findall(r"alert (a\d\d)</th>", text) for text in pages_of(client, "/deliveries")]
    expected = sorted(rows, key=lambda row: (row.receiver, row.due_at, row.id))
    assert [len(page) for page in found] == [4, 4, 4, 2]
    assert [name for page in found for name in page] == [row.alert_id for row in expected]


def test_lists_read_indexes(database: Database) -> None:
    """No list of deliveries, silences or rules scans a table that grows."""
    only_sqlite(database)
    with database.read() as connection, statements() as ran:
        outbox.read_page(connection, DeliveryStatus.DEAD, None, 50, ("hook", NOON, "x"))
        outbox.read_page(connection, None, "hook", 50, ("hook", "silence", "x"))
        silences.read_current(connection, NOON)
        silences.read_expired(connection, NOON, 50, (NOON, "x"))
        alerts.count_by_rule(connection, NOON, 100)
    with database.read() as connection:
        plans = []
        for statement in ran:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?"))
            plans.append("\n".join(row[3] for row in rows))
    names = ("delivery_by_due", "delivery_awaiting", "silence_by_end", "silence_by_end", "alert_by_rule")
    for name, plan in zip(names, plans, strict=True):
        assert name in plan, plan
        assert not re.search(r"SCAN (alert|delivery|silence)", plan), plan
        assert "B-TREE FOR ORDER BY" not in plan, plan


def test_silences_by_time(database: Database) -> None:
    """Active silences, those to come and expired ones are separate; expired ones have pages."""
    with database.write() as connection:
        for number in range(60):
            start = NOON - (number + 2) * HOUR
            made = make_silence([f"rule=old{number:02}"], "sam", "done", start, start + HOUR, made_at=NOON)
            silences.write(connection, made)
        for name, start in (("now", NOON - HOUR), ("later", NOON + HOUR)):
            made = make_silence([f"rule={name}"], "sam", f"CHG-{name}", start, start + 3 * HOUR, made_at=NOON)
            silences.write(connection, made)
    with Served(database).open() as client:
        texts = list(pages_of(client, "/silences"))
    active, later, expired = (
        texts[0].split(f'aria-label="{name}"')[1].split("</section>")[0] for name in ("Active", "Future", "Expired")
    )
    assert ("CHG-now" in active, "CHG-later" in later) == (True, True)
    found = [name for text in [expired, *texts[1:]] for name in re.findall(r"rule=(?:&#34;)?(old\d\d)", text)]
    assert found == [f"old{number:02}" for number in range(60)]


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


def test_removed_rules_are_noticed(database: Database) -> None:
    """For a week, the overview and the rules name each rule that was removed, with its file, unless it came back."""
    entry = RuleEntry(
        at=NOON, rule_id="1", name="<one>", state=RuleState.LIVE, origin=EntryOrigin.ADDED, may_begin_at=NOON,
        begins_at=NOON, file="rules/one.yml",
    )  # fmt: skip
    gone = replace(entry, state=RuleState.REMOVED, origin=EntryOrigin.CHANGED)
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


def test_rules_are_searched_and_sorted(database: Database) -> None:
    """A text, levels, a tactic, a technique and blindness choose rules; orders sort them; what is unknown is named."""
    texts = [
        CLUSTER_DELETED_RULE.replace("cluster_deleted", name).replace("id:", "x-id:")
        for name in ("one", "two", "three")
    ]
    texts[1] = texts[1].replace("level: critical", "level: low") + "tags: [attack.persistence, attack.t1098.001]\n"
    rules = [rule for text in texts for rule in rules_in(text).rules]
    off = BlindSpan(NOON - 2 * HOUR, NOON - HOUR, Effect.BLIND, "mode: off")
    own = (RuleBlindness(rules[2].name.id, "three", RuleState.LIVE, (off,)),)
    with database.write() as connection:
        rule_versions.write(connection, [make_version(each.name.id, "", name=each.name.name) for each in rules])
        made = [make_alert(f"a{number}", rule=rules[2].name) for number in range(2)]
        alerts.insert_new(connection, [(each, "g") for each in made])
    with Served(database, rules=rules, blindness=Blindness(NOON - 168 * HOUR, NOON, (), own)).open() as client:

        def names(**query: str) -> list[str]:
            table = (
                client.get("/rules", params=query).text.split('aria-label="Rules in use"')[-1].split("</section>")[0]
            )
            return re.findall(r"data-item>([^<]*)</a>", table)

        assert names() == ["one", "three", "two"]
        assert names(text="THRE") == ["three"]
        assert names(level="low") == ["two"]
        assert names(tactic="persistence") == names(technique="T1098") == names(technique="T1098.001") == ["two"]
        assert names(blind="yes") == ["three"]
        assert names(sort="alerts")[0] == names(sort="last match")[0] == "three"
        assert names(sort="level") == ["one", "three", "two"]
        assert names(text="nothing") == []
        wrong = client.get("/rules", params={"sort": "colour"}).text
        assert "colour is unknown: use name, level, alerts, last match" in wrong
        assert '<a href="/rules?technique=T1098">' in wrong, "a tile links to its rules"


def test_rule_is_shown_as_people_wrote_it(database: Database, tmp_path: Path) -> None:
    """The page and a draft of a rule have the document of its file, with comments; of another version, what runs."""
    (rule,) = rules_in(CLUSTER_DELETED_RULE).rules
    file = tmp_path / "rules.yml"
    other = CLUSTER_DELETED_RULE.replace("cluster_deleted", "other")
    file.write_text(f"{other}---\n# why we have it\n{CLUSTER_DELETED_RULE}---\n{other}")
    line = other.count("\n") + 3
    version = replace(make_version(rule.name.id, CLUSTER_DELETED_RULE, name=rule.name.name), file=str(file), line=line)
    with database.write() as connection:
        rule_versions.write(connection, [version])
    pages = (f"/rules/{rule.name.id}", f"/draft?rule={rule.name.id}")
    with Served(database, rules=[rule]).open() as client:
        for page in pages:
            text = client.get(page).text
            assert "# why we have it" in text
            assert "name: other" not in text
        file.write_text(file.read_text().replace("level: critical", "level: low"))
        for page in pages:
            text = client.get(page).text
            assert "# why we have it" not in text
            assert "level: critical" in text


WATCHING = "tags: [attack.impact, attack.t1485]\n"


def test_rules_show_when_they_could_not_fire(database: Database) -> None:
    """The list has the blind time of each rule, removed rules, and what blinds all; the page of a rule has its intervals."""
    texts = [CLUSTER_DELETED_RULE.replace("cluster_deleted", name) for name in ("seeing", "blinded", "quiet", "new")]
    rules = [rule for text in texts for rule in rules_in(text.replace("id:", "x-id:")).rules]
    ids = {rule.name.name: rule.name.id for rule in rules}
    off = BlindSpan(NOON - 2 * HOUR, NOON - HOUR, Effect.BLIND, "mode: off")
    shadow = BlindSpan(NOON - HOUR, NOON, Effect.QUIET, "mode: shadow")
    own = [("seeing", ()), ("blinded", (off,)), ("quiet", (shadow,)), ("gone", (off,))]
    found = [RuleBlindness(ids.get(name, name), name, RuleState.LIVE, spans) for name, spans in own]
    blindness = Blindness(NOON - 168 * HOUR, NOON, (), tuple(found))
    with Served(database, rules=rules, blindness=blindness).open() as client:
        listed = client.get("/rules").text
        pages = {name: client.get(f"/rules/{ids[name]}").text for name in ids}
    rows = re.findall(
        r'data-item>([^<]*)</a>.*?data-label="blind in 7 days" class="word">(.*?)</td>', listed, re.DOTALL
    )
    marks = {name: re.sub("<.*?>", "", mark).strip() for name, mark in rows}
    assert marks == {"seeing": "never", "blinded": "1h", "quiet": "sends no message", "new": "not known"}
    assert "gone, which is no longer in use:" in listed
    assert "<strong>cannot fire</strong>: mode: off" in pages["blinded"]
    assert "Never: it ran on every action" in pages["seeing"]
    assert "the service has not recorded this rule" in pages["new"]


def test_what_blinds_all_is_shown_once_and_cut(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of every rule count for each, are listed, and are cut with the command that lists all."""
    monkeypatch.setattr(rules_view, "MAX_SPANS", 3)
    rules = rules_in(CLUSTER_DELETED_RULE).rules
    gaps = [
        BlindSpan(NOON - (n + 1) * HOUR, NOON - n * HOUR, Effect.BLIND, f"acme is not read yet {n}") for n in range(5)
    ]
    own = RuleBlindness(rules[0].name.id, "cluster_deleted", RuleState.LIVE, ())
    blindness = Blindness(NOON - 168 * HOUR, NOON, tuple(gaps), (own,))
    with Served(database, rules=rules, blindness=blindness).open() as client:
        for path in ("/rules", f"/rules/{rules[0].name.id}"):
            text = client.get(path).text
            assert [f"not read yet {n}" in text for n in range(5)] == [True, True, True, False, False]
            assert "and 2 more: <code>actionwatch rules coverage --blind</code> lists all" in text
        assert '<span class="dim">never by itself</span>' in client.get("/rules").text


def test_matrix_counts_rules_and_marks_blind_ones(database: Database) -> None:
    """Each technique of the matrix has the number of its rules, and how many were blind; rules that are off do not count."""
    texts = [f"{CLUSTER_DELETED_RULE.replace('cluster_deleted', name)}" for name in ("one", "two", "three")]
    named = [text.replace("id:", "x-id:") + ("" if "tags:" in text else WATCHING) for text in texts]
    rules = [rule for text in [*named[:2], f"{named[2]}mode: off\n"] for rule in rules_in(text).rules]
    off = BlindSpan(NOON - 2 * HOUR, NOON - HOUR, Effect.BLIND, "mode: off")
    quiet = BlindSpan(NOON - 2 * HOUR, NOON - HOUR, Effect.QUIET, "mode: shadow")
    techniques = set()
    for spans, words in (((quiet,), ("watched", "2 rules")), ((off,), ("partly", "2 rules, 1 blind for some time"))):
        own = [RuleBlindness(rules[0].name.id, "one", RuleState.LIVE, spans)]
        blindness = Blindness(NOON - 168 * HOUR, NOON, (), tuple(own))
        with Served(database, rules=rules, blindness=blindness).open() as client:
            text = client.get("/rules").text
        cells = re.findall(r'class="cell (\w+)".*?<strong>(.*?)</strong>.*?<span>(.*?)</span>', text, re.DOTALL)
        by_name = {technique: (state, words) for state, technique, words in cells}
        assert by_name["T1485"] == words
        assert by_name["T1490"] == ("none", "no rule")
        techniques.add(len(cells))
        assert '<section aria-label="impact"><h3>impact</h3>' in text
    assert techniques == {len(cover_techniques(()))}
