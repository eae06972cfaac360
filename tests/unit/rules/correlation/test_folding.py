"""Which groups of a batch are folded from the cache and which from rows, what is read for that, and what stays in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actionwatch.base.model import ChangeKind, Group, Record
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.folding import Touch
from actionwatch.rules.correlations.memory_rows import MemoryHits, MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import NEVER, Rule
from tests.cases import in_one_test
from tests.unit.rules.correlation.correlating import Run, backups, keys
from tests.unit.rules.correlation.kit import START, at, hit, loaded, record_at
from tests.unit.rules.correlation.live import ABOVE, BY, FEED

EVE: Group = ("eve",)
KINDS = {"a": "BACKUP", "b": "CREATE_CLUSTER", "c": "DELETE_CLUSTER"}
ABSENCE = f"type: event_count, rules: a, {BY}: 10m, condition: {{lt: 1}}, expect-groups: {{userName: [eve]}}"


def rules_of(*blocks: str, alert: str = "") -> Sequence[Rule]:
    """Load correlations `r0`, `r1` … over the rules a, b and c; `alert` is of the last one."""
    feeds = [FEED.format(name, kind) for name, kind in KINDS.items()]
    return loaded("---\n".join([*feeds, *(ABOVE.format(f"r{n}", text) for n, text in enumerate(blocks))]) + alert)


def counting(number: int, timespan: str = "10m", realert: str = "10m") -> Sequence[Rule]:
    """Load a rule that counts backups."""
    block = f"type: event_count, rules: a, {BY}: {timespan}, condition: {{gte: {number}}}"
    return rules_of(block, alert=f"alert: {{realert: {realert}}}\n")


def old(minute: float, kind: str = "BACKUP") -> Record:
    """Make a record of the backlog."""
    return record_at(minute, kind, key=f"{minute:07.1f}", is_backlog=True)


@dataclass
class Asked:
    """Notes which rows are asked for."""

    rows: object
    prefix: str
    log: list[str]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        asked = getattr(self.rows, name)

        def ask(*arguments: Any) -> Any:
            self.log.append(f"{self.prefix}.{name}")
            return asked(*arguments)

        return ask


def asked_by(run: Run, *records: Record, verified: float | None = 10_000) -> list[str]:
    """Take records, and return which rows were asked for."""
    log: list[str] = []
    plain = run.rows
    watched = {name: Asked(getattr(plain, name), name, log) for name in ("hits", "alerts", "records")}
    run.rows = cast("MemoryRows", SimpleNamespace(**watched))
    run.take(*records, verified=verified)
    run.rows = plain
    return [each for each in log if each not in ("hits.add", "alerts.due", "records.hold")]


FOLDED_AGAIN = ["alerts.prefetch", "hits.prefetch", "alerts.since"]
FOUND = ["alerts.put", "alerts.drop"]


@in_one_test(
    ("rules", "verified", "records", "expected"),
    [
        (counting(2), None, backups(1), [*FOLDED_AGAIN, "hits.since"]),
        (counting(2), None, backups(1, 2), ["alerts.put", "alerts.by_id", *FOUND, "records.held"]),
        (counting(2), None, backups(1, 2, 3), ["alerts.put", *FOUND, "records.held"]),
        (counting(2), None, backups(1, 2, 3, 30), ["alerts.put", *FOUND]),
        (counting(2), None, backups(1, 2, 1.5), [*FOLDED_AGAIN, "hits.since", *FOUND, "records.held"]),
        (counting(3), None, backups(5, 6, 7, 4), [*FOLDED_AGAIN, "hits.since", "alerts.by_id", *FOUND, "records.held"]),
        (rules_of(ABSENCE), 5, backups(1, 2), ["alerts.put", "alerts.by_id", *FOUND, "alerts.wait"]),
        (rules_of(ABSENCE), 99, backups(1, 2), ["alerts.put", "alerts.by_id", *FOUND, "hits.before"]),
        (rules_of(ABSENCE), 99, backups(1, 30, 50), ["alerts.put", "alerts.by_id", *FOUND]),
    ],
)
def test_which_rows_the_last_record_asks_for(
    rules: Sequence[Rule], verified: float | None, records: Sequence[Record], expected: list[str]
) -> None:
    """What is cached or known is not read, and each kind of rule reads only what it needs; changes read their records."""
    run = Run(rules)
    for each in records[:-1]:
        run.take(each, verified=verified)
    assert asked_by(run, records[-1], verified=verified) == [*expected, "records.whole"]


def test_groups_that_are_not_cached_are_read_together() -> None:
    """The rows of all groups that a batch folds again are asked for at once, from the first new hit of each on."""

    class Noting(MemoryHits):
        def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
            asked.append((number, dict(firsts)))

    asked: list[tuple[int, dict[Group, datetime]]] = []
    run = Run(counting(2))
    run.rows.hits = Noting(run.correlator.rules)
    run.take(*backups(1))
    asked.clear()
    run.take(*backups(2), record_at(3, user="bob"), record_at(4, user="bob"), record_at(5, user="dan"))
    assert asked == [(0, {("bob",): at(3), ("dan",): at(5)})]


# -- an alert that opens brings all of its records


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_alert_that_opens_late_brings_what_was_forgotten(is_restarted: bool) -> None:
    """An alert of the backlog opens with its first new record, and brings the others, though an earlier one still waits."""
    block = f"type: temporal_ordered, rules: [a, b, c], {BY}: 6m, condition: a and not b or c"
    run = Run(rules_of(block, alert="alert: {realert: 3m}\n"))
    assert run.take(old(0), verified=None) == []  # it waits for minute 6
    if is_restarted:
        run.correlator.forget()
    assert run.take(old(10, "DELETE_CLUSTER"), verified=None) == []
    (opened,) = run.take(record_at(12, "DELETE_CLUSTER", key="new"), verified=None)
    assert (opened.kind, keys(opened)) == (ChangeKind.OPEN, ["00010.0", "new"])


def test_an_alert_that_opens_with_a_record_in_its_middle_brings_the_later_ones() -> None:
    """A fold does not end within an alert: what joined it later belongs to it too when it opens."""
    run = Run(counting(3, "5m", "60m"))
    assert run.take(*map(old, (0, 1, 2, *range(5, 50, 5), 70))) == []
    (opened,) = run.take(record_at(4, key="late"))
    assert [*keys(opened)] == ["00000.0", "00001.0", "00002.0", "late", *(f"{n:07.1f}" for n in range(5, 50, 5))]


@pytest.mark.parametrize(("first", "is_whole"), [(101, False), (105, True), (106, True)])
def test_an_alert_from_before_all_hits_are_known_opens_with_what_is_known(first: float, is_whole: bool) -> None:
    """An alert that began before all hits of its rule are known brings only what is new; a later one brings all."""
    before, run = (Run(counting(2, "5m", "60m"), bounds) for bounds in (None, _known_since(100)))
    run.rows = before.rows
    assert before.take(*map(old, (first, first + 1))) == []
    (opened,) = run.take(*backups(110))
    assert keys(opened) == [*([f"{first:07.1f}", f"{first + 1:07.1f}"] if is_whole else []), "00110.0"]


def _known_since(minute: float) -> StreamBounds:
    return StreamBounds(begin=lambda *_: START, since=lambda _: at(minute))


@pytest.mark.parametrize(("late", "is_found"), [(99, False), (104.5, False), (105, True)])
def test_nothing_fires_before_all_hits_are_known(late: float, is_found: bool) -> None:
    """Hits from before that time count for later ones, but fire nothing themselves."""
    run = Run(counting(2, "5m"), _known_since(100))
    assert [keys(each) for each in run.take(*backups(late - 1, late))] == ([["00104.0", "00105.0"]] if is_found else [])
    run.take(*backups(107))
    assert len([*run.rows.alerts]) == (late > 100)


def test_a_backlog_hit_is_never_too_early() -> None:
    """Older records are not read for a hit that may not alert."""
    run = Run(counting(2, "5m"), _known_since(100))
    run.take(old(99))
    assert run.correlator.too_early == {}
    run.take(old(98), *backups(104, 103))
    assert run.correlator.too_early == {0: at(103)}


# -- what an older version of a rule has left


def test_an_alert_is_joined_no_longer_than_its_rule_says() -> None:
    """An alert of an older version, which was to be joined for longer, is joined for the time of this version."""
    before, run = Run(counting(2, "5m", "60m")), Run(counting(2, "5m", "10m"))
    before.take(*backups(1, 2))
    run.rows = before.rows
    assert run.take(*backups(20)) == []
    (opened,) = run.take(*backups(21))
    assert (opened.kind, keys(opened)) == (ChangeKind.OPEN, ["00020.0", "00021.0"])


def test_an_absence_has_no_end_until_it_has_ended() -> None:
    """An absence that is folded again has the end that was reported, and none before."""
    run = Run(rules_of(ABSENCE), StreamBounds(begin=lambda *_: START, alerts_from=lambda *_: at(500)))
    run.take(*backups(1), verified=20)
    for _ in range(2):
        run.correlator.take_again(run.rows, 0, {EVE: Span((at(1), -1, ""), (at(1), 99, ""))}, VerifiedTime(at(20)))
        (missing,) = run.rows.alerts
        assert (missing.until, missing.resolved_at) == (NEVER, None)
    run.take(*backups(30), verified=31)
    for _ in range(2):
        assert (missing.until, missing.resolved_at) == (at(30), at(30))
        run.correlator.take_again(run.rows, 0, {EVE: Span((at(1), -1, ""), (at(1), 99, ""))}, VerifiedTime(at(31)))


# -- hits that come twice, in another order, or while a rule is evaluated later


def test_an_action_that_two_sources_read_counts_once() -> None:
    """Also where both come in one batch, to a fold that is cached."""
    run = Run(counting(3))
    run.take(*backups(1))
    assert run.take(*backups(1)) == []
    assert run.take(*backups(2), *backups(2)) == []
    assert run.take(*backups(2)) == []
    assert len(run.take(*backups(3))) == 1


def test_a_record_that_may_alert_replaces_the_newest_of_the_backlog() -> None:
    """If another source has read the newest action of a group as backlog, the alert opens with the record that may alert."""
    run = Run(counting(2))
    assert run.take(old(1), old(2)) == []
    (opened,) = run.take(*backups(2))
    assert (opened.kind, keys(opened)) == (ChangeKind.OPEN, ["00001.0", "00002.0"])


def test_a_cached_fold_lacks_no_hit_that_was_postponed() -> None:
    """A group that got hits while its rule was evaluated later is folded from its rows."""

    class Postponing(MemoryHits):
        def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
            postponed.append((number, [*spans]))

    postponed: list[tuple[int, list[Group]]] = []
    run = Run(counting(3))
    run.rows.hits = Postponing(run.correlator.rules)
    run.take(*backups(1))
    run.take(*backups(2), later=[0])
    assert postponed == [(0, [EVE])]
    (opened,) = run.take(*backups(3))
    assert keys(opened) == ["00001.0", "00002.0", "00003.0"]


def test_what_is_due_of_a_rule_that_is_evaluated_later_is_not_postponed() -> None:
    """It is due again when the rule is evaluated."""

    class Postponing(MemoryHits):
        def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
            assert not spans

    run = Run(rules_of(ABSENCE))
    run.rows.hits = Postponing(run.correlator.rules)
    run.take(*backups(1), verified=5)
    assert run.take(verified=20, later=[0]) == []


def test_a_group_that_was_fed_older_hits_is_not_folded_from_the_cache() -> None:
    """A cached fold does not have the hits that were added to the rows since."""
    run = Run(counting(2))
    run.take(*backups(1))
    run.rows.hits.add(run.correlator.hits(backups(2)))
    (opened,) = run.correlator.take_again(
        run.rows, 0, {EVE: Span((at(2), -1, ""), (at(2), 99, ""))}, VerifiedTime(at(10))
    )
    assert keys(opened) == ["00001.0", "00002.0"]


def test_all_places_that_were_touched_are_folded_again() -> None:
    """A fold does not end between the first and the last place."""
    run = Run(counting(2))
    run.take(*backups(1, 2, 30, 31, 60))
    run.rows.hits.add(run.correlator.hits([*backups(1.5, 200, 201)]))
    made = run.correlator.take_again(
        run.rows, 0, {EVE: Span((at(1.5), -1, ""), (at(201), 99, ""))}, VerifiedTime(at(300))
    )
    assert [(each.kind, keys(each)[-1]) for each in made] == [
        (ChangeKind.JOIN, "00001.5"),
        (ChangeKind.OPEN, "00201.0"),
    ]


# -- alerts that are no longer found, or are found again


def test_an_absence_that_a_late_record_takes_back_waits_for_nothing() -> None:
    """Nobody looks at an alert that is no longer found, and one that was never judged leaves no row."""
    run = Run(rules_of(ABSENCE), StreamBounds(begin=lambda *_: START, alerts_from=lambda *_: at(500)))
    run.take(*backups(1), verified=20)
    (missing,) = run.rows.alerts
    assert (missing.is_judged, missing.pending_at) == (True, at(500))
    run.take(*backups(5), verified=20)  # it is missing since minute 15 instead
    run.take(*backups(*range(6, 20)), verified=20)
    assert (missing.is_current, missing.pending_at) == (False, None)
    assert len([*run.rows.alerts]) == 3  # those since 11 and 15, and the one that may follow minute 19


# -- what stays in the cache


def test_groups_that_were_touched_long_ago_are_not_cached() -> None:
    """They do not take the place of those that new records use."""
    run = Run(counting(2))
    run.rows.hits.add(run.correlator.hits(backups(1)))
    run.correlator.take_again(run.rows, 0, {EVE: Span((at(1), -1, ""), (at(1), 99, ""))}, VerifiedTime(at(10)))
    assert run.hits.read_count == 1
    run.take(*backups(2))
    assert run.hits.read_count == 3  # both


@pytest.mark.parametrize("realert", ["2m", "30m"])
def test_alerts_that_wait_are_judged_from_the_cache(realert: str) -> None:
    """The fold of a group keeps what its unjudged alerts need, and nothing of those that are reported."""
    block = f"type: spike, rules: a, {BY}: 1m, windows: 9, condition: {{factor: 0.1, min: 1}}"
    run = Run(rules_of(block, alert=f"alert: {{realert: {realert}}}\n"))
    minutes = range(10, 40, 5)
    for minute in minutes:
        run.take(*backups(minute), verified=5)
    run.hits.read_count = 0
    made = run.take(verified=50)
    assert {key for each in made for key in keys(each)} == {f"{minute:07.1f}" for minute in minutes}
    assert run.hits.read_count == 0


def test_an_alert_that_waits_across_a_restart_opens_with_all_records() -> None:
    """A fold that continued from an alert does not have what was in it: it is read when the alert is judged."""
    block = f"type: spike, rules: a, {BY}: 2m, windows: 9, condition: {{factor: 0.1, min: 2}}"
    run = Run(rules_of(block, alert="alert: {realert: 60m}\n"))
    run.take(*backups(30, 31), verified=5)
    run.correlator.forget()
    run.take(*backups(35), verified=5)
    (opened,) = run.take(verified=50)
    assert keys(opened) == ["00030.0", "00031.0", "00035.0"]


def test_a_fold_that_has_stopped_is_not_cached() -> None:
    """It lacks the later hits, which the next one needs."""
    run = Run(counting(2))
    run.take(*backups(1, 30, 58))
    assert run.take(record_at(15, key="late")) == []
    (opened,) = run.take(*backups(60))
    assert keys(opened) == ["00058.0", "00060.0"]


@in_one_test(
    ("records", "verified", "expected"),
    [
        ([(1, "b")], 1, [5]),  # known by its baseline …
        ([(1, "b")], 1, [21]),
        ([(25, "a"), (26, "b")], 26, [30]),  # … by that and an alert …
        ([(25, "a")], 26, [40]),  # … and by an alert alone
    ],
)
def test_a_term_stays_known_after_a_restart(
    records: Sequence[tuple[float, str]], verified: float, expected: Sequence[float]
) -> None:
    """What makes a term known is read, whether that is a record or an alert; one that is older than its history is not."""
    block = "type: new_term, rules: a, fields: [userName], history: 20m, baseline: b, cold-start: alert"
    run = Run(rules_of(block))
    run.take(*(record_at(minute, KINDS[kind], key=f"{kind}{minute}") for minute, kind in records), verified=verified)
    for minute in expected:
        run.correlator.forget()
        assert run.take(record_at(minute, key=f"{minute}")) == []
    run.correlator.forget()
    assert len(run.take(record_at(60, key="60"))) == 1


def test_a_late_hit_of_an_absence_is_folded_from_the_hit_before() -> None:
    """Whether an alert is known or not."""
    run = Run(rules_of(ABSENCE))
    run.take(*backups(1, 5), verified=5)
    for minute in (3, 4):
        run.correlator.forget()
        assert run.take(*backups(minute), verified=5) == []
    run.correlator.forget()
    (opened,) = run.take(verified=15)
    assert (opened.kind, opened.at) == (ChangeKind.OPEN, at(15))


def test_of_many_reported_alerts_the_last_is_cached() -> None:
    """A fold in the cache has no more than the alert that can still grow."""
    run = Run(counting(1, realert="1m"))
    for minute in range(0, 100, 5):
        run.take(*backups(minute))
    cached = run.cache.take_fold(0, EVE)
    assert cached is not None
    assert (len(cached.fold.found), len(cached.known)) == (1, 1)


def test_a_touch_extends_a_fold_only_with_later_hits() -> None:
    """A hit at the place of the newest may be that of a record that replaces it."""
    run = Run(counting(9))
    run.take(*backups(1, 2))
    cached = run.cache.take_fold(0, EVE)
    assert cached is not None
    places = [(hit(1.5), False), (hit(2, key="00002.0"), False), (hit(2, key="later"), True)]
    assert [Touch.of([each]).extends(cached) for each, _ in places] == [expected for _, expected in places]
