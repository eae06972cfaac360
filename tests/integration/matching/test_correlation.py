"""Correlations over a real store: each change is one transaction, and a restart changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from actionwatch.base.errors import StoreError
from actionwatch.base.model import Alert, Entity, Level, Match, Record, Status
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.correlations.fold_cache import MOST, FoldCache
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.rules.model import Rule
from actionwatch.service.simulation import simulate
from actionwatch.service.stored_views import views_from_store
from actionwatch.store import alert_history, alerts, correlations, hits, marks, records
from actionwatch.store.database import Database
from actionwatch.store.tables import ALERT
from actionwatch.text.yaml_document import read_text
from tests.builders import NOON, make_marks, make_record
from tests.integration.kit import Post
from tests.statements import questions
from tests.unit.rules.builders import KINDS
from tests.unit.rules.correlation.live import RULES, VERSIONS, unchanged

Patch = pytest.MonkeyPatch

MINUTE = timedelta(minutes=1)
SOURCES = ("acme",)
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
UNANSWERED = HEAD.format("unanswered") + (
    "detection:\n  made: {actionKind: CREATE_CLUSTER}\n  gone: {actionKind: DELETE_CLUSTER}\n"
    "correlation: {type: temporal_ordered, rules: [made, gone], group-by: [userName], timespan: 10m,"
    " condition: made and not gone}\n"
)


def rules_of(text: str) -> Sequence[Rule]:
    """Load rules that have no error."""
    built = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS)
    assert built.faults == ()
    return built.rules


def matcher(post: Post, rules: Sequence[Rule], batch_size: int = 2000, **more: timedelta) -> RecordMatcher:
    """Make the matching step of a process that has just started."""
    correlating = Correlating(rules, post.addressing, **more)  # type: ignore[arg-type]
    return RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, batch_size, correlating)


def see(
    database: Database, proved: datetime, *, name: str = "acme", begins: datetime = NOON, alerts_from: datetime = NOON
) -> None:
    """Store the time up to which a source is proved."""
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


def disk_full(*_: object, **__: object) -> None:
    """Fail like a statement that the store cannot execute."""
    raise StoreError("disk full")


def only(post: Post) -> Alert:
    """Return the only alert."""
    (alert,) = post.alerts().values()
    return alert


def test_burst_opens_one_alert_and_later_records_join(post: Post) -> None:
    """The third record opens the alert with all three. The fourth joins, and raises the level as the level map specifies."""
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


def test_absence_opens_with_verified_time_and_resolves_with_a_match(post: Post) -> None:
    """Without records, verified time alone opens the alert. The next match resolves it, and both messages are sent."""
    rules = rules_of(MISSING)
    step = matcher(post, rules)
    see(post.database, NOON + 59 * MINUTE)
    assert step.run_once() == 0
    see(post.database, NOON + 60 * MINUTE - timedelta(microseconds=1))
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


def test_trailing_not_fires_after_proof(post: Post) -> None:
    """The alert opens once it is proved that nothing followed, also in a process that was restarted meanwhile."""
    rules = rules_of(UNANSWERED)
    post.store(make_record(1, action_kind="CREATE_CLUSTER"))
    see(post.database, NOON + 10 * MINUTE - timedelta(microseconds=1))
    assert matcher(post, rules).run_once() == 0
    see(post.database, NOON + 10 * MINUTE)
    assert matcher(post, rules).run_once() == 1
    assert (only(post).count, only(post).first_at) == (1, NOON)


def test_trailing_not_does_not_fire_early_when_its_group_has_news(post: Post) -> None:
    """Another record of the group is no reason to judge it a microsecond before enough time is proved."""
    step = matcher(post, rules_of(UNANSWERED))
    post.store(make_record(1, action_kind="CREATE_CLUSTER"))
    see(post.database, NOON + 10 * MINUTE - timedelta(microseconds=1))
    assert step.run_once() == 0
    post.store(make_record(2, minutes=9, action_kind="CREATE_CLUSTER"))
    assert step.run_once() == 0
    see(post.database, NOON + 10 * MINUTE)
    assert step.run_once() == 1


def test_backlog_counts_but_does_not_alert(post: Post) -> None:
    """Backlog records open no alert. A live record that completes their window opens one that contains them."""
    see(post.database, NOON, begins=NOON - 60 * MINUTE)
    old = [make_record(n, minutes=n - 60, is_backlog=True) for n in range(4)]
    post.store(*old, make_record(10, minutes=-2, is_backlog=True), make_record(11, minutes=-1, is_backlog=True))
    step = matcher(post, rules_of(BURST))
    assert step.run_once() == 0
    post.store(make_record(12, minutes=0))
    assert step.run_once() == 1
    assert only(post).count == 3


def test_absence_that_ended_in_the_backlog_does_not_alert(post: Post) -> None:
    """An absence that ended before records could alert opens nothing; one that continues opens after live time is proved."""
    see(post.database, NOON - 100 * MINUTE, begins=NOON - 400 * MINUTE)
    post.store(make_record(1, minutes=-200, is_backlog=True, cluster=Entity("c-1")))
    step = matcher(post, rules_of(MISSING))
    assert step.run_once() == 0
    see(post.database, NOON + MINUTE, begins=NOON - 400 * MINUTE)
    assert step.run_once() == 1
    assert only(post).first_at == NOON - 140 * MINUTE


@pytest.mark.parametrize("place", ["positions.move", "correlations.write", "alerts.insert_new"])
def test_a_failed_commit_changes_nothing(post: Post, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """After a failed transaction the state is rebuilt, and the alert opens with the next one."""
    step = matcher(post, rules_of(BURST))
    post.store(*(make_record(n, minutes=n) for n in range(3)))

    with monkeypatch.context() as patched:
        patched.setattr(f"actionwatch.store.{place}", disk_full)
        with pytest.raises(StoreError):
            step.run_once()
    assert post.alerts() == {}
    assert step.run_once() == 1
    assert only(post).count == 3


def test_a_failed_commit_of_what_time_brought_changes_nothing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absence whose alert could not be stored is reported by the next run, though no record moved the position."""
    step = matcher(post, rules_of(MISSING))
    see(post.database, NOON)
    assert step.run_once() == 0
    see(post.database, NOON + timedelta(hours=2))

    with monkeypatch.context() as patched:
        patched.setattr("actionwatch.store.alerts.insert_new", disk_full)
        with pytest.raises(StoreError):
            step.run_once()
    assert post.alerts() == {}
    assert step.run_once() == 1


