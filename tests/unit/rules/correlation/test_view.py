"""The explanation of a correlation: the groups that count a record, the hits before it, and the resulting alert."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from actionwatch.base.model import Record
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.correlations.view import View, Viewer, before, lookback_of, views_in, views_of
from actionwatch.rules.explain import counted, explain
from actionwatch.rules.model import Rule
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import HEAD, MINUTE, START, loaded, objects_held, record_at, run
from tests.unit.rules.correlation.live import FAMILY_RULES, NESTED_RULES

BACKUP = "detection: {s: {actionKind: BACKUP}, condition: s}\n"
BURST = BACKUP + "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 3}}\n"
STEPS = (
    "detection: {a: {actionKind: BACKUP}, b: {actionKind: CREATE_CLUSTER}}\n"
    "correlation: {type: temporal_ordered, rules: [a, b], group-by: [userName], timespan: 10m%s}\n"
)
NEW = BACKUP + "correlation: {type: new_term, fields: [userName], history: 30m}\n"
MISSING = BACKUP + "correlation: {type: event_count, timespan: 10m, condition: {lt: 1}}\n"
OTHERS = (
    "title: A\nname: a\nlogsource: {product: instaclustr}\n" + BACKUP + "---\ntitle: T\nname: t\n"
    "correlation: {type: value_count, rules: [a], timespan: 1h, condition: {field: clusterId, gte: 2}}\n"
)
A, B = "BACKUP", "CREATE_CLUSTER"


def line_about(text: str, earlier: Sequence[Record], record: Record) -> str:
    """Return the line about the only group that counts a record."""
    rules = loaded(text if text.startswith("title") else HEAD + text)
    (rule,) = [each for each in rules if each.name.name == "t"]
    assert rule.correlation is not None
    (line,) = counted(rule.correlation, views_of(rule, rules, earlier, record, START))
    group = ("eve",) if rule.correlation.group_fields else ()
    return line.replace(rule.correlation.alert_id(group, "000.00"), "ID")


def on(*minutes: float, kind: str = A) -> list[Record]:
    """Make records whose keys are their minutes."""
    return [record_at(minute, kind, key=f"{minute:06.2f}") for minute in minutes]


@in_one_test(
    ("text", "earlier", "record", "expected"),
    [
        (BURST, on(0, 1), on(2), "2 records before it, 3 records with it; opens the alert ID"),
        (BURST, on(0), on(2), "1 record before it, 2 records with it; no alert"),
        (BURST, on(0, 1, 2), on(3), "3 records before it, 4 records with it; joins the alert ID, open since {2}"),
        (BURST, on(0, 1, 2), on(13), "0 records before it, 1 record with it; no alert"),
        (STEPS % "", on(0), on(2, kind=B), "1 of 2 steps: a before it, 2 of 2 steps: a, b with it; opens the alert ID"),
        (
            STEPS % ", condition: a and not b",
            [],
            on(0),
            "0 of 2 steps before it, 1 of 2 steps: a with it; opens the alert ID unless a record follows by {10}",
        ),
        (NEW, [], on(0), "0 records before it, 1 record with it; no alert: the rule was still learning"),
    ],
)
def test_line_shows_counts_and_the_alert(text: str, earlier: list[Record], record: list[Record], expected: str) -> None:
    """The line shows the count before and with the record, and the alert: opened, joined, pending, or why there is none."""
    for minute in (2, 10):
        expected = expected.replace(f"{{{minute}}}", f"2026-03-04T12:{minute:02}:00.000Z")
    assert line_about(text, earlier, record[0]) == f"group userName=eve: {expected}"


SPIKE = (
    BACKUP
    + "correlation: {type: spike, group-by: [userName], timespan: 5m, windows: 3, condition: {factor: 2, min: 3}}\n"
)


@in_one_test(
    ("text", "earlier", "record", "expected"),
    [
        (BURST, on(0, 1, 2), on(12), "3 records before it, 4 records with it"),  # the alert is open up to that instant
        (
            BURST,
            on(0, 1, 2),
            on(12.1),
            "0 records before it, 1 record with it",
        ),  # what an alert used counts for no other
        (BURST, on(0), on(10), "1 record before it, 2 records with it"),
        (BURST, on(0), on(10.1), "0 records before it, 1 record with it"),
        (BURST, on(0, 1, 2, 12.1), on(12.2), "1 record before it, 2 records with it"),
        (BURST + "alert: {realert: 1m}\n", on(0, 1, 2), on(5), "0 records before it, 1 record with it"),
        (SPIKE + "alert: {realert: 1m}\n", on(35, 36, 37), on(39), "3 records before it, 4 records with it"),
        (SPIKE, on(35, 36, 37), on(37.5), "3 records before it, 4 records with it"),
        (NEW, on(31, 40), on(69), "1 record before it, 2 records with it"),
    ],
)
def test_line_counts_what_a_window_holds(text: str, earlier: list[Record], record: list[Record], expected: str) -> None:
    """A window holds the records of an open alert, or else those within the timespan that no alert has used."""
    assert line_about(text, earlier, record[0]).startswith(f"group userName=eve: {expected}; ")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("type: value_count, condition: {field: clusterId, gte: 5}", "value_count 2 of 3 records"),
        ("type: value_avg, condition: {field: raw.n, gte: 5}", "value_avg 3.333 of 3 records"),
        ("type: value_sum, condition: {field: raw.n, gte: 50}", "value_sum 10.0 of 3 records"),
    ],
)
def test_a_window_of_values_shows_what_it_measures(condition: str, expected: str) -> None:
    """The measured value is shown with the number of records, rounded to three places."""
    (rule,) = rules = loaded(HEAD + BACKUP + f"correlation: {{{condition}, timespan: 1h}}\n")
    records = [
        record_at(minute, cluster=cluster, raw=f'{{"n": {number}}}')
        for minute, cluster, number in ((0, "x", 3), (1, "y", 3), (2, "x", 4))
    ]
    views = views_of(rule, rules, records[:2], records[2], START)
    assert f"      - with it: {expected}" in list(explain(rule, records[2], views=views).lines())
    assert rule.correlation is not None
    first = list(explain(rule, records[0], views=views_of(rule, rules, [], records[0], START)).lines())
    assert any(line.endswith(f"before it: {rule.correlation.type.value} 0 of 0 records") for line in first)
    assert views_of(rule, rules, [], record_at(3, B), START) == []


def test_a_correlation_of_correlations() -> None:
    """The record that completes an inner alert is counted by the outer rule."""
    outer = "---\ntitle: O\nname: o\ncorrelation: {type: event_count, rules: [t], group-by: [userName], timespan: 1h,"
    rules = loaded(HEAD + BURST + outer + " condition: {gte: 1}, generate: true}\n")
    (rule,) = [each for each in rules if each.name.name == "o"]
    (view,) = views_of(rule, rules, on(0, 1), on(2)[0], START)
    assert (view.group, len(view.own), view.is_opened) == (("eve",), 1, True)
    assert views_of(rule, rules, on(0), on(2)[0], START) == []
    (alone,) = views_of(rules[0], rules, on(0), on(2)[0], START)
    assert (alone.found, alone.is_opened) == (None, False)
    plain = loaded(HEAD + BACKUP)
    assert views_of(plain[0], plain, [], on(0)[0], START) == []


def test_the_history_that_an_explanation_needs() -> None:
    """Twice what the rule needs, and as much as its alerts stay open: the second span completes the alert of the record."""
    rules = loaded(OTHERS + "alert: {realert: 5m}\n")
    assert rules[-1].correlation is not None
    assert lookback_of(rules[-1].correlation, rules) == 2 * (60 + 5) * MINUTE


def test_line_shows_the_end_of_an_absence() -> None:
    """The missing record ends the alert, and the line shows when it was due."""
    line = line_about(MISSING, on(0), on(30)[0])
    ended = "resolves the alert ID, due at 2026-03-04T12:10:00.000Z"
    assert line == f"all records: 0 records before it, 1 record with it; {ended}"
    assert line_about(MISSING, on(0, 30), on(35)[0]) == "all records: 1 record before it, 2 records with it; no alert"


def test_a_correlation_of_other_rules() -> None:
    """The explanation contains the rules that feed the correlation, and the measured value."""
    rules = loaded(OTHERS)
    rule = rules[-1]
    earlier = [record_at(0, cluster="c-1")]
    record = record_at(1, cluster="c-2")
    views = views_of(rule, rules, earlier, record, START)
    lines = list(explain(rule, record, feeders=rules[:1], views=views).lines())
    assert lines[0] == "+ t: T"
    assert lines[1] == "  + a: A"
    assert "  + correlation: value_count: gte 2 within 1h" in lines
    assert "      + with it: value_count 2 of 2 records" in lines
    (alert,) = run(rules, [*earlier, record])
    assert lines[-1] == f"      + opens the alert {alert.id}"


def test_record_that_is_not_counted() -> None:
    """The explanation reports a record that the rule does not count; without a history it claims nothing."""
    rules = loaded(HEAD + BURST)
    record = record_at(0, B)
    views = views_of(rules[0], rules, [], record, START)
    text = "correlation: event_count: gte 3 within 10m"
    assert f"  - {text}   <- this record counts in no group" in explain(rules[0], record, views=views).lines()
    assert f"  ? {text}   <- not known from this record alone" in explain(rules[0], record).lines()


def outline(rule: Rule, record: Record, views: Sequence[View]) -> tuple[object, ...]:
    """Return what an explanation shows of the groups that count a record, and the hits in them."""
    hits = [([hit.order for hit in view.counted], [hit.order for hit in view.own]) for view in views]
    return list(explain(rule, record, views=views).lines()), hits


def views_with_all(rules: Sequence[Rule], stream: Sequence[Record], record: Record) -> Callable[[Rule], list[View]]:
    """Return the groups that count a record as a correlator of all rules has them, which took all records before it."""
    correlator = Correlator(rules, StreamBounds(begin=lambda *_: START))
    rows = MemoryRows(correlator.rules)
    for number, spans in correlator.begin().items():
        correlator.take_again(rows, number, spans, VerifiedTime(None))
    correlator.take_hits(rows, correlator.hits(before(record, stream)), VerifiedTime(None))
    own = correlator.hits([record])
    correlator.take_hits(rows, own, VerifiedTime(record.occurred_at))
    return lambda rule: views_in(correlator.contexts, rows, rule.name.id, record, own)


def random_stream(chance: random.Random, pauses: Sequence[float]) -> list[Record]:
    """Return what some users did with some clusters, in event order."""
    at, stream = 0.0, list[Record]()
    for number in range(150):
        at += chance.choice(pauses)
        kind = chance.choice(["BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"])
        who: dict[str, Any] = {
            "user": chance.choice(["eve", "bob", "kim", None]),
            "cluster": chance.choice(["x", "y", None]),
        }
        stream.append(record_at(at, kind, key=f"{number:03}", id=number + 1, **who))
    return stream


@in_one_test("text", [FAMILY_RULES, NESTED_RULES])
@in_one_test("seed", range(2))
def test_what_cannot_matter_to_an_explanation_is_left_out(text: str, seed: int) -> None:
    """Several records are explained as with all rules and all groups, which took the records before each of them."""
    chance, rules = random.Random(seed), loaded(text)
    stream = random_stream(chance, [0, 0.3, 1, 2, 5])[:100]
    shown = sorted(chance.sample(stream, 5), key=lambda record: record.id)
    whole = {record.id: views_with_all(rules, stream, record) for record in shown}
    group_count = 0
    for rule in rules:
        viewer = Viewer(rule, rules, shown, lambda ids: {number: stream[number - 1] for number in ids})
        viewer.take_history(before(shown[-1], stream))
        for record in shown:
            views = viewer.views(record, lambda *_: START)
            assert outline(rule, record, views) == outline(rule, record, whole[record.id](rule))
            group_count += len(views)
    assert group_count > 10


@in_one_test("text", [FAMILY_RULES, NESTED_RULES])
@in_one_test("seed", range(4))
def test_an_explanation_continues_from_the_alerts_before_it(text: str, seed: int) -> None:
    """A part of the history, with the alerts that are stored, explains a record as the whole history does.

    Alerts that a late record made disappear change nothing.
    """
    chance, rules = random.Random(seed), loaded(text)
    stream = random_stream(chance, [1, 5, 15, 30])
    correlator = Correlator(rules, StreamBounds(begin=lambda *_: START))
    rows = MemoryRows(correlator.rules)
    correlator.take_hits(rows, correlator.hits(stream), VerifiedTime(stream[-1].occurred_at))
    known = list(rows.alerts)
    late = [
        replace(each, first_at=each.first_at + MINUTE, fired_at=each.fired_at + MINUTE, firing=None) for each in known
    ]
    gone = [replace(each, id=f"gone {each.id}", is_current=False) for each in late]
    group_count = 0
    for rule in rules:
        if (correlation := rule.correlation) is None:
            continue
        lookback = lookback_of(correlation, rules)
        for record in chance.sample(stream[75:], 5):
            viewer, since = Viewer(rule, rules, [record]), record.occurred_at - lookback
            viewer.take_history(each for each in before(record, stream) if each.occurred_at >= since)
            begin = max(START, since) if correlation.is_absence else START
            views = viewer.views(record, lambda *_, begin=begin: begin, since=since, known=[*known, *gone])
            whole = views_of(rule, rules, before(record, stream), record, START)
            assert list(explain(rule, record, views=views).lines()) == list(explain(rule, record, views=whole).lines())
            group_count += len(views)
    assert group_count > 10


@pytest.mark.parametrize("name", ["burst", "pair", "again", "top"])
def test_hits_of_other_groups_are_not_held(name: str) -> None:
    """An explanation of what one of 100 users did holds only what this user did, also in rules of rules."""
    rules = loaded(NESTED_RULES)
    (rule,) = (each for each in rules if each.name.name == name)
    stream = [record_at(n / 100, "BACKUP", user=f"user {n % 100}", cluster="x", key=f"{n:04}") for n in range(1000)]
    record = stream[-1]
    viewer = Viewer(rule, rules, [record])
    viewer.take_history(before(record, stream))
    assert 9 <= objects_held(viewer)["Hit"] <= 9 * len(viewer.correlations)
