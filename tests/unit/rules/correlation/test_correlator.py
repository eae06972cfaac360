"""The correlator of all rules: what it makes of hits, what it reports once, and that its cost is flat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from actionwatch.base.model import ChangeKind, Group, Mode
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.evaluate import AFTER_ALL, BEFORE_ALL, Span
from actionwatch.rules.correlations.memory_rows import MemoryHits
from actionwatch.rules.correlations.sources import VerifiedTime
from tests.cases import in_one_test
from tests.unit.rules.correlation.correlating import TWO, Run, backups, keys
from tests.unit.rules.correlation.kit import HEAD, MINUTE, START, at, calls_for, loaded, record_at
from tests.unit.rules.correlation.live import ABOVE, ALL, BY, FEED

BACKUPS, CREATES = (rule.name.id for rule in TWO if rule.correlation is not None)

FIRST = (START, -1, "")


def test_a_rule_that_is_off_is_not_correlated() -> None:
    """A correlation that is off finds nothing, though other rules may name it."""
    off = [replace(rule, mode=Mode.OFF) if rule.name.id == CREATES else rule for rule in TWO]
    correlator = Correlator(off, StreamBounds(begin=lambda *_: START))
    assert [rule.name.id for rule in correlator.rules] == [BACKUPS]


def test_a_feed_of_some_rules_makes_the_hits_of_these() -> None:
    """A rule that is fed again gets its own hits only, with the number that it has among all."""
    correlator = Run().correlator
    records = [record_at(1), record_at(2, "CREATE_CLUSTER")]
    whole = correlator.hits(records)
    assert whole.keys() == {0, 1}
    for number in (0, 1):
        assert correlator.feed_of({number}).hits(records) == {number: whole[number]}


def test_a_record_that_an_alert_holds_is_not_reported_again() -> None:
    """A record that fires an alert earlier joins with what the alert did not hold, and a record that came before is no news."""
    run = Run()
    (opened,) = run.take(*backups(1, 2))
    assert (opened.kind, keys(opened)) == (ChangeKind.OPEN, ["00001.0", "00002.0"])
    assert run.take(*backups(1, 2)) == []
    (joined,) = run.take(*backups(0.5, 2))
    assert (joined.kind, keys(joined), joined.known.alert_id) == (ChangeKind.JOIN, ["00000.5"], opened.known.id)


def test_what_is_expected_begins_without_a_hit() -> None:
    """A rule that is new looks for each group that it expects, although none has a hit."""
    run = Run(ALL)
    begun = run.correlator.begin()
    names = [run.correlator.rules[number].name.name for number in begun]
    assert sorted(names) == ["quiet", "quiets"]
    assert {group for spans in begun.values() for group in spans} >= {("eve",), ("bob",), ("eve", "x")}
    opened = [
        change
        for number, spans in begun.items()
        for change in run.correlator.take_again(run.rows, number, spans, VerifiedTime(at(12)))
        if change.kind is ChangeKind.OPEN
    ]
    assert {change.at for change in opened} == {at(12)}


def test_rules_that_are_evaluated_later_are_not_evaluated() -> None:
    """Where such a rule was touched is remembered with its rows, and evaluated when it is asked for."""

    class Postponing(MemoryHits):
        def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
            postponed[number] = dict(spans)

    postponed: dict[int, dict[Group, Span]] = {}
    run = Run()
    run.rows.hits = Postponing(run.correlator.rules)
    numbers = [rule.name.id for rule in run.correlator.rules]
    later = numbers.index(BACKUPS)
    made = run.take(*backups(1, 2), *(record_at(minute, "CREATE_CLUSTER") for minute in (3, 4)), later=[later])
    assert [change.known.rule_id for change in made] == [CREATES]
    ((group, span),) = postponed[later].items()
    assert (group, span.first[0], span.last[0]) == (("eve",), at(1), at(2))
    (change,) = run.correlator.take_again(run.rows, later, postponed[later], VerifiedTime(at(10)))
    assert (change.known.rule_id, keys(change)) == (BACKUPS, ["00001.0", "00002.0"])


@pytest.mark.parametrize("cached", [0, 40_000])
def test_a_group_that_is_evaluated_again_is_as_it_was(cached: int) -> None:
    """To evaluate a group again, of which nothing has changed, reports nothing."""
    run = Run(cached=cached)
    run.take(*backups(1, 2, 3, 30, 31, 90))
    before = [each.values() for each in run.rows.alerts]
    for first, last in ((FIRST, AFTER_ALL), (AFTER_ALL, BEFORE_ALL), ((at(30), -1, ""), (at(30), 99, ""))):
        assert run.correlator.take_again(run.rows, 0, {("eve",): Span(first, last)}, VerifiedTime(at(100))) == []
    assert [each.values() for each in run.rows.alerts] == before


@pytest.mark.parametrize("late", [199, 150, 105, 104, 99, 1])
def test_a_hit_before_what_a_rule_was_fed_comes_too_early(late: float) -> None:
    """The oldest hit of each rule from before all its hits are known is noted; it is judged with what is known."""
    bounds = StreamBounds(begin=lambda *_: START, since=lambda _: at(100))
    run = Run(bounds=bounds)
    (known_from,) = {context.complete_from for context in run.correlator.contexts}
    assert known_from == at(105)
    run.take(*backups(200))
    assert run.correlator.too_early == {}
    run.take(*backups(late, late + 0.5))
    number = [rule.name.id for rule in run.correlator.rules].index(BACKUPS)
    assert run.correlator.too_early == ({number: at(late)} if late < 105 else {})
    run.take(*backups(201))
    assert run.correlator.too_early == {}


def test_a_failure_is_reported_once() -> None:
    """What went wrong with the title of an alert is reported with the next look, and no more."""
    text = (
        HEAD
        + "detection: {s: {actionKind: BACKUP}, condition: s}\n"
        + "correlation: {type: event_count, group-by: [userName], timespan: 5m, condition: {gte: 2}}\n"
        + "alert: {title: '{{ 1 // (count - 2) }}'}\n"
    )
    run = Run(loaded(text))
    run.take(record_at(1), record_at(2))
    assert [len(run.correlator.take_failures()) for _ in range(2)] == [1, 0]


# -- costs


@pytest.mark.parametrize("name", ["count", "spike", "set", "absence", "term"])
def test_a_hit_in_order_reads_no_other(name: str) -> None:
    """The next hit of a group reads nothing of it, however dense its window is; without a cache it reads its reach."""
    texts = {
        "count": "type: event_count, rules: a, timespan: 1d, condition: {gte: 100000}",
        "spike": "type: spike, rules: a, timespan: 1d, windows: 3, condition: {factor: 2, min: 100000}",
        "set": "type: temporal, rules: [a, b], timespan: 1d",
        "absence": f"type: event_count, rules: a, {BY}: 1d, condition: {{lt: 1}}, expect-groups: {{userName: [eve]}}",
        "term": "type: new_term, rules: a, fields: [userName], history: 30d",
    }
    rules = loaded(
        "---\n".join([FEED.format("a", "BACKUP"), FEED.format("b", "CREATE_CLUSTER"), ABOVE.format(name, texts[name])])
    )
    run = Run(rules)
    run.take(*backups(0), verified=0)
    run.hits.read_count = 0
    for minute in range(1, 500):
        run.take(*backups(minute), verified=minute)
    assert run.hits.read_count == 0


def test_a_late_hit_of_a_dense_group_reads_what_is_around_it() -> None:
    """A late hit is folded with the hits of one window before it, and as far as it changes anything."""
    run = Run()
    dense = backups(*(minute for minute in range(10_000) if minute % 20 < 10))
    run.take(*dense)
    run.hits.read_count = 0
    run.take(record_at(5_003.5, key="late"))
    assert 0 < run.hits.read_count < 60


COUNTED_DAY = f"type: event_count, rules: a, {BY}: 1d, condition"


@in_one_test(
    ("condition", "realert"),
    [
        (f"{COUNTED_DAY}: {{gte: 5}}", "1m"),
        (f"{COUNTED_DAY}: {{gte: 5}}", "30d"),
        (f"{COUNTED_DAY}: {{gte: 100000}}", "1h"),
        (f"type: value_count, rules: a, {BY}: 1d, condition: {{gte: 1, field: actionKind}}", "30d"),
        (f"type: spike, rules: a, {BY}: 1h, windows: 3, condition: {{factor: 1, min: 5}}", "30d"),
        (f"type: temporal_ordered, rules: [a, b], {BY}: 1d", "30d"),
        ("type: new_term, rules: a, fields: [userName], history: 30d", ""),
    ],
)
def test_the_cost_of_a_record_does_not_grow_while_an_alert_is_joined(condition: str, realert: str) -> None:
    """A record of a dense group, or of an alert that is joined for a month, costs as much as any other."""
    feeds = [FEED.format("a", "BACKUP"), FEED.format("b", "CREATE_CLUSTER")]
    more = f"alert: {{realert: {realert}}}\n" if realert else ""
    rules = loaded("---\n".join([*feeds, ABOVE.format("above", condition)]) + more)
    few, many = (calls_for(rules, ["BACKUP", "CREATE_CLUSTER"], MINUTE, count) for count in (500, 2_000))
    assert many < 5 * few


@in_one_test(
    ("type_", "rules", "condition", "kinds", "realert"),
    [
        ("temporal_ordered", "[a, b]", "a and b", "ab", "1h"),
        ("temporal_ordered", "[a, b]", "a and b", "ab", "1m"),
        ("temporal_ordered", "[a, c, b]", "a and not c and b", "acb", "1h"),
        ("temporal_ordered", "[a, c, b, d]", "a and not c and b and d", "acbd", "1h"),
        ("temporal_ordered", "[a, b, c, d]", "a and b and not c and d", "abcd", "1h"),  # never from b to d
        ("temporal_ordered", "[a, b, c]", "a and b and not c", "abc", "1h"),
        ("temporal_ordered", "[a, c]", "a and not c", "ac", "1h"),
        ("temporal_ordered", "[c, a, b]", "not c and a and b", "cab", "1h"),
        ("temporal_ordered", "[a, b, c, d]", "a and b and not c or b and not d", "abcbd", "1h"),
        ("temporal", "[a, b]", "a and b", "ab", "1m"),
        ("temporal", "[a, b, c]", "a and b and not c", "abc", "1h"),
    ],
)
def test_the_cost_of_a_record_does_not_grow_with_those_of_its_group(
    type_: str, rules: str, condition: str, kinds: str, realert: str
) -> None:
    """Who repeats the steps of a sequence, with or without what excludes it, does not slow down all other records."""
    named = {"a": "BACKUP", "b": "CREATE_CLUSTER", "c": "DELETE_CLUSTER", "d": "RESIZE_CLUSTER"}
    above = f"type: {type_}, rules: {rules}, {BY}: 30d, condition: {condition}"
    text = "---\n".join(
        [
            *(FEED.format(name, named[name]) for name in sorted(set(kinds))),
            ABOVE.format("above", above) + f"alert: {{realert: {realert}}}\n",
        ]
    )
    few, many = (calls_for(loaded(text), [named[kind] for kind in kinds], 6 * MINUTE, count) for count in (250, 1_000))
    assert many < 5 * few


@pytest.mark.parametrize(
    "block",
    [
        f"type: spike, rules: a, {BY}: 1h, windows: 3, condition: {{factor: 2, min: 20}}",
        f"type: event_count, rules: a, {BY}: 1h, condition: {{gte: 20}}",
        f"type: value_count, rules: a, {BY}: 1h, condition: {{field: clusterId, gte: 20}}",
    ],
)
def test_window_with_many_hits_reads_them_only_for_its_alert(block: str) -> None:
    """Of a window with many hits only times and values are cached. The alert that needs the hits reads them, once."""
    run = Run(loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("many", block)), cached=600)
    made, read_counts = [], []
    for number in range(25):
        record = record_at(300 + number, "BACKUP", user="eve", cluster=f"c{number}", key=f"k{number:02}")
        made.append(run.take(record))
        read_counts.append(run.hits.read_count)
    (opened,) = made[19]
    assert (opened.kind, [each.key for each in opened.records]) == (ChangeKind.OPEN, [f"k{n:02}" for n in range(20)])
    assert [[each.kind for each in some] for some in made[20:]] == [[ChangeKind.JOIN]] * 5
    assert read_counts[18] <= 1
    assert read_counts[19] == read_counts[-1] <= 22


def test_forgotten_hits_leave_the_window() -> None:
    """Hits of which only the time is left are counted as long as the window holds them, and no longer."""
    block = f"type: event_count, rules: a, {BY}: 30m, condition: {{gte: 20}}"
    run = Run(loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("many", block)), cached=600)
    for number in range(60):
        record = record_at(300 + 2 * number, "BACKUP", user="eve", cluster="x", key=f"k{number:02}")
        assert run.take(record) == []  # sixteen in half an hour
    record = record_at(419, "BACKUP", user="eve", cluster="x", key="other")
    assert run.take(record) == []
    burst = [record_at(419 + n, "BACKUP", user="eve", cluster="x", key=f"l{n}") for n in range(1, 8)]
    (opened,) = run.take(*burst)
    assert len(opened.records) >= 20
