"""The live state of one group: which hits it keeps, what it forgets, when it is judged, and how it begins after a restart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.live.changes import OuterHit
from actionwatch.rules.correlations.live.context import LiveContext
from actionwatch.rules.correlations.live.group_state import GroupState
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from msgspec import structs

from actionwatch.base.model import CorrelatedAlert, Group, Hit
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import NEVER, Correlation, CorrelationType, Pattern, Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, hit, make, minutes

COUNT = make(threshold=Threshold("gte", 2))
ABSENCE = make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE)
MERGED = make(threshold=Threshold("gte", 2), group_by=("userName",), alert=AlertBlock(group_by=()))
TERM = make(CorrelationType.NEW_TERM, steps=2, timespan=0 * MINUTE, realert=0 * MINUTE, history=20 * MINUTE)
INSTANT = timedelta(microseconds=1)
ALL = 1000.0


def state_of(rule: Correlation, group: Group = (), **more: Any) -> GroupState:
    """Make the state of a group, by default of a rule that is given all hits."""
    values: dict[str, Any] = {
        "begin": START,
        "since": None,
        "complete_from": None,
        "record_floor": -1,
        "alerts_from": None,
        "is_direct": True,
        "is_thinned": True,
        "above": (),
        "settled_before": None,
        "is_waiting": False,
    }
    context = LiveContext(rule=rule, **{**values, **more})
    return GroupState(context, group, context.complete_from)


def keep(state: GroupState, *moments: float) -> None:
    for minute in moments:
        assert state.keep(hit(minute))


def firings(state: GroupState, verified: float = ALL) -> list[float | None]:
    """Return the minutes in which the alerts of a group fired."""
    state.evaluate(at(verified), None)
    return [minutes(found.fired_at) for found in state.alerts()]


def known(
    rule: Correlation, first: float, *, fired: float | None = None, until: float | None = None
) -> CorrelatedAlert:
    """Make a reported alert of the group without fields, as the store holds it."""
    key = hit(first).key
    fired = first if fired is None else fired
    end = at(fired + 10 if until is None else until)
    return CorrelatedAlert(rule.alert_id((), key), rule.name.id, (), key, at(first), at(fired), end, True)


def backlog(minute: float) -> Hit:
    """Make the hit of a record that may not alert."""
    plain = hit(minute)
    return structs.replace(plain, records=tuple(structs.replace(each, is_backlog=True) for each in plain.records))


def above(group: Group, found: FoundAlert) -> Iterable[OuterHit]:
    """Return the hit that an alert makes in the rule above."""
    yield 7, group, Hit(found.fired_at, 0, found.id, ())


# -- hits


def test_hits_are_kept_once_and_in_order() -> None:
    """Hits are kept in order, each once, and a hit that comes late counts as if it had come in time."""
    state = state_of(COUNT)
    keep(state, 5, 30)
    assert firings(state) == []
    keep(state, 2, 31)
    assert not state.keep(hit(5))
    assert [minutes(each.at) for each in state.hits] == [2, 5, 30, 31]
    assert firings(state) == [5, 31]


def test_a_hit_in_order_joins_the_fold() -> None:
    """A hit after all others is pushed into the fold of the group, which is not folded again."""
    state = state_of(COUNT)
    keep(state, 1)
    assert firings(state) == []
    keep(state, 2)
    assert firings(state) == [2]
    keep(state, 3)
    assert [len(found.hits) for found in state.alerts()] == [3]


def test_a_record_that_may_alert_replaces_backlog() -> None:
    """A hit replaces the same hit from backlog; backlog never replaces a hit, and a hit without records is no backlog."""
    for first, second, is_replaced in (
        (backlog(5), hit(5), True),
        (hit(5), backlog(5), False),
        (backlog(5), backlog(5), False),
        (structs.replace(hit(5), records=()), hit(5), False),
        (structs.replace(hit(5), records=(*backlog(5).records, *hit(5).records)), hit(5), False),
    ):
        state = state_of(COUNT)
        assert state.keep(first)
        assert state.keep(second) is is_replaced
        assert list(state.hits) == [second if is_replaced else first]


def steps_of(state: GroupState) -> list[tuple[float | None, int]]:
    return [(minutes(each.at), each.step) for each in state.hits]


def test_a_term_that_is_known_needs_few_hits() -> None:
    """Of the records that keep a term known, the first and the newest stay; a record that cannot fire is not kept."""
    state = state_of(replace(TERM, history=30 * MINUTE, is_learning=False))
    for minute in (1, 5, 9, 20, 31):
        assert state.keep(hit(minute, 0)) is (minute == 1)
        assert state.keep(hit(minute, 1))
    assert steps_of(state) == [(1, 0), (1, 1), (31, 1)]
    assert not state.keep(hit(61, 0)), "the term is known for 30 minutes, that instant included"
    assert not state.keep(hit(12, 1, "late"))
    assert not state.keep(hit(12, 0, "late"))
    keep_steps = [(70, 0), (70, 1)]
    assert all(state.keep(hit(minute, step)) for minute, step in keep_steps)
    assert steps_of(state)[2:] == [(31, 1), *keep_steps]
    assert firings(state) == [1, 70]


def test_of_the_hits_that_nothing_is_missing_between_few_stay() -> None:
    """Absence keeps no hit between two that are at most a timespan apart, and every hit at the end of a gap."""
    state = state_of(make(expected=((),)))
    for minute in (1, 4, 8, 11, 30, 35, 40):
        assert state.keep(hit(minute))
    assert [minutes(each.at) for each in state.hits] == [1, 11, 30, 40]
    assert not state.keep(hit(33))
    assert firings(state, 41) == [21, 50]
    assert state.keep(hit(20))
    assert firings(state, 41) == [50]


def test_a_late_hit_before_all_others_is_kept() -> None:
    """A hit before all others is between none, however close the first and the last are."""
    state = state_of(make(expected=((),)))
    keep(state, 10, 15)
    assert state.keep(hit(5))
    assert steps_of(state) == [(5, 0), (10, 0), (15, 0)]


@pytest.mark.parametrize(
    "came",
    [
        [(18, 0), (0, 1), (15, 1), (34, 0)],  # the term was known at 18, so that hit does not make it known for longer
        [(0, 1), (15, 1), (30, 1), (25, 0)],
    ],
)
def test_a_term_stays_known_whatever_is_left_out(came: list[tuple[float, int]]) -> None:
    """In any order of arrival, no hit is left out that makes a term known for longer than those around it."""
    state = state_of(replace(TERM, is_learning=False))
    for minute, step in came:
        state.keep(hit(minute, step))
    assert firings(state) == []


def test_hits_that_must_be_shown_are_all_kept() -> None:
    """A state that is made to explain a record keeps the hits that change nothing."""
    state = state_of(make(expected=((),)), is_thinned=False)
    keep(state, 1, 4, 8)
    assert len(state.hits) == 3


def test_a_removed_hit_does_not_count() -> None:
    """A hit is removed if it is there, and the group is folded again without it."""
    state = state_of(COUNT)
    keep(state, 1, 2, 8)
    assert firings(state) == [2]
    assert not state.remove(hit(5))
    assert not state.remove(hit(9))
    assert state.remove(hit(2))
    assert firings(state) == [8]


def test_the_hits_around_a_record() -> None:
    """The hits of a record are those that contain it, also beside others; a record without hits here has none around it."""
    state = state_of(COUNT)
    keep(state, 1, 3)
    pair = structs.replace(hit(2), records=(*hit(1.5).records, *hit(2).records))
    assert state.keep(pair)
    around = state.around(pair.records[1])
    assert around is not None
    assert around[1:] == ([hit(1)], [pair])
    assert state.around(hit(4).records[0]) is None


@pytest.mark.parametrize(("cutoff", "is_full", "left"), [(0, False, 20), (8, False, 20), (9, False, 11), (0, True, 8)])
def test_old_hits_are_folded_and_forgotten(cutoff: float, is_full: bool, left: int) -> None:
    """Hits before the cutoff are dropped, or all but eight without room, unless few; the alerts stay the same."""
    state = state_of(COUNT)
    keep(state, *range(20))
    before = firings(state)
    assert state.forget(at(cutoff), is_full=is_full) == 20 - left
    assert len(state.hits) == left
    assert state.floor == (None if left == 20 else at(19 - left) + INSTANT)
    state.remove(hit(19))
    keep(state, 19)
    assert firings(state) == before == [1, 13]


def test_settled_alerts_are_forgotten_with_their_hits() -> None:
    """An alert that can no longer change leaves the fold once its hits are dropped; the others stay."""
    state = state_of(COUNT)
    moments = [20 * number + extra for number in range(10) for extra in (0, 1)]
    keep(state, *moments)
    evaluation = state.evaluate(at(ALL), None)
    assert len(evaluation.alerts) == 10
    state.settle(evaluation.alerts, at(ALL), None)
    state.forget(at(150), is_full=False)
    assert [minutes(found.fired_at) for found in state.alerts()] == [141, 161, 181]
    keep(state, 182)
    assert [minutes(found.fired_at) for found in state.evaluate(at(ALL), None).alerts] == [181]
    keep(state, 170)  # late: the group is folded again
    assert [minutes(found.fired_at) for found in state.evaluate(at(ALL), None).alerts] == [141, 161, 181]


def test_alerts_stay_while_hits_before_them_are_forgotten() -> None:
    """If no alert belongs to the forgotten hits, all alerts stay."""
    state = state_of(COUNT)
    keep(state, *range(0, 180, 20), 200, 201, 230, 231)
    evaluation = state.evaluate(at(ALL), None)
    state.settle(evaluation.alerts, at(ALL), None)
    assert state.forget(at(190), is_full=False) == 9
    assert [minutes(found.fired_at) for found in state.alerts()] == [201, 231]


def test_a_late_hit_changes_a_settled_alert() -> None:
    """After a hit out of order, the alerts that were final are evaluated again."""
    state = state_of(COUNT)
    keep(state, 1, 2, 30, 31)
    alert = known(COUNT, 30, fired=31)
    state.restore_alert(alert)
    state.settle(state.evaluate(at(ALL), None).alerts, at(ALL), None)
    alert.taken = 2
    keep(state, 0)
    assert [minutes(found.fired_at) for found in state.evaluate(at(ALL), None).alerts] == [1, 31]
    assert alert.taken == 0  # its hits have new positions


def test_a_settled_alert_is_not_lost() -> None:
    """A known alert that can no longer change is not evaluated again, and does not count as lost."""
    state = state_of(COUNT)
    keep(state, 1, 2, 30, 31)
    for each in (known(COUNT, 1, fired=2), known(COUNT, 30, fired=31)):
        state.restore_alert(each)
    evaluation = state.evaluate(at(ALL), above)
    assert len(evaluation.outer) == 2
    state.settle(evaluation.alerts, at(ALL), None)
    again = state.evaluate(at(ALL), above)
    assert [minutes(found.fired_at) for found in again.alerts] == [31]
    assert (again.turned, again.outer) == ([], [])


def test_the_newest_alert_stays_though_one_after_it_disappeared() -> None:
    """A settled alert that is the newest again, because one that waited is gone, is not forgotten."""
    rule = make(CorrelationType.TEMPORAL_ORDERED, steps=3, patterns=(Pattern((0,), (2,)),), realert=0 * MINUTE)
    state = state_of(rule)
    for number in range(9):
        assert state.keep(hit(20 * number))  # each fires ten minutes later
    state.settle(state.evaluate(at(164), None).alerts, at(164), None)
    assert state.keep(hit(165, 2))
    state.forget(at(162), is_full=False)
    assert firings(state) == [150]


def test_a_forgotten_alert_takes_nothing_from_the_rules_above() -> None:
    """The hits that settled alerts made above stay there once the alerts are forgotten."""
    state = state_of(COUNT)
    keep(state, *(20 * number + extra for number in range(10) for extra in (0, 1)))
    evaluation = state.evaluate(at(ALL), above)
    for each in evaluation.alerts:
        alert = known(COUNT, minutes(each.first_at) or 0)
        state.restore_alert(alert)
    state.settle(evaluation.alerts, at(ALL), None)
    state.forget(at(150), is_full=False)
    keep(state, 170)  # late: the group is folded again
    assert [minutes(each.hit[2].at) for each in state.evaluate(at(ALL), above).outer] == []


def test_known_alerts_are_forgotten_with_the_settled_ones() -> None:
    """Of the known alerts, those still found stay, and those that are lost but end at the floor or later."""
    state = state_of(COUNT)
    keep(state, *(20 * number + extra for number in range(10) for extra in (0, 1)))
    alerts = state.evaluate(at(ALL), None).alerts
    floor = at(141) + INSTANT
    forgotten = [known(COUNT, 0), known(COUNT, 20, fired=490), replace(known(COUNT, 3), is_current=False)]
    left = [
        known(COUNT, 140),
        replace(known(COUNT, 7, fired=490), is_current=False),
        replace(known(COUNT, 9, fired=140), until=floor, is_current=False),
    ]
    for each in (*forgotten, *left):
        state.restore_alert(each)
    state.settle(alerts, at(ALL), None)
    state.forget(at(150), is_full=False)
    assert state.floor == floor
    assert state.evaluate(at(ALL), None).known.keys() == {each.id for each in left}


# -- when to judge


def test_an_alert_over_waiting_alerts_waits_too() -> None:
    """If inner alerts wait for verified time, an alert waits until its firing is verified."""
    state = state_of(COUNT, is_waiting=True)
    keep(state, 1, 2)
    assert [len(state.evaluate(at(verified), None).judged) for verified in (1, 2)] == [0, 1]
    assert state_of(COUNT).next_due((), None) == NEVER


@pytest.mark.parametrize(("verified", "count"), [(39, 0), (40, 1)])
def test_a_term_over_waiting_alerts_waits_too(verified: float, count: int) -> None:
    """A new term, whose learning time is over at 20, is judged once its firing is verified."""
    state = state_of(TERM, is_waiting=True)
    keep(state, 40)
    assert len(state.evaluate(at(verified), None).judged) == count


def test_an_absence_is_judged_when_it_is_due() -> None:
    """A group is evaluated next when its alert is due, or once absence may alert, unless that is verified."""
    for alerts_from, verified, due in ((None, 5, 10), (at(7), 5, 7), (at(7), 7, 10), (None, 10, None)):
        state = state_of(ABSENCE, alerts_from=alerts_from)
        expected = NEVER if due is None else at(due)
        assert state.next_due(state.alerts(), at(verified)) == expected
    early = state_of(ABSENCE, alerts_from=at(7))
    assert early.next_due(early.alerts(), None) == at(7)
    assert state_of(COUNT, alerts_from=at(7)).next_due((), None) == NEVER


def test_the_end_of_an_absence_that_shares_no_alert_is_not_due() -> None:
    """A group that came back is judged next when it may be missing again, if it shares no alert."""
    state = state_of(ABSENCE)
    keep(state, 15)
    assert state.next_due(state.evaluate(at(12), None).alerts, at(12)) == at(25)


def test_a_hit_in_order_ends_the_wait_of_the_newest_alert() -> None:
    """A known absence alert is lost when a hit comes in order before it is due."""
    state = state_of(ABSENCE)
    (waiting,) = state.evaluate(at(5), None).alerts
    state.restore_alert(replace(known(ABSENCE, 0), id=waiting.id))
    keep(state, 5)
    assert [each.id for each in state.evaluate(at(5), None).turned] == [waiting.id]


def test_a_shared_absence_is_judged_when_its_end_is_verified() -> None:
    """A group that came back is judged when the time of its return is verified, if it shares its alert."""
    rule = make(threshold=Threshold("lt", 1), group_by=("userName",), expected=(("a",),), alert=AlertBlock(group_by=()))
    state = state_of(rule, ("a",))
    keep(state, 15)
    alerts = state.evaluate(at(12), None).alerts
    assert [state.next_due(alerts, moment) for moment in (None, at(12), at(15))] == [at(10), at(15), at(25)]


def test_a_shared_alert_settles_with_the_alerts_before_it() -> None:
    """An alert is settled if a later one exists, it is judged, and no earlier alert of another group can still lead it."""
    shared, state = SharedAlerts(MERGED), state_of(MERGED, ("a",))
    keep(state, 1, 2, 30, 31)
    evaluation = state.evaluate(at(ALL), None)
    first = FoundAlert("b", at(0), at(0), at(10), HitList(), at(ALL + 1), id="b")
    shared.update(("b",), [first], {}, (), at(ALL))
    state.settle(evaluation.alerts, at(ALL), shared)
    assert len(state.evaluate(at(ALL), None).alerts) == 2
    shared.update(("b",), [], {}, (), at(ALL))
    state.settle(evaluation.alerts, at(ALL), shared)
    assert [minutes(found.fired_at) for found in state.evaluate(at(ALL), None).alerts] == [31]


def test_a_settled_alert_still_leads_other_groups() -> None:
    """A settled alert leads the alerts of other groups, though the group is no longer evaluated from there."""
    shared, state = SharedAlerts(MERGED), state_of(MERGED, ("a",))
    keep(state, 1, 2, 30, 31)
    first = CorrelatedAlert(MERGED.alert_id(("a",), hit(1).key), "", ("a",), hit(1).key, at(1), at(2), at(12), True)
    state.restore_alert(first)
    evaluation = state.evaluate(at(ALL), None)
    shared.update(("a",), evaluation.alerts, evaluation.known, (), at(ALL))
    state.settle(evaluation.alerts, at(ALL), shared)
    shared.update(("a",), state.evaluate(at(ALL), None).alerts, evaluation.known, (), at(ALL))
    shared.update(("b",), [FoundAlert("b", at(6), at(6), at(16), HitList(), id="b")], {}, (), at(ALL))
    assert shared.shared_with(CorrelatedAlert("b", "", ("b",), "b", at(6), at(6), at(16))) is first


def test_a_group_ends_with_its_last_hit_or_alert() -> None:
    """The end of a group is its newest hit, or the end of a known alert if that is later."""
    state = state_of(COUNT)
    assert state.ended_at() is None
    keep(state, 9, 5)
    assert state.ended_at() == at(9)
    state.restore_alert(known(COUNT, 1))
    assert state.ended_at() == at(11)


# -- after a restart


def restored(rule: Correlation, complete_from: float, alerts: Iterable[CorrelatedAlert], *moments: float) -> GroupState:
    """Make a group after a restart in which all hits are known only from a minute on."""
    state = state_of(rule, complete_from=at(complete_from), since=START)
    for each in alerts:
        state.restore_alert(each)
    state.begin(None)
    for minute in moments:
        state.restore_hit(hit(minute))
    state.finish_restore()
    return state


def test_a_group_begins_at_its_last_known_alert() -> None:
    """A group begins at the last alert before all hits are known; hits from then on join it as they did before."""
    alerts = [known(COUNT, 20, fired=21, until=31), known(COUNT, 1, fired=2, until=12)]
    state = restored(COUNT, 25, alerts, 20, 21, 30, 32, 33)
    assert firings(state) == [21, 33]
    assert [minutes(each.at) for each in state.alerts()[0].hits] == [20, 21, 30]
    assert state.floor == at(25)


def test_hits_before_the_alert_that_a_group_begins_with_do_not_count() -> None:
    """Without its first hit, the alert that a group begins with takes only the hits after its begin."""
    state = restored(COUNT, 25, [known(COUNT, 20, fired=21, until=31)], 5, 22, 30)
    assert firings(state) == [21]
    assert [minutes(each.at) for each in state.alerts()[0].hits] == [22, 30]


def test_an_alert_that_fired_later_moves_the_floor() -> None:
    """A hit comes too late if it precedes all known hits, or the firing of the alert that a group begins with."""
    assert restored(COUNT, 25, []).floor == at(25)
    assert restored(COUNT, 25, [known(COUNT, 25)]).floor == at(25)  # it began when all hits are known
    assert restored(COUNT, 25, [known(COUNT, 20, fired=28)]).floor == at(28) + INSTANT
    state = state_of(COUNT)
    keep(state, 1)
    state.finish_restore()
    assert (state.floor, len(state.hits)) == (None, 1)


def test_old_alerts_are_dropped_after_a_restart() -> None:
    """Of the alerts that began before all hits are known, only the last one stays known."""
    alerts = [known(COUNT, 1), known(COUNT, 20), known(COUNT, 26)]
    state = restored(COUNT, 25, alerts, 26, 27)
    assert state.evaluate(at(ALL), None).known.keys() == {each.id for each in alerts[1:]}


def test_hits_before_all_are_known_fire_nothing() -> None:
    """Hits before all are known are folded without firing, as far as nothing can still come there."""
    state = restored(COUNT, 25, [], 1, 2, 24, 26)
    assert [minutes(each.at) for each in state.hits] == [26]
    assert firings(state) == [26]
    direct = state_of(COUNT, complete_from=at(25), since=START)
    inner = state_of(COUNT, complete_from=at(25), since=START, is_direct=False)
    for group, dropped in ((direct, 2), (inner, 0)):
        keep(group, 1, 2)
        assert group.restore_hit(hit(2)) == 0, "it has that hit"
        assert len(group.hits) == 2
        assert group.restore_hit(hit(3)) == 1 - dropped
        assert len(group.hits) == 3 - dropped
        assert group.finish_restore() == 3 - dropped


def test_only_the_hits_from_the_first_one_of_an_alert_on_belong_to_it() -> None:
    """Of the hits at the instant at which the alert of a restored state began, those before its first one do not count."""
    begun = known(COUNT, 20, fired=21, until=31)
    state = state_of(COUNT, complete_from=at(25), since=START)
    state.restore_alert(begun)
    state.begin(None)
    same = [hit(20, key=key) for key in ("0", begun.origin, "9")]
    assert [state.restore_hit(each) for each in (*same, hit(21))] == [1, 1, 1, 1 - 3]
    state.finish_restore()
    assert [each.key for each in state.alerts()[0].hits] == [begun.origin, "9", hit(21).key]


@pytest.mark.parametrize(("last", "folded"), [(24, 1), (25, 0), (49, 0), (50, 0)])
def test_room_is_made_of_what_was_judged_before_a_restart(last: float, folded: int) -> None:
    """A hit is folded at once if it came before all are known, or was evaluated; not one at that instant, nor with the next."""
    for bound, minute in (("complete_from", 25), ("settled_before", 50)):
        is_folded, more = last < minute, {"since": START, bound: at(minute)}
        state = state_of(COUNT, (), **more)
        keep(state, last)
        assert state.restore_hit(hit(last, key="beside")) == 1
        assert state.restore_hit(hit(60)) == (-1 if is_folded else 1)
        assert len(state.hits) == (1 if is_folded else 3)
    both = state_of(COUNT, since=START, complete_from=at(25), settled_before=at(50))
    keep(both, last)
    assert both.restore_hit(hit(60)) == (0 if last < 50 else 1)
    assert both.floor == (at(25) if folded or last == 50 else at(last) + INSTANT)


def settled(alerts: Iterable[CorrelatedAlert], *, above: tuple[str, ...] = (), rule: Correlation = COUNT) -> GroupState:
    """Make a group after a restart that folded three alerts, judged before: from 0, 30, and 60 on."""
    state = state_of(rule, settled_before=at(100), above=above)
    for each in alerts:
        state.restore_alert(each)
    state.begin(None)
    keep(state, 0, 1, 30, 31, 60, 61)
    assert state.restore_hit(hit(120)) == 1 - 6
    assert state.floor == at(61) + INSTANT
    return state


def shown(first: float, *moments: float) -> CorrelatedAlert:
    """Make a reported alert that people saw with the records of some minutes."""
    alert = known(COUNT, first, fired=first + 1)
    alert.keys = {hit(minute).key for minute in moments}
    return alert


def test_alerts_that_were_judged_before_a_restart_are_forgotten() -> None:
    """Of the alerts that are over, only the newest stays, unless other rules count them; those not reported in full stay."""
    over = [shown(0, 0, 1), shown(30, 30, 31), shown(60, 60, 61)]
    assert firings(settled(over)) == [61]
    assert settled(over).evaluate(at(ALL), None).known.keys() == {over[-1].id}
    assert firings(settled(over, above=("outer",))) == [1, 31, 61]
    assert firings(settled([shown(0, 0), *over[1:]])) == [1, 61]
    assert firings(settled([over[0], shown(30, 30), over[2]])) == [31, 61]
    assert firings(settled([])) == [1, 31, 61]


def test_unknown_alerts_that_cannot_open_hold_no_records_after_a_restart() -> None:
    """Earlier hits of a rule without alerts are remembered without their records; what may still open keeps them."""
    silent = settled([], rule=replace(COUNT, is_silent=True))
    assert [len(found.hits) for found in silent.alerts()] == [0, 0, 2]
    assert [len(found.hits) for found in settled([]).alerts()] == [2, 2, 2]
    partly = settled([shown(0, 0)], rule=replace(COUNT, is_silent=True))
    assert [len(found.hits) for found in partly.alerts()] == [2, 0, 2]


def test_hits_before_a_restored_spike_are_its_history() -> None:
    """After a restart, the hits before a known spike are history to the next one."""
    spike = make(CorrelationType.SPIKE, windows=2, factor=2.0, minimum=2)
    for earlier, fired in (((), [33, 45]), ((20, 21, 22), [33])):
        state = restored(spike, 40, [known(spike, 31, fired=33)], *earlier, 31, 33, 44, 45)
        assert firings(state) == fired


def test_a_restored_absence_is_due_after_its_last_match() -> None:
    """After a restart, the matches before a known absence do not change when it was due."""
    state = restored(ABSENCE, 25, [known(ABSENCE, 20, until=ALL)], 5)
    assert firings(state) == [20]


def test_a_restart_publishes_final_and_known_alerts() -> None:
    """After a restart, the rules above get the hits of alerts that are final, or that were current; not of the first one."""
    begun = known(COUNT, 20)
    state = restored(COUNT, 25, [begun], 40, 41)
    assert [minutes(each.at) for _, _, each in state.republish(above)] == [41]
    for is_known in (True, False):
        waiting = state_of(COUNT, is_waiting=True)
        keep(waiting, 1, 2)
        if is_known:
            waiting.restore_alert(known(COUNT, 1, fired=2))
        assert len(list(waiting.republish(above))) == is_known
    lost = state_of(COUNT, is_waiting=True)
    keep(lost, 1, 2)
    lost.restore_alert(replace(known(COUNT, 1, fired=2), is_current=False))
    assert list(lost.republish(above)) == []


def test_a_changed_alert_replaces_its_hit_above() -> None:
    """The rules above lose the hit of an alert that changed or is lost, and get the hit of the alert as it is now."""
    state = state_of(COUNT)
    keep(state, 1, 5)
    first = state.evaluate(at(ALL), above).outer
    assert [(each.is_added, minutes(each.hit[2].at)) for each in first] == [(True, 5)]
    assert state.evaluate(at(ALL), above).outer == []
    keep(state, -50)  # late: the group is folded again, and finds the same
    assert state.evaluate(at(ALL), above).outer == []
    keep(state, 3)
    second = state.evaluate(at(ALL), above).outer
    assert [(each.is_added, minutes(each.hit[2].at)) for each in second] == [(False, 5), (True, 3)]
    assert state.remove(hit(1))
    assert state.remove(hit(3))
    third = state.evaluate(at(ALL), above).outer
    assert [(each.is_added, minutes(each.hit[2].at)) for each in third] == [(False, 3)]


def test_a_learned_term_is_restored_quietly() -> None:
    """A group that begins with a term from the learning time shares no alert and makes no hit above."""
    state = state_of(TERM, complete_from=at(15), since=START)
    alert = CorrelatedAlert(TERM.alert_id((), hit(5).key), TERM.name.id, (), hit(5).key, at(5), at(5), at(5))
    state.restore_alert(alert)
    shared = SharedAlerts(TERM)
    state.begin(shared)
    state.finish_restore()
    shared.update(("b",), [FoundAlert("b1", at(5), at(5), at(5), HitList(), id="b1")], {}, (), at(ALL))
    assert shared.shared_with(CorrelatedAlert("b1", "", ("b",), "b1", at(5), at(5), at(5))) is None
    (found,) = state.alerts()
    assert (found.id, found.is_quiet, found.fired_at) == (alert.id, True, at(5))


def test_a_learned_term_makes_no_hit_above() -> None:
    """The rules above do not count a term that fired while its rule was learning."""
    state = state_of(TERM)
    keep(state, 5, 40)
    assert [minutes(each.hit[2].at) for each in state.evaluate(at(ALL), above).outer] == [40]


def test_a_restored_alert_leads_in_its_shared_alert() -> None:
    """The current alerts of a group lead others after a restart; lost ones do not."""
    for is_current in (True, False):
        shared, state = SharedAlerts(MERGED), state_of(MERGED, ("a",))
        end: datetime = at(11)
        state.restore_alert(CorrelatedAlert("a1", "", ("a",), "a1", at(1), at(1), end, True, is_current=is_current))
        state.begin(shared)
        other = FoundAlert("b1", at(5), at(5), at(15), HitList(), id="b1")
        shared.update(("b",), [other], {}, (), at(ALL))
        leader = shared.shared_with(CorrelatedAlert("b1", "", ("b",), "b1", at(5), at(5), at(15)))
        assert (leader is not None) is is_current