def test_match_that_joins_a_resolved_alert_sends_nothing(post: Post) -> None:
    """A record that joins a resolved alert is counted, and no message is sent."""
    step = matcher(post, rules_of(BURST))
    post.store(*(make_record(n, minutes=n) for n in range(3)))
    step.run_once()
    with post.database.write() as connection:
        alerts.update(connection, structs.replace(only(post), status=Status.RESOLVED))
    post.store(make_record(9, minutes=5))
    assert step.run_once() == 0
    assert only(post).count == 4
    assert post.states() == ["hook opened pending"]


LONG = BURST.replace("10m", "7d")


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        (BURST.replace("alert: {", "alert: {realert: 30d, "), BURST, (0, 0.001, 0.002)),
        (BURST.replace("alert: {", "alert: {realert: 30d, "), BURST, (4.5, 4.501, 4.502)),
        (LONG, BURST, (0, 0.1, 0.2)),
        (LONG, BURST, (0, 4.7, 4.9)),
        (LONG, BURST, (4.5, 4.6, 4.7)),
        (LONG, BURST.replace("alert: {", "alert: {realert: 1d, "), (0, 4.7, 4.9)),
    ],
)
def test_shortened_rule_alerts_again(post: Post, before: str, after: str, days: Sequence[float]) -> None:
    """After `realert` or `timespan` was shortened, what comes later than the new `realert` opens an alert, and is sent."""

    def happen(number: int, *days: float) -> None:
        post.store(*(make_record(number + n, occurred_at=NOON + timedelta(days=day)) for n, day in enumerate(days)))
        see(post.database, NOON + timedelta(days=max(*days, 5)), begins=begin, alerts_from=begin)

    begin = NOON - timedelta(days=10)
    happen(0, *days)
    post.store(make_record(99, occurred_at=NOON + timedelta(days=5), user_name="bob"))
    step = matcher(post, rules_of(before))
    assert step.run_once() == 1
    with post.database.write() as connection:
        alerts.update(connection, structs.replace(only(post), status=Status.RESOLVED))
    step = matcher(post, rules_of(after))
    assert step.run_once() == 0
    for number, day in enumerate((6.5, 8), 1):
        happen(3 * number, day, day + 0.001, day + 0.002)
        assert step.run_once() == 1
    assert sorted(alert.count for alert in post.alerts().values()) == [3, 3, 3]


