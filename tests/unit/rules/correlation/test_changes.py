"""The alerts of a fold compared with the reported ones: which alerts open, join, resolve, or replace one that is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.live.changes import Evaluation, compare, turned_by, update_times
from actionwatch.rules.correlations.live.kept_records import KeptRecords
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from msgspec import structs

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert, Group
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import NEVER, Correlation, Threshold
from tests.unit.rules.correlation.kit import MINUTE, at, hit, make

COUNT = make(threshold=Threshold("gte", 2))
ABSENCE = make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE)
MERGED = make(threshold=Threshold("gte", 2), group_by=("userName",), alert=AlertBlock(group_by=()))
MERGED_ABSENCE = make(
    threshold=Threshold("lt", 1),
    group_by=("userName",),
    expected=(("eve",), ("bob",)),
    alert=AlertBlock(group_by=()),
    realert=0 * MINUTE,
)
EVE: Group = ("eve",)
BOB: Group = ("bob",)


def found(name: str, start: float, *minutes: float, until: float | None = None) -> FoundAlert:
    """Make an alert that begins at a minute, with hits, open for ten minutes."""
    hits = [hit(minute) for minute in (start, *minutes)]
    fired = hits[-1].at
    return FoundAlert(
        name, at(start), fired, at(start + 10 if until is None else until), HitList(hits), id=name, firing=hits[-1]
    )


def missing(name: str, since: float, *, back: float | None = None) -> FoundAlert:
    """Make an alert of absence."""
    end = None if back is None else at(back)
    return FoundAlert(name, at(since), at(since), NEVER, HitList(), at(since), resolved_at=end, id=name)


def reported(
    name: str, start: float, *minutes: float, until: float | datetime = NEVER, is_reported: bool = True, **more: object
) -> CorrelatedAlert:
    """Make a reported alert with the records of these minutes."""
    end = until if isinstance(until, datetime) else at(until)
    known = CorrelatedAlert(name, COUNT.name.id, (), name, at(start), at(start), end, is_reported)
    known.keys = {hit(minute).key for minute in minutes}
    for field, value in more.items():
        setattr(known, field, value)
    return known


def evaluated(
    rule: Correlation,
    alerts: Sequence[FoundAlert],
    known: Sequence[CorrelatedAlert] = (),
    turned: Sequence[CorrelatedAlert] = (),
    last: float | None = None,
    group: Group = (),
) -> Evaluation:
    """Make the evaluation of a group in which all alerts are judged."""
    by_id = {each.id: each for each in known}
    return Evaluation(rule, group, by_id, None if last is None else at(last), alerts, alerts, turned)


def yes(_: FoundAlert) -> bool:
    return True


def no(_: FoundAlert) -> bool:
    return False


def changes(
    *evaluations: Evaluation, may_open: Callable[[FoundAlert], bool] = yes, shared: SharedAlerts | None = None
) -> list[tuple[str, str]]:
    """Return what happens to which alert, by its reported id, without changes that are only stored."""
    return [
        (change.kind or "", change.known.alert_id)
        for change in all_changes(*evaluations, may_open=may_open, shared=shared)
    ]


def all_changes(
    *evaluations: Evaluation, may_open: Callable[[FoundAlert], bool] = yes, shared: SharedAlerts | None = None
) -> list[AlertChange]:
    """Return the changes with the records that they bring."""
    made, whole = compare(evaluations, may_open, shared), KeptRecords().whole
    return [replace(each.change, records=tuple(whole(each.records))) for each in made if each.change.kind is not None]


def merged(rule: Correlation, *evaluations: Evaluation) -> SharedAlerts:
    """Make the shared alerts of these evaluations, all verified."""
    shared = SharedAlerts(rule)
    for each in evaluations:
        update(shared, each, 1000)
    return shared


def update(shared: SharedAlerts, each: Evaluation, verified: float) -> None:
    """Let shared alerts take an evaluation."""
    shared.update(each.group, each.alerts, each.known, each.turned, at(verified))


# -- an alert is lost


def test_an_alert_replaces_one_that_is_lost() -> None:
    """An alert that replaces a lost one joins the reported alert, with its new records only."""
    gone = reported("old", 5, 5, 6, until=15, is_current=False)
    (change,) = all_changes(evaluated(COUNT, [found("new", 1, 5, 6)], [gone], [gone]))
    assert (change.kind, change.known.alert_id) == (ChangeKind.JOIN, "old")
    assert [record.occurred_at for record in change.records] == [at(1)]


def test_an_unreported_alert_is_not_replaced() -> None:
    """An alert opens if the one that it replaces was never reported."""
    gone = reported("old", 5, until=15, is_reported=False, is_current=False)
    assert changes(evaluated(COUNT, [found("new", 1, 5, 6)], [gone], [gone])) == [("open", "new")]


def test_an_alert_that_is_found_again_keeps_its_id() -> None:
    """An alert that is found again keeps its id; another one at that time opens."""
    back = reported("old", 5, 5, 6, until=15)
    alerts = [found("old", 5, 6), found("new", 14, 15)]
    assert changes(evaluated(COUNT, alerts, [back], [back])) == [("open", "new")]


def test_only_one_overlapping_alert_replaces_a_lost_one() -> None:
    """Only the first alert that overlaps a lost one replaces it."""
    gone = reported("old", 5, 5, 6, until=15, is_current=False)
    alerts = [found("far", 16, 17), found("near", 3, 6), found("next", 14, 15)]
    what = changes(evaluated(COUNT, alerts, [gone], [gone]))
    assert what == [("open", "far"), ("join", "old"), ("open", "next")]


@pytest.mark.parametrize(("start", "is_replaced"), [(-6, False), (-5, True), (15, True), (15.1, False)])
def test_alerts_overlap_at_their_ends(start: float, is_replaced: bool) -> None:
    """An alert includes its first and its last instant when it is compared with another."""
    gone = reported("old", 5, until=15, is_current=False)
    ((_, name),) = changes(evaluated(COUNT, [found("new", start)], [gone], [gone]))
    assert (name == "old") is is_replaced


@pytest.mark.parametrize(("last", "end", "until"), [(40, 40, 40), (20, 20, 30), (None, None, 30)])
def test_a_lost_absence_alert_resolves(last: float | None, end: float | None, until: float) -> None:
    """A lost absence alert resolves at the time of the newest record."""
    gone = reported("old", 30, is_open=True, is_current=False)
    (change,) = all_changes(evaluated(ABSENCE, [], [gone], [gone], last))
    assert (change.kind, change.at) == (ChangeKind.RESOLVE, at(30 if end is None else end))
    assert (gone.is_open, gone.resolved_at, gone.until) == (False, None if end is None else at(end), at(until))
    assert changes(evaluated(ABSENCE, [], [gone])) == []


def test_a_lost_alert_that_is_over_does_not_resolve() -> None:
    """An alert that is over does not resolve a second time when it is lost."""
    for rule in (COUNT, ABSENCE):
        gone = reported("old", 30, until=40, is_current=False)
        assert changes(evaluated(rule, [], [gone], [gone], 50)) == []


def test_the_replacement_of_an_open_alert_takes_over_its_state() -> None:
    """The alert that replaces an open one does not open again, and nothing resolves while a group is missing."""
    gone = reported("old", 30, is_open=True, is_current=False)
    place = evaluated(ABSENCE, [missing("new", 25)], [gone], [gone], 15)
    assert changes(place) == []
    heir = place.known["new"]
    assert (heir.alert_id, heir.is_reported, heir.is_open, gone.is_open) == ("old", True, True, False)
    assert changes(evaluated(ABSENCE, [missing("new", 25, back=50)], [heir, gone])) == [("resolve", "old")]


def test_the_replacement_of_an_alert_that_is_over_has_its_own_end() -> None:
    """The alert that replaces one that is over has its own end."""
    gone = reported("old", 30, until=40, resolved_at=at(40), is_current=False)
    place = evaluated(ABSENCE, [missing("new", 25, back=35)], [gone], [gone], 40)
    assert changes(place) == []
    heir = place.known["new"]
    assert (heir.resolved_at, heir.until) == (at(35), at(35))


# -- an alert is found again


def test_an_alert_that_is_found_again_takes_over_from_its_substitute() -> None:
    """An alert that is found again takes over from its substitute: it does not open, resolve, or repeat records."""
    again = reported("old", 30, is_current=True, is_open=False)
    meanwhile = reported("new", 25, is_open=True, reported_as="old", is_current=False)
    other = reported("other", 20, is_open=True, is_current=False)
    place = evaluated(ABSENCE, [missing("old", 30)], [again, meanwhile, other], [other, again, meanwhile], 22)
    assert changes(place) == [("resolve", "other")]
    assert (again.is_open, meanwhile.is_open) == (True, False)
    assert changes(evaluated(ABSENCE, [missing("old", 30, back=60)], [again])) == [("resolve", "old")]


def test_records_of_a_substitute_are_not_repeated() -> None:
    """Records that came while a substitute was reported are not reported again."""
    again = reported("old", 5, 5, 6, until=15)
    meanwhile = reported("new", 1, 1, 5, 6, 7, until=11, reported_as="old", is_current=False)
    place = evaluated(COUNT, [found("old", 5, 6, 7), found("next", 11, 12)], [again, meanwhile], [again, meanwhile])
    assert changes(place) == [("open", "next")]  # not reported as the substitute, which is lost itself


def test_lost_alerts_come_oldest_first() -> None:
    """The oldest of several lost alerts comes first, in any order of storage."""
    known = [
        reported("c", 9),
        reported("b", 3),
        reported("a", 3),
        reported("kept", 1),
        reported("back", 2, is_current=False),
    ]
    place = evaluated(COUNT, [], known)
    turned = turned_by(place.known, ["c", "b", "a", "kept", "back", "unknown"], {"kept", "back"})
    assert [(each.id, each.is_current) for each in turned] == [
        ("back", True), ("a", False), ("b", False), ("c", False),
    ]  # fmt: skip


# -- what is reported of an alert


def test_an_alert_opens_once_and_is_joined() -> None:
    """An alert opens once; only records that it does not hold yet join it."""
    place = evaluated(COUNT, [found("a", 1, 2)])
    assert changes(place) == [("open", "a")]
    assert changes(place) == []
    assert place.known["a"].taken == 2  # so that the next look begins after these hits
    (change,) = all_changes(evaluated(COUNT, [found("a", 1, 2, 3)], list(place.known.values())))
    assert (change.kind, [record.occurred_at for record in change.records]) == (ChangeKind.JOIN, [at(3)])


def test_the_end_of_an_unreported_absence_is_stored_once() -> None:
    """The end of an absence that may not open is stored, once."""
    place = evaluated(ABSENCE, [missing("a", 10, back=30)])
    assert [change.kind for change, *_ in compare([place], no)] == [None, None]  # found, and over
    (known,) = place.known.values()
    assert (known.is_reported, known.resolved_at, known.until) == (False, at(30), at(30))
    assert list(compare([place], no)) == []
    place = evaluated(ABSENCE, [missing("a", 10)])
    list(compare([place], no))
    (known,) = place.known.values()
    assert (known.resolved_at, known.until) == (None, NEVER)


def test_unreported_alerts_are_stored() -> None:
    """Alerts that are not reported are stored too: found ones, lost ones, and changed times."""
    gone, moved = reported("old", 50, until=60, is_current=False), reported("a", 1, until=14)
    moved.fired_at, moved.keys = at(4), {hit(minute).key for minute in (1, 2)}
    alerts = [found("a", 1, 2), found("b", 20, 21)]
    written = [
        (change.kind, change.known.id) for change, *_ in compare([evaluated(COUNT, alerts, [gone, moved], [gone])], no)
    ]
    assert written == [(None, "old"), (None, "a"), (None, "b")]
    assert (moved.fired_at, moved.until) == (at(2), at(11))


def test_records_come_in_event_order() -> None:
    """The records of an alert come in event order."""
    alert = found("a", 1)
    alert.hits = HitList([hit(9), structs.replace(hit(9.5), records=(*hit(8).records, *hit(3).records))])
    (change,) = all_changes(evaluated(COUNT, [alert]))
    assert [record.occurred_at for record in change.records] == [at(3), at(8), at(9)]


def test_an_alert_that_a_record_fired_comes_first() -> None:
    """At one instant, an alert that a record fired precedes one that waited for that instant."""
    by_record, waited = found("z", 1, 5), found("0", 0, 2)
    waited.fired_at = at(5)
    assert by_record.firing_order < waited.firing_order
    waited.firing = None
    assert by_record.firing_order < waited.firing_order
    assert found("z", 1, 5).firing_order < found("a", 0, 6).firing_order


@pytest.mark.parametrize(
    ("known", "back", "expected"),
    [
        (reported("a", 10, until=30, resolved_at=at(30)), 20.0, (at(20), at(20))),  # over: it follows a late record
        (reported("a", 10, until=30, resolved_at=at(30)), None, (at(30), at(30))),  # a reported end stays
        (reported("a", 10, is_reported=False), 20.0, (None, NEVER)),  # not reported yet
        (reported("a", 10, is_open=True), 20.0, (None, NEVER)),  # its end is not reported yet
    ],
)
def test_which_end_follows_a_late_record(
    known: CorrelatedAlert, back: float | None, expected: tuple[datetime | None, datetime]
) -> None:
    """An end that was reported stays; only an end that is over follows a late record."""
    before = (known.resolved_at, known.until)
    assert update_times(known, missing("a", 10, back=back)) is (before != expected)
    assert (known.resolved_at, known.until) == expected


# -- several groups that share an alert


def test_an_alert_of_another_group_joins() -> None:
    """An alert of a second group joins the alert of the first, once."""
    evaluations = [evaluated(MERGED, [found("a", 1, 2)], group=EVE), evaluated(MERGED, [found("b", 3, 4)], group=BOB)]
    assert changes(*reversed(evaluations), shared=merged(MERGED, *evaluations)) == [("open", "a"), ("join", "a")]
    assert not evaluations[1].known["b"].is_open


def test_a_missing_group_joins_another() -> None:
    """A second missing group joins, and the alert resolves once all groups are verified to be back."""
    evaluations = [
        evaluated(MERGED_ABSENCE, [missing("a", 10)], group=EVE),
        evaluated(MERGED_ABSENCE, [missing("b", 20)], group=BOB),
    ]
    shared = merged(MERGED_ABSENCE, *evaluations)
    assert changes(*evaluations, shared=shared) == [("open", "a"), ("join", "a")]
    back = evaluated(MERGED_ABSENCE, [missing("a", 10, back=30)], list(evaluations[0].known.values()), group=EVE)
    update(shared, back, 29)
    assert list(compare([back], yes, shared)) == []  # it is not verified yet that the other is missing
    update(shared, back, 1000)
    assert [change.kind for change, *_ in compare([back], yes, shared)] == [None]
    back = evaluated(MERGED_ABSENCE, [missing("b", 20, back=40)], list(evaluations[1].known.values()), group=BOB)
    update(shared, back, 1000)
    assert changes(back, shared=shared) == [("resolve", "a"), ("resolve", "a")]
    assert changes(back, shared=shared) == []


def test_group_that_joins_an_unreported_alert_is_not_reported() -> None:
    """A missing group that joins an alert that may not open is not reported either."""
    evaluations = [
        evaluated(MERGED_ABSENCE, [missing("a", 10)], group=EVE),
        evaluated(MERGED_ABSENCE, [missing("b", 20)], group=BOB),
    ]
    assert changes(*evaluations, may_open=no, shared=merged(MERGED_ABSENCE, *evaluations)) == []
    assert not any(known.is_open for each in evaluations for known in each.known.values())


def test_a_reported_alert_keeps_its_id() -> None:
    """An alert that replaces a reported one keeps its id, even if another alert leads it."""
    gone = reported("old", 5, 5, 6, until=15, is_current=False)
    evaluations = [
        evaluated(MERGED, [found("a", 1, 2, until=4)], group=EVE),
        evaluated(MERGED, [found("new", 4, 5, 6)], [gone], [gone], group=BOB),
    ]
    assert changes(*evaluations, shared=merged(MERGED, *evaluations)) == [("open", "a"), ("join", "old")]
    gone = reported("old", 30, is_open=True, is_current=False)
    evaluations = [
        evaluated(MERGED_ABSENCE, [missing("a", 10)], group=EVE),
        evaluated(MERGED_ABSENCE, [missing("new", 25)], [gone], [gone], group=BOB),
    ]
    open_end = reported("a", 10, is_open=True)
    evaluations[0].known["a"] = open_end
    assert changes(*evaluations, shared=merged(MERGED_ABSENCE, *evaluations)) == []


def test_an_alert_waits_for_earlier_unjudged_ones() -> None:
    """An alert waits until the alerts that fired before it are judged."""
    first = found("a", 1, 2)
    first.judged_at = at(50)
    evaluations = [Evaluation(MERGED, EVE, {}, None, [first], [], ()), evaluated(MERGED, [found("b", 3, 4)], group=BOB)]
    shared = SharedAlerts(MERGED)
    for each in evaluations:
        update(shared, each, 10)
    assert changes(*evaluations, shared=shared) == []


def test_groups_that_come_back_together_resolve_once_each() -> None:
    """Where many missing groups are verified to be back at once, each of their alerts resolves once, at the last return."""
    groups = [(f"g{number}",) for number in range(20)]
    known = [reported(f"a{place:02}", 10, is_open=True, reported_as="a00") for place in range(20)]
    evaluations = [
        evaluated(MERGED_ABSENCE, [missing(each.id, 10, back=20 + place)], [each], group=group)
        for place, (group, each) in enumerate(zip(groups, known, strict=True))
    ]
    made = all_changes(*evaluations, shared=merged(MERGED_ABSENCE, *evaluations))
    assert [(change.kind, change.known.id, change.at) for change in made] == [
        (ChangeKind.RESOLVE, each.id, at(39)) for each in known
    ]


@pytest.mark.parametrize(("is_other_open", "expected"), [(True, []), (False, [("resolve", "a")])])
def test_the_last_lost_group_resolves_a_shared_alert(is_other_open: bool, expected: list[tuple[str, str]]) -> None:
    """A shared alert resolves with the last of its groups that is lost, not earlier."""
    known = reported("a", 10, is_open=is_other_open)
    gone = reported("b", 20, is_open=True, reported_as="a", is_current=False)
    evaluations = [
        evaluated(MERGED_ABSENCE, [missing("a", 10, back=None if is_other_open else 15)], [known], group=EVE),
        evaluated(MERGED_ABSENCE, [], [gone], [gone], 18, group=BOB),
    ]
    shared = merged(MERGED_ABSENCE, *evaluations)
    shared.shared_with(known)
    assert changes(evaluations[1], shared=shared) == expected
