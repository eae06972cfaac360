"""Several groups that share one alert: who leads, who waits for whom, and when the alert is over. From rows alone."""

from __future__ import annotations

from itertools import permutations

import pytest

from actionwatch.base.model import CorrelatedAlert, Hit
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.correlations.sharing import Sharing
from actionwatch.rules.model import NEVER, Correlation, Threshold
from tests.calls import count_calls
from tests.unit.rules.correlation.kit import MINUTE, at, hit, make, minutes

FIRING = make(threshold=Threshold("gte", 1), group_by=("userName",), alert=AlertBlock(group_by=()))
ABSENCE = make(
    threshold=Threshold("lt", 1),
    group_by=("userName",),
    expected=(("a",), ("b",), ("c",)),
    alert=AlertBlock(group_by=()),
    realert=0 * MINUTE,
)
LATE = 1000.0


def fired(name: str, minute: float, **more: object) -> CorrelatedAlert:
    """Make the row of an alert that fired at a minute."""
    known = CorrelatedAlert(name, "id", (name[0],), name, at(minute), at(minute), at(minute + 10))
    known.firing = hit(minute).order
    for field, value in more.items():
        setattr(known, field, value)
    return known


def missing(name: str, since: float, *, back: float | None = None, **more: object) -> CorrelatedAlert:
    """Make the row of an alert of absence."""
    known = fired(name, since, **more)
    known.firing, known.until = None, NEVER
    known.back_at = None if back is None else at(back)
    return known


def found(known: CorrelatedAlert) -> FoundAlert:
    """Return what a fold finds of it."""
    firing = None if known.firing is None else Hit(*known.firing, ())
    return FoundAlert(
        known.origin, known.first_at, known.fired_at, known.until, HitWindow(), firing=firing, id=known.id
    )


def shared(*alerts: CorrelatedAlert, rule: Correlation = FIRING, verified: float | None = LATE) -> Sharing:
    """Make who leads whom."""
    return Sharing(rule, alerts, None if verified is None else at(verified))


def leaders(*alerts: CorrelatedAlert, rule: Correlation = FIRING, verified: float | None = LATE) -> list[str | None]:
    """Return for each alert the one that reports it, None for itself."""
    sharing = shared(*alerts, rule=rule, verified=verified)
    others = [sharing.shared_with(each) for each in alerts]
    return [None if other is None else other.id for other in others]


def end(sharing: Sharing, known: CorrelatedAlert) -> tuple[float | None, list[str]] | None:
    """Return the minute from which no group was missing, and the alerts."""
    over = sharing.end_of(known)
    return None if over is None else (minutes(over[0]), [each.id for each in over[1]])


# -- leaders


@pytest.mark.parametrize(("minute", "leader"), [(5, "a1"), (15, "a1"), (15.1, None)])
def test_an_alert_joins_within_realert(minute: float, leader: str | None) -> None:
    """An alert joins another that fired at most `realert` earlier."""
    assert leaders(fired("a1", 5), fired("b1", minute)) == [None, leader]


def test_the_order_of_firing_decides_who_leads() -> None:
    """Who leads does not depend on the order in which alerts are read."""
    alerts = [fired("b1", 8), fired("c1", 17), fired("a1", 5)]
    for some in permutations(alerts):
        by_id = dict(zip((each.id for each in some), leaders(*some), strict=True))
        assert by_id == {"a1": None, "b1": "a1", "c1": None}
        assert [each.leader for each in alerts] == ["a1", "c1", "a1"]


def test_realert_begins_with_the_leader() -> None:
    """An alert that joins does not extend the time in which others join."""
    assert leaders(fired("a1", 0), fired("b1", 9), fired("c1", 11), fired("d1", 20)) == [None, "a1", None, "c1"]


def test_a_quiet_or_lost_alert_leads_no_other() -> None:
    """An alert that fired while its rule was learning leads no other, nor does one that is no longer found."""
    for gone in (fired("a1", 5, is_quiet=True), fired("a1", 5, is_current=False)):
        assert leaders(gone, fired("b1", 6), fired("c1", 7)) == [None, None, "b1"]


def test_of_two_that_fire_at_once_the_one_that_a_record_fired_leads() -> None:
    """At one instant, an alert that a record fired precedes one that waited for that instant."""
    waited = fired("0", 5, has_waited=True, firing=None)
    assert leaders(waited, fired("z", 5)) == ["z", None]