STREAMS = pytest.mark.parametrize(("seed", "cached"), [(0, 0), (1, 60), (2, MOST), (3, 0)])
"""Streams, with rules of all types, for matchers that cache no folds, few or many."""


def _cached(monkeypatch: pytest.MonkeyPatch, cached: int) -> None:
    """Let matchers cache folds up to a size."""
    monkeypatch.setattr("actionwatch.matching.correlating.FoldCache", partial(FoldCache, cached))


@STREAMS
def test_batches_and_restarts_give_the_alerts_of_a_backtest(
    post: Post, monkeypatch: Patch, seed: int, cached: int
) -> None:
    """With all types of correlations, and random restarts, the alerts are those of a backtest."""
    _cached(monkeypatch, cached)
    _assert_alerts_of_a_backtest(post, random.Random(seed), [rules_of(RULES)])


@pytest.mark.parametrize(("seed", "versions"), [*enumerate(VERSIONS)])
def test_reloads_change_no_other_rules(post: Post, monkeypatch: Patch, versions: str, seed: int) -> None:
    """When some rules are changed, added or removed, the others give the alerts of a backtest, beside self-alerts."""
    _cached(monkeypatch, MOST if seed % 2 else 0)
    _assert_alerts_of_a_backtest(post, random.Random(seed), VERSIONS[versions])


@STREAMS
def test_records_in_any_order_give_the_alerts_of_a_backtest(
    post: Post, monkeypatch: Patch, seed: int, cached: int
) -> None:
    """Records come in any order, hours late, while time is verified up to the oldest that is missing, with random restarts.

    In the end, the current alerts are those of all records in order, and every record of them is held.
    """
    _cached(monkeypatch, cached)
    chance, loaded_rules = random.Random(seed), rules_of(RULES)
    stored = _stream(chance)
    waiting = sorted(stored, key=lambda record: record.occurred_at + chance.choice([0, 0, 0, 1, 60, 240]) * MINUTE)
    see(post.database, NOON)
    step, verified = matcher(post, loaded_rules, keep=5 * MINUTE), NOON
    while waiting:
        batch = [waiting.pop(0) for _ in range(min(len(waiting), chance.randint(1, 9)))]
        post.store(*batch)
        oldest = min((record.occurred_at for record in waiting), default=batch[-1].occurred_at)
        verified = max(verified, oldest - chance.choice([1, 4]) * MINUTE)
        see(post.database, verified)
        step.run_once()
        if chance.random() < 0.3:
            step = matcher(post, loaded_rules, chance.choice([3, 2000]), keep=5 * MINUTE)
    end = NOON + timedelta(hours=20)
    see(post.database, end)
    step.run_once()
    plain = simulate(loaded_rules, stored, begin=NOON, start=NOON, until=end, verified_until=end)
    by_id = {rule.name.id: rule.correlation for rule in loaded_rules if rule.correlation is not None}
    with post.database.read() as connection:
        standing = [
            known for rule_id in by_id for known in correlations.read_since(connection, rule_id, NOON - 20 * MINUTE)
        ]
        held = records.read_of_alerts(connection, [known.alert_id for known in standing], 10_000)
    for rule_id in by_id:
        its = [known for known in standing if known.rule_id == rule_id]
        expected = [alert for alert in plain.alerts if alert.rule.id == rule_id]
        shown = [known for known in its if not known.is_quiet]
        assert {known.id for known in shown} == {alert.id for alert in expected}
        for known in shown:
            assert known.is_reported
            keys = {record.key for record in held.get(known.alert_id, ())}
            assert {record.key for record in plain.records[known.id]} <= keys


