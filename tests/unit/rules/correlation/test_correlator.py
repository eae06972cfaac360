"""What the correlator of all rules keeps, what it reports once, and when it must be rebuilt."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.live_rule import LiveRule

from actionwatch.base.model import ChangeKind, Mode
from tests.unit.rules.correlation.kit import HEAD, MINUTE, START, at, calls_for, loaded, record_at
from tests.unit.rules.correlation.live import ABOVE, BY, FEED

COUNTED = "group-by: [userName], timespan: 5m, condition: {gte: 2}"
TWO = loaded(
    "---\n".join(
        [
            FEED.format("a", "BACKUP"),
            FEED.format("b", "CREATE_CLUSTER"),
            ABOVE.format("backups", f"type: event_count, rules: a, {COUNTED}"),
            ABOVE.format("creates", f"type: event_count, rules: b, {COUNTED}"),
        ]
    )
)
NEW_USER = "correlation: {type: new_term, fields: [userName], history: 1h}\n"
BACKUPS, CREATES = (rule.name.id for rule in TWO if rule.correlation is not None)


def correlator_of(keep: timedelta | None = 5 * MINUTE) -> Correlator:
    """Make a correlator that knows everything from minute 0 on."""
    return Correlator(TWO, StreamBounds(begin=lambda _: START), keep=keep)


def test_the_hits_around_a_record_are_those_of_one_rule() -> None:
    """`explain` shows for each rule only its own groups."""
    correlator = correlator_of()
    backup, create = record_at(1), record_at(2, "CREATE_CLUSTER")
    correlator.take([backup, create])
    correlator.changes(at(3))
    found = {name: [own for *_, own in correlator.hits_around(name, backup)] for name in (BACKUPS, CREATES)}
    assert [len(own) for own in found[BACKUPS]] == [1]
    assert found[CREATES] == []
    assert (correlator.count_groups(), correlator.count_hits()) == (2, 2)


def test_a_rebuild_is_requested_from_the_oldest_hit_that_is_not_judged() -> None:
    """A hit that comes too late stays noted, whatever comes with it; hits that were judged before do not count."""
    correlator = correlator_of()
    for minute in range(60):
        correlator.take([record_at(minute)])
        correlator.changes(at(minute))
    assert correlator.too_late is None
    correlator.take([record_at(30, key="in time", user="bob"), record_at(10, key="late"), record_at(59.5, key="new")])
    assert correlator.too_late == at(10)
    correlator.take([record_at(59.6, key="newer")])
    assert correlator.too_late == at(10)


def test_too_many_hits_of_a_rebuild_are_dropped_once_their_time_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in groups without new records: otherwise a restart would fold all of them again."""
    monkeypatch.setattr("actionwatch.rules.correlations.live.correlator.MAX_KEPT", 100)
    correlator = correlator_of()
    kinds = ("BACKUP", "CREATE_CLUSTER")
    correlator.restore([], [record_at(number / 10, kinds[number % 2], key=f"k{number:03}") for number in range(300)])
    correlator.changes(None)
    assert correlator.count_hits() == 300
    correlator.changes(at(60))
    assert correlator.count_hits() <= 8 * correlator.count_groups()


def test_groups_that_can_drop_nothing_are_not_looked_at_for_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many groups need their few hits, all of them are looked at again when there is a tenth more."""
    monkeypatch.setattr("actionwatch.rules.correlations.live.correlator.MAX_KEPT", 100)
    looked = list[int]()

    def forget(rule_state: LiveRule, cutoff: datetime, *, is_full: bool) -> None:
        looked.append(correlator.count_hits())
        plain(rule_state, cutoff, is_full=is_full)

    plain = LiveRule.forget
    monkeypatch.setattr(LiveRule, "forget", forget)
    correlator = correlator_of()
    for number in range(300):
        correlator.take([record_at(number / 100, user=f"u{number}")])
        correlator.changes(at(number / 100))
    assert looked[::2] == [101, 112, 124, 137, 151, 167, 184, 203, 224, 247, 272, 300]
    looked.clear()
    for number in range(120):  # all other groups are over
        correlator.take([record_at(100 + number / 100, user=f"u{number}")])
        correlator.changes(at(100 + number / 100))
    assert looked[::2] == [101, 112]


def test_hits_do_not_pile_up_while_no_time_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a source was never polled, groups keep only what their state needs beyond a limit. The alerts are the same."""
    monkeypatch.setattr("actionwatch.rules.correlations.live.correlator.MAX_UNVERIFIED", 100)
    correlator, opened = correlator_of(), 0
    for minute in range(500):
        correlator.take([record_at(minute / 2)])
        opened += sum(change.kind is ChangeKind.OPEN for change in correlator.changes(None))
        assert correlator.count_hits() <= 101
    assert opened == 42, "one alert every 6 minutes: half a minute to fire, and 5 to join"
    correlator.take([record_at(1.2, key="late")])
    assert correlator.too_late == at(1.2)


def test_hits_are_kept_for_a_while_by_the_newest_record_and_by_verified_time() -> None:
    """Hits are dropped when both the newest record of any rule and verified time have passed them by `keep`."""
    held: list[int] = []
    for verified in (20, 59, 1000):
        correlator = correlator_of(keep=20 * MINUTE)
        for minute in range(60):
            correlator.take([record_at(minute)])
        correlator.take([record_at(1, "CREATE_CLUSTER")])  # the newest of its rule is old
        correlator.changes(at(verified))
        held.append(correlator.count_hits())
    assert held == [61, 21, 21]
    unlimited = correlator_of(keep=None)
    unlimited.take([record_at(minute) for minute in range(60)])
    unlimited.changes(at(1000))
    assert unlimited.count_hits() == 60


def test_only_a_state_that_forgets_drops_hits_that_change_nothing() -> None:
    """A state that keeps hits for ever keeps all of them, so that `explain` can show each."""
    rule = loaded(HEAD + "detection: {s: {actionKind: BACKUP}, condition: s}\n" + NEW_USER)
    held = []
    for keep in (None, 60 * MINUTE):
        correlator = Correlator(rule, StreamBounds(begin=lambda _: START), keep=keep)
        correlator.take([record_at(minute) for minute in range(9)])
        held.append(correlator.count_hits())
    assert held == [18, 3], "a record is a hit as the baseline and as the term"


def test_a_rule_that_is_off_is_not_correlated() -> None:
    """A correlation that is off holds nothing, though other rules may name it."""
    off = [replace(rule, mode=Mode.OFF) if rule.name.id == CREATES else rule for rule in TWO]
    correlator = Correlator(off, StreamBounds(begin=lambda _: START))
    assert [rule.name.id for rule in correlator.rules] == [BACKUPS]


def test_a_failure_is_reported_once() -> None:
    """What went wrong with the title of an alert is reported with the next look, and no more."""
    text = (
        HEAD
        + "detection: {s: {actionKind: BACKUP}, condition: s}\n"
        + "correlation: {type: event_count, group-by: [userName], timespan: 5m, condition: {gte: 2}}\n"
        + "alert: {title: '{{ 1 // (count - 2) }}'}\n"
    )
    correlator = Correlator(loaded(text), StreamBounds(begin=lambda _: START))
    correlator.take([record_at(1), record_at(2)])
    correlator.changes(at(2))
    assert [len(correlator.take_failures()) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize(
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
    few, many = (
        calls_for(loaded(text), [named[kind] for kind in kinds], 6 * MINUTE, count) for count in (1_000, 4_000)
    )
    assert many < 5 * few