def test_a_new_leader_joins_the_reported_alert() -> None:
    """An alert that becomes the leader of others joins the one of them that was reported."""
    assert leaders(fired("b1", 8), fired("c1", 9, is_reported=True), fired("a1", 5)) == ["a1", "a1", "c1"]
    assert leaders(fired("a1", 5, is_reported=True)) == [None]


def test_an_alert_that_is_not_among_them_shares_with_none() -> None:
    """An alert that does not count, or that was not read, joins no other and has no end."""
    sharing = shared(fired("a1", 5))
    assert (sharing.shared_with(fired("unknown", 5)), sharing.end_of(fired("unknown", 5))) == (None, None)


@pytest.mark.parametrize("rule", [FIRING, ABSENCE])
def test_many_groups_cost_as_much_as_they_are(rule: Correlation) -> None:
    """However many groups share an alert, who leads is decided in one pass over them."""

    def of(count: int) -> int:
        make_one = missing if rule is ABSENCE else fired
        alerts = [make_one(f"{number:05}", number / 1000) for number in reversed(range(count))]
        return count_calls(lambda: leaders(*alerts, rule=rule))

    assert of(2_000) < 10.5 * of(200)


# -- waiting


def test_an_unjudged_alert_holds_later_ones() -> None:
    """An alert waits for an earlier one that is not judged yet, and no longer."""
    waits, later, earlier = fired("a1", 5, is_judged=False), fired("b1", 6), fired("c1", 4)
    sharing = shared(waits, later, earlier, verified=10)
    assert [sharing.is_held(found(each)) for each in (waits, later, earlier)] == [False, True, False]
    waits.is_judged = True
    assert not shared(waits, later, earlier).is_held(found(later))


def test_a_lost_or_quiet_alert_holds_no_other() -> None:
    """No alert waits for one that is lost, or that fired while its rule was learning."""
    for gone in (fired("a1", 5, is_judged=False, is_current=False), fired("a1", 5, is_judged=False, is_quiet=True)):
        assert not shared(gone, fired("b1", 6)).is_held(found(fired("b1", 6)))


def test_an_unjudged_absence_neither_leads_nor_holds() -> None:
    """An absence that is not judged yet leads no other, and no other waits for it: each is due at its own time."""
    waits = missing("a1", 10, is_judged=False)
    assert leaders(waits, missing("b1", 12), rule=ABSENCE, verified=12) == [None, None]
    assert not shared(waits, missing("b1", 12), rule=ABSENCE, verified=12).is_held(found(missing("b1", 12)))


# -- ends


def test_all_groups_must_be_back() -> None:
    """An alert for several groups is over when the last of them is back, and not before."""
    first, second = missing("a1", 10, back=30), missing("b1", 20)
    assert end(shared(first, second, rule=ABSENCE), first) is None
    second.back_at = at(40)
    sharing = shared(first, second, rule=ABSENCE)
    assert end(sharing, first) == end(sharing, second) == (40, ["a1", "b1"])
    third, fourth = missing("c1", 35, back=50), missing("c2", 50, back=60)
    alerts = first, second, third, fourth
    assert leaders(*alerts, rule=ABSENCE) == [None, "a1", "a1", None], "who is missing from the end on begins another"
    sharing = shared(*alerts, rule=ABSENCE)
    assert (end(sharing, first), end(sharing, fourth)) == ((50, ["a1", "b1", "c1"]), (60, ["c2"]))


def test_an_unverified_end_is_no_end() -> None:
    """A group that came back after verified time still counts as missing."""
    first, second = missing("a1", 10, back=30), missing("b1", 40)
    assert end(shared(first, second, rule=ABSENCE, verified=25), first) is None
    assert leaders(first, second, rule=ABSENCE, verified=25) == [None, "a1"]
    assert leaders(first, second, rule=ABSENCE, verified=30) == [None, None]
    assert leaders(first, second, rule=ABSENCE, verified=None) == [None, "a1"]


def test_what_is_verified() -> None:
    """A time is verified once verified time has reached it; nothing is before any source was read."""
    assert [shared(verified=verified).is_verified(at(20)) for verified in (None, 19, 20)] == [False, False, True]


def test_an_alert_is_open_while_one_of_its_groups_is() -> None:
    """A shared alert is open exactly while one of its groups is missing."""
    first, second = missing("a1", 10), missing("b1", 20, reported_as="a1")
    sharing = shared(first, second, missing("c1", 30), rule=ABSENCE)
    assert not sharing.is_open("a1")
    second.is_open = True
    assert (sharing.is_open("a1"), sharing.is_open("b1")) == (True, False)