def _assert_alerts_of_a_backtest(post: Post, chance: random.Random, versions: Sequence[Sequence[Rule]]) -> None:
    """Match records in random parts, with restarts and reloads, which choose a version of the rules."""
    stored, used = _stream(chance), [versions[0]]
    see(post.database, NOON)
    size = chance.choice([3, 2000])
    step = matcher(post, used[-1], size, keep=5 * MINUTE)
    waiting = list(stored)
    while waiting:
        batch = [waiting.pop(0) for _ in range(min(len(waiting), chance.randint(1, 9)))]
        if size > len(batch):
            chance.shuffle(batch)  # a batch is sorted before it is evaluated
        post.store(*batch)
        see(post.database, max(record.occurred_at for record in batch) - chance.choice([0, 3]) * MINUTE)
        step.run_once()
        if chance.random() < 0.3:
            size = chance.choice([3, 2000])
            used.append(chance.choice(versions))
            step = matcher(post, used[-1], size, keep=5 * MINUTE)
        elif len(versions) > 1 and chance.random() < 0.3:
            used.append(chance.choice(versions))
            step.use(Engine(used[-1]), Correlating(used[-1], post.addressing, keep=5 * MINUTE))
            post.troubles.report("step_failing", f"match {len(used)}", "a test", "none")
    end = NOON + timedelta(hours=20)
    see(post.database, end)
    step.run_once()
    plain = simulate(versions[0], stored, begin=NOON, start=NOON, until=end, verified_until=end)
    steady = unchanged(*used)
    assert steady
    expected = {
        each.id: (
            each.count,
            each.first_at,
            each.last_at,
            each.resolved_at,
            [record.key for record in plain.records[each.id]],
        )
        for each in plain.alerts
        if each.rule.id in steady
    }
    assert expected
    assert _alerts(post.database, steady) == expected


def _stream(chance: random.Random) -> list[Record]:
    """Make three hours of records in event order, each with a different time."""
    at = NOON
    stored = []
    for number in range(90):
        at += timedelta(seconds=chance.choice([1, 20, 40, 60, 90, 120, 300, 900]))
        kind = chance.choice(["BACKUP", "BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"])
        user = chance.choice(["eve", "eve", "bob"])
        stored.append(make_record(number, occurred_at=at, action_kind=kind, user_name=user))
    return stored


def _alerts(database: Database, rule_ids: set[str]) -> dict[str, tuple[object, ...]]:
    with database.read() as connection:
        found = [alert for alert in alerts.read_newest(connection, 10_000) if alert.rule.id in rule_ids]
        held = records.read_of_alerts(connection, [alert.id for alert in found], 10_000)
    return {
        alert.id: (
            alert.count, alert.first_at, alert.last_at, alert.resolved_at, [record.key for record in held[alert.id]]
        )
        for alert in found
    }  # fmt: skip


@pytest.mark.parametrize("rule", [BURST, UNANSWERED])
def test_explanation_names_the_alert_that_was_sent(post: Post, rule: str) -> None:
    """In a continuous stream each alert begins where the previous one ended, so an evaluation must begin at the same place."""
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
            (views,) = views_from_store(connection, rules[0], rules, [record], SOURCES)
            assert views is not None
            (view,) = views
            if view.found is not None:
                named.append(correlation.alert_id(view.group, view.found.origin))
                assert named[-1:] == alerts.read_of_record(connection, record.id)
    assert len(set(named)) > 3


def _is_not_fed(post: Post, **values: Any) -> None:
    with post.database.write() as connection:
        versions = correlations.read_versions(connection)
        correlations.write_versions(
            connection, {name: replace(version, **values) for name, version in versions.items()}
        )


