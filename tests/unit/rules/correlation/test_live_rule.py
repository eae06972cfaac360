"""The state of one rule: which hits it takes, and how many it keeps."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from actionwatch.rules.correlations.live.changes import FoundChange, OuterHit
from actionwatch.rules.correlations.live.context import StreamBounds, contexts_of
from actionwatch.rules.correlations.live.live_rule import Limits, LiveRule

from actionwatch.base.model import ChangeKind, CorrelatedAlert, Group, Hit
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import CorrelationType, Pattern, Threshold
from tests.unit.rules.correlation.kit import at, hit, make

GROUP, OTHER = ("eve",), ("bob",)
JUDGED = Limits(at(1000), None, is_full=False)


RULE = make(threshold=Threshold("gte", 2), group_by=("userName",))
(CONTEXT,) = contexts_of([RULE], StreamBounds(begin=lambda _: at(-10_000), since=lambda _: at(-10_000)))


def reported(changes: Iterable[FoundChange]) -> list[tuple[ChangeKind, Group]]:
    """Return what people learn of, with the group."""
    return [(change.kind, change.known.group) for change, *_ in changes if change.kind is not None]


@pytest.fixture
def state() -> LiveRule:
    """Make the state of a rule that counts two records in a group, and knows all hits from long before minute 0 on."""
    return LiveRule(CONTEXT, None, 10)


def test_a_new_state_keeps_nothing(state: LiveRule) -> None:
    """Without hits nothing is kept, nothing was evicted, and nothing is due."""
    assert (state.kept, state.evicted, state.newest) == (0, 0, None)
    assert not state.is_due(at(1000))


def test_hits_are_counted_when_they_come_and_when_they_go(state: LiveRule) -> None:
    """The state counts the hits that it keeps, and the newest time."""
    first, second = hit(1, key="a"), hit(2, key="b")
    assert state.insert(GROUP, second)
    assert state.insert(GROUP, first)
    assert (state.kept, state.newest) == (2, at(2))
    assert state.remove(GROUP, first) is True
    assert (state.kept, state.is_due(None)) == (1, True)
    assert state.remove(GROUP, first) is True, "a hit that is gone came in time, and changes nothing"
    assert state.remove(OTHER, first) is True, "so did one of a group that nobody knows"
    assert state.kept == 1


def test_hits_before_what_is_known_come_too_late(state: LiveRule) -> None:
    """A hit from before the time from which all hits are known can be neither taken nor removed."""
    assert CONTEXT.complete_from is not None
    early = hit((CONTEXT.complete_from - at(0)).total_seconds() / 60 - 1, key="early")
    assert state.insert(GROUP, early) is False
    assert state.remove(GROUP, early) is False
    assert (state.kept, state.is_due(None)) == (0, False)


def test_a_removed_hit_makes_its_group_due(state: LiveRule) -> None:
    """A group is judged again when one of its hits is gone."""
    state.insert(GROUP, hit(1))
    state.insert(GROUP, hit(2))
    changes, _ = state.evaluate(JUDGED)
    assert changes
    assert not state.is_due(at(1000))
    state.remove(GROUP, hit(2))
    assert state.is_due(None)
    state.evaluate(JUDGED)
    assert not changes[0].change.known.is_current


def test_a_group_of_another_shape_is_not_restored(state: LiveRule) -> None:
    """An alert from before `group-by` was changed has no group in this state."""
    for group in ((), ("eve", "c1")):
        state.restore_alert(CorrelatedAlert("a", "id", group, "k", at(1), at(1), at(11), True))
    assert state.count_groups() == 0
    state.restore_alert(CorrelatedAlert("a", "id", GROUP, "k", at(1), at(1), at(11), True))
    assert state.count_groups() == 1


def test_restored_hits_are_counted_as_far_as_they_are_kept() -> None:
    """Hits before what the rule is given are left out, and those that are folded at once are not counted."""
    bounds = StreamBounds(begin=lambda _: at(-10_000), since=lambda _: at(0))
    (context,) = contexts_of([RULE], bounds)
    state = LiveRule(context, None, 10)
    assert context.complete_from is not None
    known_from = (context.complete_from - at(0)).total_seconds() / 60
    state.begin_groups()
    state.restore_hit(OTHER, hit(-0.01))
    assert state.count_groups() == 0
    state.restore_hit(OTHER, hit(0))
    assert state.count_groups() == 1
    held: list[int] = []
    for minute in (1, 2, known_from - 0.1, known_from + 30, known_from + 31):
        state.restore_hit(GROUP, hit(minute))
        held.append(state.kept)
    assert held == [2, 2, 2, 2, 3]
    assert state.finish_restore() == []
    assert state.kept == 2
    assert state.is_due(None), "what was restored is judged"
    early = LiveRule(context, None, 10)
    early.restore_hit(GROUP, hit(1))
    early.finish_restore()
    assert early.kept == 0
    without_limit = LiveRule(
        next(contexts_of([RULE], StreamBounds(begin=lambda _: None))),
        None,
        10,
    )
    without_limit.restore_hit(GROUP, hit(1))
    without_limit.finish_restore()
    assert without_limit.kept == 1


def test_a_group_that_waits_is_due_at_its_time() -> None:
    """An absence waits for verified time: it is due when that reaches the deadline, and never while none is known."""
    absence = make(threshold=Threshold("lt", 1), expected=((),))
    (context,) = contexts_of([absence], StreamBounds(begin=lambda _: at(0)))
    state = LiveRule(context, None, 10)
    assert [state.is_due(verified) for verified in (None, at(0), at(100_000))] == [False, False, True]


def test_the_group_used_least_recently_makes_room() -> None:
    """At the limit of groups, a new group drops the one whose last hit came first, with its hits."""
    state = LiveRule(CONTEXT, None, 2)
    state.insert(GROUP, hit(1))
    state.insert(OTHER, hit(2))
    state.insert(GROUP, hit(3))
    assert (state.count_groups(), state.evicted, state.kept) == (2, 0, 3)
    state.insert(("sam",), hit(4))
    assert (state.count_groups(), state.evicted, state.kept) == (2, 1, 3)
    state.insert(("pat",), hit(5))
    assert (state.count_groups(), state.evicted, state.kept) == (2, 2, 2), "eve, whose hits were two, is gone now"
    assert len(state.evaluate(JUDGED)[0]) == 0, "what is gone is not evaluated"


def test_an_idle_group_is_dropped_after_its_reach() -> None:
    """A group stays as long as its alert could change: its reach and `realert` after the last event, that instant included."""
    state = LiveRule(CONTEXT, None, 10)
    span = (RULE.reach + RULE.realert).total_seconds() / 60
    state.insert(GROUP, hit(50))
    state.insert(OTHER, hit(20))
    for cutoff, count in ((50 + span, 2), (50 + span + 0.1, 0)):
        state.evaluate(Limits(at(1000), at(cutoff), is_full=False))
        assert state.count_groups() == count
    assert state.kept == 0
    assert not state.insert(("sam",), hit(50 + span)), "what is dropped is unknown in every new group"
    assert state.insert(("sam",), hit(50 + span + 0.1))


def test_a_group_with_nothing_but_a_restored_alert_is_dropped() -> None:
    """A restored alert without hits does not keep its group for ever."""
    bounds = StreamBounds(begin=lambda _: at(-10_000), since=lambda _: at(-10_000))
    (context,) = contexts_of([RULE], bounds)
    state = LiveRule(context, None, 10)
    state.restore_alert(CorrelatedAlert("a", "id", GROUP, "k", at(1), at(1), at(11), True))
    state.begin_groups()
    state.finish_restore()
    assert state.is_due(None), "its alert is compared with the hits that there are"
    state.evaluate(Limits(at(1000), at(500), is_full=False))
    assert state.count_groups() == 0


def test_a_group_that_a_restart_leaves_with_nothing_is_dropped() -> None:
    """A group whose only alert was lost before all hits are known does not stay, and holds no other group back."""
    bounds = StreamBounds(begin=lambda _: at(-10_000), since=lambda _: at(0))
    (context,) = contexts_of([RULE], bounds)
    state = LiveRule(context, None, 10)
    lost = CorrelatedAlert("a", "id", GROUP, "k", at(1), at(1), at(11), True, is_current=False)
    state.restore_alert(lost)
    state.begin_groups()
    state.finish_restore()
    state.insert(OTHER, hit(100))
    assert state.count_groups() == 2
    state.evaluate(Limits(at(1000), at(500), is_full=False))
    assert state.count_groups() == 0


def test_a_restored_alert_leads_the_alerts_of_other_groups() -> None:
    """After a restart, a group joins the alert of another group that people know."""
    merging = make(threshold=Threshold("gte", 1), group_by=("userName",), alert=AlertBlock(group_by=()))
    (context,) = contexts_of([merging], StreamBounds(begin=lambda _: at(-10_000), since=lambda _: at(-10_000)))
    state = LiveRule(context, None, 10)
    known = CorrelatedAlert("a", "id", GROUP, "k", at(1), at(1), at(11), True)
    state.restore_alert(known)
    state.begin_groups()
    state.finish_restore()
    state.insert(OTHER, hit(5))
    changes, _ = state.evaluate(JUDGED)
    assert (ChangeKind.JOIN, OTHER) in reported(changes)
    assert {change.known.alert_id for change, *_ in changes if change.known.group == OTHER} == {"a"}


def test_an_absence_restores_the_alerts_of_expected_groups_only() -> None:
    """An alert about a group that is no longer expected has no place in the state."""
    absence = make(threshold=Threshold("lt", 1), group_by=("userName",), expected=(GROUP,))
    (context,) = contexts_of([absence], StreamBounds(begin=lambda _: at(0)))
    state = LiveRule(context, None, 10)
    for group in (GROUP, OTHER):
        state.restore_alert(CorrelatedAlert("a", "id", group, "k", at(1), at(1), at(11), True))
    assert state.count_groups() == 1

    state.evaluate(Limits(at(0), at(100_000), is_full=False))
    assert state.count_groups() == 1, "an expected group may always be missing again"


def test_a_group_that_made_room_is_not_judged() -> None:
    """A group that waited for verified time and was dropped is forgotten, also where it waited."""
    absence = make(threshold=Threshold("lt", 1), group_by=("userName",), expected=(GROUP, OTHER))
    (context,) = contexts_of([absence], StreamBounds(begin=lambda _: at(0)))
    state = LiveRule(context, None, 1)
    changes, _ = state.evaluate(Limits(at(1000), None, is_full=False))
    assert reported(changes) == [(ChangeKind.OPEN, OTHER)]


def test_restored_alerts_make_hits_above() -> None:
    """After a restart, the rules above count the alerts that the hits from before it make."""

    def above(group: Group, found: FoundAlert) -> Iterable[OuterHit]:
        yield 7, group, Hit(found.fired_at, 0, found.id, ())

    state = LiveRule(CONTEXT, above, 10)
    state.begin_groups()
    for minute in (1, 2):
        state.restore_hit(GROUP, hit(minute))
    assert [(number, group, each.at) for number, group, each in state.finish_restore()] == [(7, GROUP, at(2))]


def test_groups_that_share_an_alert_are_judged_with_those_that_wait_there() -> None:
    """An alert waits until an earlier one of another group is verified, and joins it then."""
    merging = make(
        CorrelationType.TEMPORAL_ORDERED,
        steps=3,
        group_by=("userName",),
        alert=AlertBlock(group_by=()),
        patterns=(Pattern((0,), (2,)), Pattern((1,))),
    )
    (context,) = contexts_of([merging], StreamBounds(begin=lambda _: at(-10_000)))
    state = LiveRule(context, None, 10)
    state.insert(GROUP, hit(1, 0))  # fires at 11, if no third step follows until then
    state.insert(OTHER, hit(12, 1))
    assert state.evaluate(Limits(at(10), None, is_full=False)) == ([], [])
    assert [state.is_due(at(minute)) for minute in (10.9, 11)] == [False, True]
    changes, _ = state.evaluate(Limits(at(11), None, is_full=False))
    assert reported(changes) == [(ChangeKind.OPEN, GROUP), (ChangeKind.JOIN, OTHER)]
    assert len({change.known.alert_id for change, *_ in changes}) == 1
    assert not state.is_due(at(10_000))


def test_groups_share_an_alert_after_one_of_them_was_dropped() -> None:
    """What groups share stays while one of them is there: a dropped group does not end the alert of the others."""
    merging = make(threshold=Threshold("gte", 1), group_by=("userName",), alert=AlertBlock(group_by=()))
    (context,) = contexts_of([merging], StreamBounds(begin=lambda _: at(-10_000)))
    state = LiveRule(context, None, 2)
    for minute, group in ((1, GROUP), (2, OTHER)):
        state.insert(group, hit(minute))
    state.evaluate(JUDGED)
    state.insert(("sam",), hit(9))  # eve makes room
    changes, _ = state.evaluate(JUDGED)
    assert reported(changes) == [(ChangeKind.JOIN, ("sam",))]
