"""What a fold finds against what people know: which alerts open, join, resolve, or take the place of one that fell away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.live.changes import compare, update_times
from actionwatch.rules.correlations.live.group_state import Evaluation, turned_by
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from actionwatch.rules.model import NEVER, Correlation, FoundAlert, Group, Threshold
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
        name, at(start), fired, at(start + 10 if until is None else until), hits, id=name, firing=hits[-1]
    )


def missing(name: str, since: float, *, back: float | None = None) -> FoundAlert:
    """Make an alert of absence."""
    end = None if back is None else at(back)
    return FoundAlert(name, at(since), at(since), NEVER, [], at(since), resolved_at=end, id=name)


def told(
    name: str, start: float, *minutes: float, until: float | datetime = NEVER, is_reported: bool = True, **more: object
) -> CorrelatedAlert:
    """Make an alert as people know it, with the records of these minutes."""
    end = until if isinstance(until, datetime) else at(until)
    known = CorrelatedAlert(name, COUNT.name.id, (), name, at(start), at(start), end, is_reported)
    known.keys = {hit(minute).key for minute in minutes}
    for field, value in more.items():
        setattr(known, field, value)
    return known


def look(
    rule: Correlation,
    alerts: Sequence[FoundAlert],
    known: Sequence[CorrelatedAlert] = (),
    turned: Sequence[CorrelatedAlert] = (),
    last: float | None = None,
    group: Group = (),
) -> Evaluation:
    """Evaluation at a group in which all alerts are judged."""
    by_id = {each.id: each for each in known}
    return Evaluation(rule, group, by_id, None if last is None else at(last), alerts, alerts, turned)


def yes(_: FoundAlert) -> bool:
    return True


def no(_: FoundAlert) -> bool:
    return False


def changes(
    *looks: Evaluation, may_open: Callable[[FoundAlert], bool] = yes, merger: SharedAlerts | None = None
) -> list[tuple[str, str]]:
    """Give what becomes of which alert, by the id that people know; what is only learned is left out."""
    return [
        (change.kind or "", change.known.alert_id) for change in all_changes(*looks, may_open=may_open, merger=merger)
    ]


def all_changes(
    *looks: Evaluation, may_open: Callable[[FoundAlert], bool] = yes, merger: SharedAlerts | None = None
) -> list[AlertChange]:
    return [change for change, _ in compare(looks, may_open, merger) if change.kind is not None]


def merged(rule: Correlation, *looks: Evaluation) -> SharedAlerts:
    """Make what holds together the groups of these looks, all verified."""
    merger = SharedAlerts(rule)
    for each in looks:
        update(merger, each, 1000)
    return merger


def update(merger: SharedAlerts, each: Evaluation, verified: float) -> None:
    """Let shared alerts take an evaluation."""
    merger.update(each.group, each.alerts, each.known, each.turned, at(verified))


# -- an alert falls away


def test_another_takes_the_place_of_an_alert_that_fell_away() -> None:
    """People get a second alert for what they know, or the same records again."""
    gone = told("old", 5, 5, 6, until=15, is_current=False)
    (change,) = all_changes(look(COUNT, [found("new", 1, 5, 6)], [gone], [gone]))
    assert (change.kind, change.known.alert_id) == (ChangeKind.JOIN, "old")
    assert [record.occurred_at for record in change.records] == [at(1)]


def test_what_nobody_was_told_of_has_no_place_to_take() -> None:
    """An alert that was only learned falls away, and the one that takes its place never opens."""
    gone = told("old", 5, until=15, is_reported=False, is_current=False)
    assert changes(look(COUNT, [found("new", 1, 5, 6)], [gone], [gone])) == [("open", "new")]


def test_an_alert_that_is_found_again_keeps_its_place() -> None:
    """An alert that is found again is taken for one that fell away: another is told under its id."""
    back = told("old", 5, 5, 6, until=15)
    alerts = [found("old", 5, 6), found("new", 14, 15)]
    assert changes(look(COUNT, alerts, [back], [back])) == [("open", "new")]


def test_only_one_takes_the_place_and_only_at_its_time() -> None:
    """Two alerts are told as one that fell away, or one that has nothing to do with it."""
    gone = told("old", 5, 5, 6, until=15, is_current=False)
    alerts = [found("far", 16, 17), found("near", 3, 6), found("next", 14, 15)]
    what = changes(look(COUNT, alerts, [gone], [gone]))
    assert what == [("open", "far"), ("join", "old"), ("open", "next")]


@pytest.mark.parametrize(("start", "is_heir"), [(-6, False), (-5, True), (15, True), (15.1, False)])
def test_alerts_overlap_at_their_ends(start: float, is_heir: bool) -> None:
    """The last instant of an alert that fell away, or its first, does not belong to it."""
    gone = told("old", 5, until=15, is_current=False)
    ((_, name),) = changes(look(COUNT, [found("new", start)], [gone], [gone]))
    assert (name == "old") is is_heir


@pytest.mark.parametrize(("last", "end", "until"), [(40, 40, 40), (20, 20, 30), (None, None, 30)])
def test_what_was_missing_and_falls_away_resolves(last: float | None, end: float | None, until: float) -> None:
    """An alert of absence that a late record makes fall away stays open, or ends at another time than the newest record."""
    gone = told("old", 30, is_open=True, is_current=False)
    (change,) = all_changes(look(ABSENCE, [], [gone], [gone], last))
    assert (change.kind, change.at) == (ChangeKind.RESOLVE, at(30 if end is None else end))
    assert (gone.is_open, gone.resolved_at, gone.until) == (False, None if end is None else at(end), at(until))
    assert changes(look(ABSENCE, [], [gone])) == []


def test_what_falls_away_after_its_end_is_over() -> None:
    """An alert that is over is resolved a second time when it falls away."""
    for rule in (COUNT, ABSENCE):
        gone = told("old", 30, until=40, is_current=False)
        assert changes(look(rule, [], [gone], [gone], 50)) == []


def test_the_heir_of_what_is_missing_takes_over_its_state() -> None:
    """The alert that takes the place of an open one opens again, or the old one resolves while something is missing."""
    gone = told("old", 30, is_open=True, is_current=False)
    place = look(ABSENCE, [missing("new", 25)], [gone], [gone], 15)
    assert changes(place) == []
    heir = place.known["new"]
    assert (heir.alert_id, heir.is_reported, heir.is_open, gone.is_open) == ("old", True, True, False)
    assert changes(look(ABSENCE, [missing("new", 25, back=50)], [heir, gone])) == [("resolve", "old")]


def test_the_heir_of_what_is_over_has_its_own_end() -> None:
    """The alert that takes the place of one that is over keeps the end of that one."""
    gone = told("old", 30, until=40, resolved_at=at(40), is_current=False)
    place = look(ABSENCE, [missing("new", 25, back=35)], [gone], [gone], 40)
    assert changes(place) == []
    heir = place.known["new"]
    assert (heir.resolved_at, heir.until) == (at(35), at(35))


# -- an alert is found again


def test_an_alert_that_is_found_again_stands_for_itself() -> None:
    """An alert that another was told as meanwhile opens again, resolves, or tells its records again."""
    again = told("old", 30, is_current=True, is_open=False)
    meanwhile = told("new", 25, is_open=True, reported_as="old", is_current=False)
    other = told("other", 20, is_open=True, is_current=False)
    place = look(ABSENCE, [missing("old", 30)], [again, meanwhile, other], [other, again, meanwhile], 22)
    assert changes(place) == [("resolve", "other")]
    assert (again.is_open, meanwhile.is_open) == (True, False)
    assert changes(look(ABSENCE, [missing("old", 30, back=60)], [again])) == [("resolve", "old")]


def test_its_records_are_those_that_were_told_meanwhile() -> None:
    """A record that came while another alert stood in is told a second time."""
    again = told("old", 5, 5, 6, until=15)
    meanwhile = told("new", 1, 1, 5, 6, 7, until=11, reported_as="old", is_current=False)
    place = look(COUNT, [found("old", 5, 6, 7), found("next", 11, 12)], [again, meanwhile], [again, meanwhile])
    assert changes(place) == [("open", "next")]  # not told as what stood in, and fell away itself


def test_what_turned_is_given_oldest_first() -> None:
    """Which of two alerts that fell away is taken over hangs on the order in which they were stored."""
    known = [told("c", 9), told("b", 3), told("a", 3), told("kept", 1), told("back", 2, is_current=False)]
    place = look(COUNT, [], known)
    turned = turned_by(place.known, ["c", "b", "a", "kept", "back", "unknown"], {"kept", "back"})
    assert [(each.id, each.is_current) for each in turned] == [
        ("back", True), ("a", False), ("b", False), ("c", False),
    ]  # fmt: skip


# -- what is told of an alert


def test_an_alert_opens_once_and_is_joined() -> None:
    """An alert that people know opens again, or is joined by records that it holds already."""
    place = look(COUNT, [found("a", 1, 2)])
    assert changes(place) == [("open", "a")]
    assert changes(place) == []
    (change,) = all_changes(look(COUNT, [found("a", 1, 2, 3)], list(place.known.values())))
    assert (change.kind, [record.occurred_at for record in change.records]) == (ChangeKind.JOIN, [at(3)])


def test_the_end_of_what_may_not_open_is_remembered() -> None:
    """An absence from before the rule was there counts as open for ever, or its end is written down at each look."""
    place = look(ABSENCE, [missing("a", 10, back=30)])
    assert [change.kind for change, _ in compare([place], no)] == [None, None]  # found, and over
    (known,) = place.known.values()
    assert (known.is_reported, known.resolved_at, known.until) == (False, at(30), at(30))
    assert list(compare([place], no)) == []
    place = look(ABSENCE, [missing("a", 10)])
    list(compare([place], no))
    (known,) = place.known.values()
    assert (known.resolved_at, known.until) == (None, NEVER)


def test_what_is_only_learned_is_written_down() -> None:
    """After a restart an alert is unknown that was found, one is current that fell away, or one has the times of before."""
    gone, moved = told("old", 50, until=60, is_current=False), told("a", 1, until=14)
    moved.fired_at, moved.keys = at(4), {hit(minute).key for minute in (1, 2)}
    alerts = [found("a", 1, 2), found("b", 20, 21)]
    written = [
        (change.kind, change.known.id) for change, _ in compare([look(COUNT, alerts, [gone, moved], [gone])], no)
    ]
    assert written == [(None, "old"), (None, "a"), (None, "b")]
    assert (moved.fired_at, moved.until) == (at(2), at(11))


def test_records_come_in_event_order() -> None:
    """The records of an alert are told in the order of the hits that brought them."""
    alert = found("a", 1)
    alert.hits = [hit(9), replace(hit(9.5), records=(*hit(8).records, *hit(3).records))]
    (change,) = all_changes(look(COUNT, [alert]))
    assert [record.occurred_at for record in change.records] == [at(3), at(8), at(9)]


def test_what_a_record_fires_comes_before_what_waited() -> None:
    """At one instant, an alert that waited for it leads one that a record fired then."""
    by_record, waited = found("z", 1, 5), found("0", 0, 2)
    waited.fired_at = at(5)
    assert by_record.firing_order < waited.firing_order
    waited.firing = None
    assert by_record.firing_order < waited.firing_order
    assert found("z", 1, 5).firing_order < found("a", 0, 6).firing_order


@pytest.mark.parametrize(
    ("known", "back", "expected"),
    [
        (told("a", 10, until=30, resolved_at=at(30)), 20.0, (at(20), at(20))),  # over: follows a late record
        (told("a", 10, until=30, resolved_at=at(30)), None, (at(30), at(30))),  # an end that was told stays one
        (told("a", 10, is_reported=False), 20.0, (None, NEVER)),  # not told yet
        (told("a", 10, is_open=True), 20.0, (None, NEVER)),  # its end is still to be told
    ],
)
def test_an_end_follows_what_is_known(
    known: CorrelatedAlert, back: float | None, expected: tuple[datetime | None, datetime]
) -> None:
    """An end that was told is taken back, or one that was not told is taken for told."""
    before = (known.resolved_at, known.until)
    assert update_times(known, missing("a", 10, back=back)) is (before != expected)
    assert (known.resolved_at, known.until) == expected


# -- several groups told as one


def test_what_fires_in_another_group_joins() -> None:
    """An alert of a second group opens by itself, or joins a second time without a record."""
    looks = [look(MERGED, [found("a", 1, 2)], group=EVE), look(MERGED, [found("b", 3, 4)], group=BOB)]
    assert changes(*reversed(looks), merger=merged(MERGED, *looks)) == [("open", "a"), ("join", "a")]
    assert not looks[1].known["b"].is_open


def test_what_is_missing_in_another_group_joins() -> None:
    """What is missing too is not told, or the alert resolves before all is back."""
    looks = [
        look(MERGED_ABSENCE, [missing("a", 10)], group=EVE),
        look(MERGED_ABSENCE, [missing("b", 20)], group=BOB),
    ]
    merger = merged(MERGED_ABSENCE, *looks)
    assert changes(*looks, merger=merger) == [("open", "a"), ("join", "a")]
    back = look(MERGED_ABSENCE, [missing("a", 10, back=30)], list(looks[0].known.values()), group=EVE)
    update(merger, back, 29)
    assert list(compare([back], yes, merger)) == []  # it is not verified yet that the other is missing
    update(merger, back, 1000)
    assert [change.kind for change, _ in compare([back], yes, merger)] == [None]
    back = look(MERGED_ABSENCE, [missing("b", 20, back=40)], list(looks[1].known.values()), group=BOB)
    update(merger, back, 1000)
    assert changes(back, merger=merger) == [("resolve", "a"), ("resolve", "a")]
    assert changes(back, merger=merger) == []


def test_what_may_not_open_leads_in_silence() -> None:
    """What is missing in a second group is taken for told, though its leader may not open."""
    looks = [
        look(MERGED_ABSENCE, [missing("a", 10)], group=EVE),
        look(MERGED_ABSENCE, [missing("b", 20)], group=BOB),
    ]
    assert changes(*looks, may_open=no, merger=merged(MERGED_ABSENCE, *looks)) == []
    assert not any(known.is_open for each in looks for known in each.known.values())


def test_what_people_know_is_not_told_as_another() -> None:
    """The heir of an alert that people know is told as the leader of its run, though they know it by another id."""
    gone = told("old", 5, 5, 6, until=15, is_current=False)
    looks = [
        look(MERGED, [found("a", 1, 2, until=4)], group=EVE),
        look(MERGED, [found("new", 4, 5, 6)], [gone], [gone], group=BOB),
    ]
    assert changes(*looks, merger=merged(MERGED, *looks)) == [("open", "a"), ("join", "old")]
    gone = told("old", 30, is_open=True, is_current=False)
    looks = [
        look(MERGED_ABSENCE, [missing("a", 10)], group=EVE),
        look(MERGED_ABSENCE, [missing("new", 25)], [gone], [gone], group=BOB),
    ]
    open_end = told("a", 10, is_open=True)
    looks[0].known["a"] = open_end
    assert changes(*looks, merger=merged(MERGED_ABSENCE, *looks)) == []


def test_what_fired_later_waits_for_what_is_not_judged() -> None:
    """An alert opens though one that fired before it, and may lead it, is still to be judged."""
    first = found("a", 1, 2)
    first.judged_at = at(50)
    looks = [Evaluation(MERGED, EVE, {}, None, [first], [], ()), look(MERGED, [found("b", 3, 4)], group=BOB)]
    merger = SharedAlerts(MERGED)
    for each in looks:
        update(merger, each, 10)
    assert changes(*looks, merger=merger) == []


@pytest.mark.parametrize(("is_other_open", "expected"), [(True, []), (False, [("resolve", "a")])])
def test_a_member_that_falls_away_resolves_the_last(is_other_open: bool, expected: list[tuple[str, str]]) -> None:
    """An alert resolves with the first of its groups that falls away, or not even with the last."""
    known = told("a", 10, is_open=is_other_open)
    gone = told("b", 20, is_open=True, reported_as="a", is_current=False)
    looks = [
        look(MERGED_ABSENCE, [missing("a", 10, back=None if is_other_open else 15)], [known], group=EVE),
        look(MERGED_ABSENCE, [], [gone], [gone], 18, group=BOB),
    ]
    merger = merged(MERGED_ABSENCE, *looks)
    merger.shared_with(known)
    assert changes(looks[1], merger=merger) == expected