def _is_touched(post: Post) -> None:
    with post.database.write() as connection:
        for version in correlations.read_versions(connection).values():
            hits.touch(connection, [(version.number or 0, "group", ("eve",), NOON, NOON)])


_NOT_READY: dict[str, Callable[[Post], None]] = {
    "its file was changed": partial(_is_not_fed, version="another"),
    "it still reads older records": partial(_is_not_fed, fed_through=1),
    "it was fed only with later records": partial(_is_not_fed, fed_from=NOON + 291 * MINUTE),
    "its groups are not evaluated yet": _is_touched,
    "the record is not matched yet": lambda post: post.store(
        make_record(300, minutes=300, action_kind="DELETE_CLUSTER")
    ),
}


@pytest.mark.parametrize("why", ["", *_NOT_READY])
def test_explanation_claims_nothing_that_is_not_stored(post: Post, why: str) -> None:
    """What a rule counted that runs as it is, is explained from its hits; of any other, nothing is known."""
    rules = rules_of(BURST)
    post.store(*(make_record(n, minutes=n, action_kind="DELETE_CLUSTER") for n in range(300)))
    see(post.database, NOON + timedelta(hours=10))
    matcher(post, rules).run_once()
    if why:
        _NOT_READY[why](post)
    with post.database.read() as connection:
        shown = records.read_after(connection, records.newest_id(connection) - 5, 5)
        with questions() as asked:
            found = views_from_store(connection, rules[0], rules, shown, SOURCES)
    assert [each is None for each in found] == [bool(why)] * 5
    assert not any("ORDER BY record.record_key" in text for text, _ in asked), "no record of the time before is read"


DISTINCT = BURST.replace("event_count", "value_count").replace("{gte: 3}", "{field: clusterId, gte: 3}")


@pytest.mark.parametrize("rule", [BURST, DISTINCT], ids=["event_count", "value_count"])
@pytest.mark.parametrize("is_restarted", [True, False])
def test_correlation_counts_an_action_of_two_sources_once(post: Post, rule: str, *, is_restarted: bool) -> None:
    """A burst counts an action that two sources read only once, live and in a rebuild."""
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
def test_correlation_alerts_about_backlog_that_another_source_read_live(post: Post, *, is_restarted: bool) -> None:
    """A burst that one source read as backlog alerts if another source read it live."""
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
    """Open the alert about the missing group c-1."""
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
    ids=["entry removed", "other field", "off", "renamed", "deleted", "the last rule deleted", "no longer an absence"],
)
def test_absence_of_a_group_that_is_no_longer_expected_resolves(post: Post, after: str, why: str) -> None:
    """An absence that no record can end resolves once, with the reason in the history and in the message."""
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
        reasons = [entry.what for entry in alert_history.read(connection, alert.id) if entry.stage == "resolved"]
    assert len(reasons) == 1
    assert why in reasons[0]


def test_what_waits_for_a_group_that_is_no_longer_expected_does_not_open(post: Post) -> None:
    """The time of an absence may be verified after its group was taken out: nobody expects it then."""
    post.store(make_record(1, cluster=Entity("c-1")), make_record(9, minutes=5, cluster=Entity("c-2")))
    see(post.database, NOON + 5 * MINUTE)
    assert matcher(post, rules_of(MISSING)).run_once() == 0
    step = matcher(post, rules_of(MISSING.replace("[c-1]", "[c-2]")))
    step.run_once()
    post.store(make_record(10, minutes=55, cluster=Entity("c-2")))
    see(post.database, NOON + 60 * MINUTE)
    step.run_once()
    assert [alert.group for alert in post.alerts().values()] == []


