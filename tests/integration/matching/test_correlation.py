"""Correlations over a real store: opened, joined and resolved in one transaction each, the same after any restart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from actionwatch.base.errors import StoreError
from actionwatch.base.model import Alert, Entity, Event, Level, Record, Status
from actionwatch.cli.rules.explain import views_from_store
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import Matcher
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.rules.model import Rule
from actionwatch.service.simulation import simulate
from actionwatch.store import alert_history, alerts, marks, records
from actionwatch.store.database import Database
from actionwatch.text.yaml_document import read_text
from tests.builders import NOON, make_marks, make_record, open_database
from tests.integration.kit import Post
from tests.unit.rules.builders import KINDS
from tests.unit.rules.correlation.live import RULES

MINUTE = timedelta(minutes=1)
HEAD = "title: {0}\nname: {0}\nlevel: high\nlogsource: {{product: instaclustr}}\n"
DELETED = "detection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
BURST = (
    HEAD.format("burst")
    + DELETED
    + "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 3}}\n"
    + "alert: {title: '{{ count }} by {{ group.userName }}', level: {critical: {cluster.name: prod}}, fields: [userName]}\n"
)
MISSING = (
    HEAD.format("missing")
    + DELETED
    + "correlation: {type: event_count, group-by: [clusterId], timespan: 1h, condition: {lt: 1},"
    + " expect-groups: {clusterId: [c-1]}}\nalert: {title: 'nothing on {{ clusterId }}'}\n"
)
MISSING_TOGETHER = (
    HEAD.format("missing")
    + DELETED
    + "correlation: {type: event_count, group-by: [userName, clusterId], timespan: 1h, condition: {lt: 1},"
    + " expect-groups: {userName: [eve], clusterId: [c-1, c-2]}}\nalert: {group_by: [userName]}\n"
)
UNANSWERED = HEAD.format("unanswered") + (
    "detection:\n  made: {actionKind: CREATE_CLUSTER}\n  gone: {actionKind: DELETE_CLUSTER}\n"
    "correlation: {type: temporal_ordered, rules: [made, gone], group-by: [userName], timespan: 10m,"
    " condition: made and not gone}\n"
)


def rules_of(text: str) -> Sequence[Rule]:
    """Load rules without a fault."""
    built = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS)
    assert built.faults == ()
    return built.rules


def matcher(post: Post, rules: Sequence[Rule], batch_size: int = 2000, **more: timedelta) -> Matcher:
    """Make the step of a process that just started."""
    correlating = Correlating(rules, post.addressing, **more)  # type: ignore[arg-type]
    return Matcher(post.database, Engine(rules), post.addressing, post.clock, batch_size, correlating)


def see(
    database: Database, proved: datetime, *, name: str = "acme", begins: datetime = NOON, alerts_from: datetime = NOON
) -> None:
    """Say how far a source has proved what it saw."""
    with database.write() as connection:
        marks.write(
            connection,
            make_marks(
                name=name,
                begins_at=begins,
                alerts_from=alerts_from,
                **dict.fromkeys(("mark", "seen_through", "proved_through"), proved),
            ),
        )


def only(post: Post) -> Alert:
    """Give the one alert there is."""
    (alert,) = post.alerts().values()
    return alert


def test_a_burst_opens_one_alert_and_more_of_it_joins(post: Post) -> None:
    """The third record opens the alert with all three; the fourth joins, and raises the level where the level map says so."""
    step = matcher(post, rules_of(BURST))
    post.store(make_record(1, minutes=0), make_record(2, minutes=1))
    assert step.run_once() == 0
    post.store(make_record(3, minutes=2, late_by=MINUTE))
    assert step.run_once() == 1
    alert = only(post)
    assert (alert.count, alert.first_at, alert.last_at) == (3, NOON, NOON + 2 * MINUTE)
    assert (alert.title, alert.level, alert.group) == ("3 by eve", Level.HIGH, {"userName": "eve"})
    assert (alert.late_by, alert.fields, alert.realert) == (MINUTE, ("userName",), 10 * MINUTE)
    post.store(make_record(4, minutes=12, cluster=Entity("c", "prod")), make_record(5, minutes=12.1))
    assert step.run_once() == 0
    assert (only(post).count, only(post).level) == (4, Level.CRITICAL)
    assert step.run_once() == 0


def test_groups_that_are_told_as_one(post: Post) -> None:
    """What fires in a second group joins the alert of the first, tells receivers once more, and goes on after a restart."""
    rules = rules_of(
        BURST.replace("[userName]", "[userName, clusterId]", 1).replace("alert: {", "alert: {group_by: [userName], ")
    )
    step = matcher(post, rules)
    a, b, c = Entity("a"), Entity("b"), Entity("c", "prod")
    post.store(*(make_record(n, minutes=n, cluster=a) for n in range(3)))
    assert step.run_once() == 1
    post.store(*(make_record(n, minutes=n, cluster=b) for n in range(3, 6)))
    assert step.run_once() == 0
    assert (only(post).count, only(post).group, only(post).level) == (6, {"userName": "eve"}, Level.HIGH)
    post.store(*(make_record(n, minutes=n, cluster=c) for n in range(6, 9)), make_record(9, minutes=9, cluster=b))
    assert matcher(post, rules).run_once() == 0
    assert (only(post).count, only(post).last_at, only(post).level) == (10, NOON + 9 * MINUTE, Level.CRITICAL)
    post.store(*(make_record(n, minutes=n, cluster=a) for n in range(20, 23)))
    assert matcher(post, rules).run_once() == 1


def test_what_is_missing_too_joins_and_is_told(post: Post) -> None:
    """A second group that is missing is named in the alert of the first, and told as an update; once, restarts or not."""
    rules = rules_of(MISSING_TOGETHER)
    post.store(make_record(1, cluster=Entity("c-1")), make_record(2, minutes=30, cluster=Entity("c-2")))
    see(post.database, NOON + 60 * MINUTE)
    assert matcher(post, rules).run_once() == 1
    assert only(post).body.splitlines() == [missing_since("c-1", 0)]
    post.deliver()
    see(post.database, NOON + 90 * MINUTE)
    for _ in range(2):
        assert matcher(post, rules).run_once() == 0
    alert = only(post)
    assert alert.body.splitlines() == [missing_since("c-1", 0), missing_since("c-2", 30)]
    assert (alert.count, alert.first_at, alert.last_at) == (0, NOON + 60 * MINUTE, NOON + 90 * MINUTE)
    assert [row.event for row in post.rows()] == [Event.OPENED, Event.UPDATED]


def test_what_is_missing_after_somebody_resolved_the_alert_opens_another(post: Post) -> None:
    """Who resolves an alert by hand has said nothing of what goes missing later; the next match ends each of them."""
    rules = rules_of(MISSING_TOGETHER)
    post.store(make_record(1, cluster=Entity("c-1")), make_record(2, minutes=30, cluster=Entity("c-2")))
    see(post.database, NOON + 60 * MINUTE)
    assert matcher(post, rules).run_once() == 1
    with post.database.write() as connection:
        alerts.update(connection, structs.replace(only(post), status=Status.RESOLVED, resolved_by="eve"))
    see(post.database, NOON + 90 * MINUTE)
    assert matcher(post, rules).run_once() == 1
    assert sorted(alert.status for alert in post.alerts().values()) == [Status.OPEN, Status.RESOLVED]
    assert matcher(post, rules).run_once() == 0
    post.store(*(make_record(n, minutes=92 + n, cluster=Entity(f"c-{n}")) for n in (1, 2)))
    see(post.database, NOON + 95 * MINUTE)
    assert matcher(post, rules).run_once() == 0
    assert {alert.resolved_by for alert in post.alerts().values()} == {"eve", "actionwatch"}


def missing_since(cluster: str, minutes: int) -> str:
    """Say what an alert says of a cluster with its last record so many minutes after noon."""
    last, due = (f"{NOON + (minutes + more) * MINUTE:%Y-%m-%dT%H:%M:%S.000Z}" for more in (0, 60))
    return f"Nothing for userName eve, clusterId {cluster} since {last}: expected within 1h, due at {due}."


def test_what_is_missing_opens_and_resolves_with_verified_time(post: Post) -> None:
    """No record comes: verified time alone opens the alert, the next match resolves it, and both are told."""
    rules = rules_of(MISSING)
    step = matcher(post, rules)
    see(post.database, NOON + 59 * MINUTE)
    assert step.run_once() == 0
    see(post.database, NOON + 60 * MINUTE)
    assert step.run_once() == 1
    alert = only(post)
    assert (alert.count, alert.first_at, alert.title, alert.source) == (0, NOON + 60 * MINUTE, "nothing on c-1", "acme")
    see(post.database, NOON + 90 * MINUTE)
    assert matcher(post, rules).run_once() == 0
    post.store(make_record(minutes=95, cluster=Entity("c-1")))
    assert matcher(post, rules).run_once() == 0
    alert = only(post)
    assert (alert.status, alert.resolved_by, alert.resolved_at) == (Status.RESOLVED, "actionwatch", NOON + 95 * MINUTE)
    assert post.states() == ["hook opened pending", "hook resolved pending"]
    see(post.database, NOON + 154 * MINUTE)
    assert matcher(post, rules).run_once() == 0
    see(post.database, NOON + 155 * MINUTE)
    assert matcher(post, rules).run_once() == 1
    assert len(post.alerts()) == 2


def test_the_lowest_of_several_sources_counts(post: Post) -> None:
    """One source that lags keeps what is missing from being judged; one never polled, too, where it is configured."""
    see(post.database, NOON + 600 * MINUTE)
    see(post.database, NOON + 30 * MINUTE, name="other")
    step = matcher(post, rules_of(MISSING))
    assert step.run_once() == 0
    see(post.database, NOON + 60 * MINUTE, name="other")
    assert step.run_once() == 1
    assert matcher(post, rules_of(MISSING), sources=["acme", "third"]).run_once() == 0  # type: ignore[arg-type]


def test_a_trailing_not_waits_for_proof(post: Post) -> None:
    """Nothing followed: told once that is proved, also by a process that started in between."""
    rules = rules_of(UNANSWERED)
    post.store(make_record(1, action_kind="CREATE_CLUSTER"))
    see(post.database, NOON + 9 * MINUTE)
    assert matcher(post, rules).run_once() == 0
    see(post.database, NOON + 10 * MINUTE)
    assert matcher(post, rules).run_once() == 1
    assert (only(post).count, only(post).first_at) == (1, NOON)


def test_what_waits_outlives_a_restart_however_short_its_realert(post: Post) -> None:
    """The next process also waits for the step that must not follow, even if alerts are joined only briefly."""
    rules = rules_of(UNANSWERED + "alert: {realert: 1s}\n")
    post.store(make_record(1, action_kind="CREATE_CLUSTER"), make_record(2, minutes=8, action_kind="BACKUP"))
    see(post.database, NOON + 8 * MINUTE)
    assert matcher(post, rules, keep=MINUTE).run_once() == 0
    see(post.database, NOON + 10 * MINUTE)
    assert matcher(post, rules, keep=MINUTE).run_once() == 1


def test_backlog_is_learned_from(post: Post) -> None:
    """Backlog records open nothing; a live one that completes their window opens an alert that holds them."""
    see(post.database, NOON, begins=NOON - 60 * MINUTE)
    old = [make_record(n, minutes=n - 60, is_backlog=True) for n in range(4)]
    post.store(*old, make_record(10, minutes=-2, is_backlog=True), make_record(11, minutes=-1, is_backlog=True))
    step = matcher(post, rules_of(BURST))
    assert step.run_once() == 0
    post.store(make_record(12, minutes=0))
    assert step.run_once() == 1
    assert only(post).count == 3


def test_what_was_missing_in_the_backlog_is_not_told(post: Post) -> None:
    """An absence that ended before records could alert stays untold; one that goes on is told once live time is proved."""
    see(post.database, NOON - 100 * MINUTE, begins=NOON - 400 * MINUTE)
    post.store(make_record(1, minutes=-200, is_backlog=True, cluster=Entity("c-1")))
    step = matcher(post, rules_of(MISSING))
    assert step.run_once() == 0
    see(post.database, NOON + MINUTE, begins=NOON - 400 * MINUTE)
    assert step.run_once() == 1
    assert only(post).first_at == NOON - 140 * MINUTE


def test_a_new_rule_does_not_dig_up_the_past(post: Post) -> None:
    """A rule that comes later, or is changed, learns from the stored records, and alerts only with newer ones."""
    post.store(*(make_record(n, minutes=n) for n in range(3)))
    assert matcher(post, rules_of(MISSING)).run_once() == 0
    assert matcher(post, rules_of(BURST)).run_once() == 0
    post.store(make_record(4, minutes=4))
    assert matcher(post, rules_of(BURST)).run_once() == 1
    assert only(post).count == 4
    changed = BURST.replace("gte: 3", "gte: 2")
    assert matcher(post, rules_of(changed)).run_once() == 0
    assert len(post.alerts()) == 1


def test_a_failed_commit_changes_nothing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the transaction fails, the state is rebuilt, and the alert opens the next time."""
    step = matcher(post, rules_of(BURST))
    post.store(*(make_record(n, minutes=n) for n in range(3)))

    def fail(*_: object) -> None:
        raise StoreError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("actionwatch.store.positions.write", fail)
        with pytest.raises(StoreError):
            step.run_once()
    assert post.alerts() == {}
    assert step.run_once() == 1
    assert only(post).count == 3