def test_each_alert_that_nobody_expects_is_looked_at(post: Post) -> None:
    """An alert that a person resolved stays as it is, and one that is gone stops no other from ending."""
    named = [MISSING.replace("missing", name) for name in ("aa", "mm", "zz")]
    alone = MISSING.replace("missing", "alone").replace("group-by: [clusterId], ", "")
    alone = alone.replace(", expect-groups: {clusterId: [c-1]}", "").replace("{{ clusterId }}", "all")
    post.store(make_record(1, cluster=Entity("c-9")))
    see(post.database, NOON + 90 * MINUTE)
    assert matcher(post, rules_of("---\n".join([*named, alone]))).run_once() == 4
    alerts_by_rule = {alert.rule.name: alert for alert in post.alerts().values()}
    with post.database.write() as connection:
        by_eve = structs.replace(alerts_by_rule["aa"], status=Status.RESOLVED, resolved_by="eve", resolved_at=NOON)
        alerts.update(connection, by_eve)
        connection.execute(ALERT.delete().where(ALERT.c.id == alerts_by_rule["mm"].id))
    matcher(post, []).run_once()
    after = {alert.rule.name: alert for alert in post.alerts().values()}
    assert {name: (alert.status, alert.resolved_by) for name, alert in after.items()} == {
        "aa": (Status.RESOLVED, "eve"),
        "zz": (Status.RESOLVED, "actionwatch"),
        "alone": (Status.RESOLVED, "actionwatch"),
    }


def test_group_that_is_expected_again_opens_a_new_alert(post: Post) -> None:
    """A group that is back in the list and still missing opens a new alert, which the next record resolves."""
    alert = _missing(post)
    matcher(post, rules_of(MISSING.replace("[c-1]", "[c-2]"))).run_once()
    rules = rules_of(MISSING)
    assert matcher(post, rules).run_once() == 1
    assert matcher(post, rules).run_once() == 0
    (again,) = [found for found in post.alerts().values() if found.id != alert.id]
    assert again.status is Status.OPEN
    post.deliver()
    assert [message.type for message in post.senders["hook"].sent if message.data["id"] == again.id] == ["alert.opened"]
    post.store(make_record(2, minutes=70, cluster=Entity("c-1")))
    see(post.database, NOON + 80 * MINUTE)
    matcher(post, rules).run_once()
    assert post.alerts()[again.id].status is Status.RESOLVED


class Endless(Engine):
    """Rules for which more records arrive while they evaluate, until `last`: the matcher never reaches the end."""

    last = 40

    def __init__(self, rules: Sequence[Rule], post: Post) -> None:
        super().__init__(rules)
        self._post = post
        self.count = 0
        self.step: RecordMatcher | None = None

    def evaluate(self, records: Iterable[Record]) -> list[Match]:
        """Store another record, each 10 minutes later, and stop the matcher after the last one."""
        self.count += 1
        self._post.store(make_record(1000 + self.count, minutes=10 * (self.count + 1), user_name="bob"))
        if self.count == self.last and self.step is not None:
            self.step.stop()
        return list(super().evaluate(records))


def test_time_passes_although_records_arrive_faster_than_they_are_matched(post: Post) -> None:
    """A matcher that is never done judges what is verified and matched, and no record that waits is taken for missing."""
    rules = rules_of(MISSING)
    post.store(make_record(0, cluster=Entity("c-1")), make_record(1, minutes=10))
    see(post.database, NOON + timedelta(days=1))
    engine = Endless(rules, post)
    step = RecordMatcher(post.database, engine, post.addressing, post.clock, 1, Correlating(rules, post.addressing))
    engine.step = step
    step.run_once()
    assert engine.count == engine.last
    assert (only(post).first_at, only(post).status) == (NOON + 60 * MINUTE, Status.OPEN)


def test_a_record_that_waits_is_not_missing(post: Post) -> None:
    """Time passes only up to the oldest record that is not matched: here the one that shows that nothing is missing."""
    rules = rules_of(MISSING)
    returns = [make_record(0, cluster=Entity("c-1")), *(make_record(n, minutes=500 + n) for n in range(1, 60))]
    post.store(*returns, *(make_record(100 + n, minutes=50 * n, cluster=Entity("c-1")) for n in range(1, 13)))
    see(post.database, NOON + timedelta(minutes=600))
    step = matcher(post, rules, 1)
    assert step.run_once() == 0