def test_a_very_late_record_has_the_state_rebuilt(post: Post) -> None:
    """A record from long before what is kept is evaluated in the window it belongs to."""
    step = matcher(post, rules_of(BURST), keep=10 * MINUTE)
    post.store(make_record(1, minutes=0), make_record(2, minutes=1))
    for hours in range(1, 10):
        post.store(make_record(hours * 10, minutes=60 * hours))
        see(post.database, NOON + timedelta(hours=hours))
        assert step.run_once() == 0
    post.store(make_record(3, minutes=2, late_by=timedelta(hours=9)))
    assert step.run_once() == 1
    assert (only(post).first_at, only(post).count, only(post).late_by) == (NOON, 3, timedelta(hours=9))


def test_a_person_who_resolved_hears_no_more(post: Post) -> None:
    """What joins a resolved alert is counted, and sends nothing."""
    step = matcher(post, rules_of(BURST))
    post.store(*(make_record(n, minutes=n) for n in range(3)))
    step.run_once()
    with post.database.write() as connection:
        alerts.update(connection, structs.replace(only(post), status=Status.RESOLVED))
    post.store(make_record(9, minutes=5))
    assert step.run_once() == 0
    assert only(post).count == 4
    assert post.states() == ["hook opened pending"]


@pytest.mark.parametrize("seed", range(12))
def test_any_course_gives_the_alerts_of_the_plain_run(tmp_path: Path, seed: int) -> None:
    """Every kind of correlation at once: batched and restarted at random, the store holds the alerts of a backtest."""
    chance = random.Random(seed)
    rules = rules_of(RULES)
    stored = _stream(chance)
    post = Post(open_database(tmp_path))
    see(post.database, NOON)
    size = chance.choice([3, 2000])
    step = matcher(post, rules, size, keep=5 * MINUTE)
    waiting = list(stored)
    while waiting:
        batch = [waiting.pop(0) for _ in range(min(len(waiting), chance.randint(1, 9)))]
        if size > len(batch):
            chance.shuffle(batch)  # what is matched together is put into order
        post.store(*batch)
        see(post.database, max(record.occurred_at for record in batch) - chance.choice([0, 3]) * MINUTE)
        step.run_once()
        if chance.random() < 0.3:
            size = chance.choice([3, 2000])
            step = matcher(post, rules, size, keep=5 * MINUTE)
    end = NOON + timedelta(hours=20)
    see(post.database, end)
    step.run_once()
    plain = simulate(rules, stored, begin=NOON, start=NOON, until=end, verified_until=end)
    assert _told(post.database) == {
        each.id: (
            each.count,
            each.first_at,
            each.last_at,
            each.resolved_at,
            [record.key for record in plain.records[each.id]],
        )
        for each in plain.alerts
    }
    post.database.close()


def _stream(chance: random.Random) -> list[Record]:
    """Make four hours of records in event order, no two at one instant."""
    at = NOON
    stored = []
    for number in range(120):
        at += timedelta(seconds=chance.choice([1, 20, 40, 60, 90, 120, 300, 900]))
        kind = chance.choice(["BACKUP", "BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"])
        user = chance.choice(["eve", "eve", "bob"])
        stored.append(make_record(number, occurred_at=at, action_kind=kind, user_name=user))
    return stored


def _told(database: Database) -> dict[str, tuple[object, ...]]:
    with database.read() as connection:
        found = alerts.read_newest(connection, 10_000)
        held = records.read_of_alerts(connection, [alert.id for alert in found], 10_000)
    return {
        alert.id: (
            alert.count, alert.first_at, alert.last_at, alert.resolved_at, [record.key for record in held[alert.id]]
        )
        for alert in found
    }  # fmt: skip


@pytest.mark.parametrize("rule", [BURST, UNANSWERED])
def test_an_explanation_names_the_alert_that_was_told(post: Post, rule: str) -> None:
    """In a stream that never pauses each alert begins where the one before ended: to begin elsewhere gives others."""
    rules = rules_of(rule)
    kinds = ["DELETE_CLUSTER"] if rule == BURST else ["CREATE_CLUSTER"]
    stored = [make_record(n, minutes=2 * n, action_kind=kinds[n % len(kinds)]) for n in range(200)]
    step = matcher(post, rules)
    post.store(*stored)
    see(post.database, NOON + timedelta(hours=10))
    step.run_once()
    correlation = rules[0].correlation
    assert correlation is not None
    named = list[str]()
    with post.database.read() as connection:
        for record in records.read_after(connection, 150, 40):
            (view,) = views_from_store(connection, rules[0], rules, record)
            if view.found is not None:
                named.append(correlation.alert_id(view.group, view.found.origin))
                assert named[-1:] == alerts.read_of_record(connection, record.id)
    assert len(set(named)) > 3


DISTINCT = BURST.replace("event_count", "value_count").replace("{gte: 3}", "{field: clusterId, gte: 3}")


@pytest.mark.parametrize("rule", [BURST, DISTINCT], ids=["event_count", "value_count"])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_correlation_counts_an_action_once(post: Post, rule: str, *, is_restarted: bool) -> None:
    """A burst counts an action twice because two sources read it, live or when its state is rebuilt."""
    rules = rules_of(rule)
    step = matcher(post, rules)
    for n in range(2):
        record = make_record(n, minutes=n, cluster=Entity(f"c-{n}"))
        post.store(record, structs.replace(record, source="spare"))
        assert step.run_once() == 0
    if is_restarted:
        step = matcher(post, rules)
    post.store(make_record(1, minutes=1, source="third", cluster=Entity("c-1")))
    assert step.run_once() == 0
    post.store(make_record(2, minutes=2, cluster=Entity("c-2")), make_record(2, minutes=2, source="spare"))
    assert step.run_once() == 1
    assert only(post).count == 3


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_correlation_may_alert_of_what_another_source_read_as_backlog(post: Post, *, is_restarted: bool) -> None:
    """A burst that one source read as backlog stays silent though another source reads it as news."""
    rules = rules_of(BURST)
    step = matcher(post, rules)
    post.store(*(make_record(n, minutes=n, is_backlog=True) for n in range(3)))
    assert step.run_once() == 0
    post.store(*(make_record(n, minutes=n, source="spare") for n in range(3)))
    assert (matcher(post, rules) if is_restarted else step).run_once() == 1
    assert only(post).count == 3
    assert matcher(post, rules).run_once() == 0
    assert (len(post.alerts()), only(post).count) == (1, 3)


def _missing(post: Post, text: str = MISSING) -> Alert:
    """Have the group c-1 be missing, and told."""
    post.store(make_record(1, cluster=Entity("c-1")), make_record(9, minutes=50, cluster=Entity("c-2")))
    see(post.database, NOON + 60 * MINUTE)
    assert matcher(post, rules_of(text)).run_once() == 1
    post.deliver()
    post.clock.advance(minutes=5)
    return only(post)


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (MISSING.replace("[c-1]", "[c-2]"), "'c-1' is no longer in its 'expect-groups'"),
        (
            MISSING.replace("clusterId", "userName").replace("[c-1]", "[eve]"),
            "'c-1' is no longer in its 'expect-groups'",
        ),
        (MISSING.replace("level: high", "level: high\nmode: off"), "the rule missing no longer runs"),
        (MISSING.replace("name: missing", "name: other"), "the rule missing no longer runs"),
        (BURST, "the rule missing no longer runs"),
        ("", "the rule missing no longer runs"),
        (BURST.replace("burst", "missing"), "the rule missing no longer reports what is missing"),
    ],
    ids=["entry removed", "other field", "off", "renamed", "deleted", "the last rule deleted", "no absence any more"],
)
def test_what_is_no_longer_expected_is_over(post: Post, after: str, why: str) -> None:
    """An absence that nothing can end any more ends, and says why, in its story and to those who were told; once."""
    alert = _missing(post)
    step = matcher(post, rules_of(after) if after else ())
    for _ in range(2):
        step.run_once()
        post.deliver()
    over = post.alerts()[alert.id]
    assert (over.status, over.resolved_by, over.resolved_at) == (Status.RESOLVED, "actionwatch", post.clock())
    assert why in over.body
    mine = [message for message in post.senders["hook"].sent if message.data["id"] == alert.id]
    assert [message.type for message in mine] == ["alert.opened", "alert.resolved"]
    assert why in mine[-1].data["body"]
    with post.database.read() as connection:
        told = [entry.what for entry in alert_history.read(connection, alert.id) if entry.stage == "resolved"]
    assert len(told) == 1
    assert why in told[0]


def test_what_is_expected_again_is_told_again(post: Post) -> None:
    """A group that is taken back into the list, and still missing, opens a new alert; it resolves when something comes."""
    alert = _missing(post)
    matcher(post, rules_of(MISSING.replace("[c-1]", "[c-2]"))).run_once()
    rules = rules_of(MISSING)
    assert matcher(post, rules).run_once() == 1
    assert matcher(post, rules).run_once() == 0
    (again,) = [found for found in post.alerts().values() if found.id != alert.id]
    assert again.status is Status.OPEN
    post.deliver()
    assert [message.data["id"] for message in post.senders["hook"].sent][-1] == again.id
    post.store(make_record(2, minutes=70, cluster=Entity("c-1")))
    see(post.database, NOON + 80 * MINUTE)
    matcher(post, rules).run_once()
    assert post.alerts()[again.id].status is Status.RESOLVED


def test_one_of_several_is_no_longer_expected(post: Post) -> None:
    """An alert that names two groups goes on for the one that is still expected, and ends with it."""
    rules = rules_of(MISSING_TOGETHER)
    post.store(make_record(1, cluster=Entity("c-1")), make_record(2, cluster=Entity("c-2")))
    see(post.database, NOON + 61 * MINUTE)
    matcher(post, rules).run_once()
    alert = only(post)
    rules = rules_of(MISSING_TOGETHER.replace("c-1, ", ""))
    matcher(post, rules).run_once()
    assert only(post).status is Status.OPEN
    with post.database.read() as connection:
        assert any("'c-1' is no longer" in entry.what for entry in alert_history.read(connection, alert.id))
    post.store(make_record(3, minutes=70, cluster=Entity("c-2")))
    see(post.database, NOON + 80 * MINUTE)
    matcher(post, rules).run_once()
    assert only(post).status is Status.RESOLVED
