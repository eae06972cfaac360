"""Which alerts of several groups are told as one: who leads, who joins, when all is over, and what is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts
from actionwatch.rules.model import NEVER, FoundAlert, Group, Threshold
from tests.unit.rules.correlation.kit import MINUTE, at, hit, make

FIRING = make(threshold=Threshold("gte", 1), group_by=("userName",), alert=AlertBlock(group_by=()))
ABSENCE = make(
    threshold=Threshold("lt", 1),
    group_by=("userName",),
    expected=(("a",), ("b",), ("c",)),
    alert=AlertBlock(group_by=()),
    realert=0 * MINUTE,
)
A: Group = ("a",)
B: Group = ("b",)
C: Group = ("c",)
LATE = 1000.0


def fired(name: str, minute: float, *, judged: float | None = None) -> FoundAlert:
    """Make an alert that fired at a minute; `judged`: not before so much is verified."""
    one = hit(minute)
    waits = None if judged is None else at(judged)
    return FoundAlert(name, one.at, one.at, at(minute + 10), [one], waits, firing=one, id=name)


def missing(name: str, since: float, *, back: float | None = None) -> FoundAlert:
    """Make an alert of absence."""
    end = None if back is None else at(back)
    return FoundAlert(name, at(since), at(since), NEVER, [], at(since), resolved_at=end, id=name)


def told(name: str, minute: float, *, back: float | None = None, **more: object) -> CorrelatedAlert:
    """Make an alert as people know it."""
    end = None if back is None else at(back)
    known = CorrelatedAlert(name, FIRING.name.id, (), name, at(minute), at(minute), end or NEVER, True, resolved_at=end)
    for field, value in more.items():
        setattr(known, field, value)
    return known


class Groups:
    """A merger, and what was told of each of its groups."""

    def __init__(self, merger: SharedAlerts) -> None:
        self.merger = merger
        self.known: dict[str, CorrelatedAlert] = {}

    def update(
        self, group: Group, *alerts: FoundAlert, turned: Sequence[CorrelatedAlert] = (), verified: float | None = LATE
    ) -> None:
        """Take what a group's fold gives, and tell of what is new."""
        self.merger.update(group, alerts, self.known, turned, None if verified is None else at(verified))
        for found in alerts:
            self.known.setdefault(
                found.id,
                CorrelatedAlert(found.id, "", group, found.origin, found.first_at, found.fired_at, found.until),
            )

    def leader(self, name: str) -> str | None:
        """Give the alert that one is told as, None for itself."""
        known = self.merger.shared_with(self.known[name])
        return None if known is None else known.id

    def over(self, name: str) -> tuple[float, list[str]] | None:
        """Say when nothing was missing any more, in minutes, and in which alerts."""
        self.merger.shared_with(self.known[name])
        found = self.merger.end_of(self.known[name])
        return None if found is None else ((found[0] - at(0)) / MINUTE, [each.id for each in found[1]])


def groups(*alerts: tuple[Group, FoundAlert], rule: object = None, verified: float | None = LATE) -> Groups:
    """Make a merger of alerts that came in this order."""
    made = Groups(SharedAlerts(ABSENCE if rule is ABSENCE else FIRING))
    for group, found in alerts:
        made.update(group, found, verified=verified)
        made.leader(found.id)
    return made


# -- who leads


@pytest.mark.parametrize(("minute", "leader"), [(5, "a1"), (15, "a1"), (15.1, None)])
def test_what_fires_within_realert_is_led(minute: float, leader: str | None) -> None:
    """An alert joins one that fired longer ago than `realert`, or does not join at its last instant."""
    made = groups((A, fired("a1", 5)), (B, fired("b1", minute)))
    assert made.leader("b1") == leader


def test_an_alert_that_comes_late_leads_those_behind_it() -> None:
    """Who leads hangs on the order in which groups were looked at."""
    made = groups((B, fired("b1", 8)), (C, fired("c1", 17)), (A, fired("a1", 5)))
    assert (made.leader("b1"), made.leader("c1")) == ("a1", None)


def test_what_only_learned_leads_nobody() -> None:
    """An alert that fired while its rule was learning leads one that people should hear of."""
    quiet = fired("a1", 5)
    quiet.is_quiet = True
    made = groups((A, quiet), (B, fired("b1", 6)))
    assert made.leader("b1") is None


def test_an_alert_that_fell_away_leads_nobody() -> None:
    """An alert that is no more leads those behind it, or one that is found again does not."""
    for first in (fired("a1", 5), fired("a1", 5)):
        made = groups((A, first), (B, fired("b1", 6)), (C, fired("c1", 7)))
        gone = made.known["a1"]
        gone.is_current = False
        made.merger.settle(A, first)
        made.update(A, turned=[gone])
        assert (made.leader("b1"), made.leader("c1")) == (None, "b1")
        gone.is_current = True
        made.update(A, first, turned=[gone])
        assert (made.leader("b1"), made.leader("c1")) == ("a1", "a1")


def test_several_that_fall_away_at_once_lead_nobody() -> None:
    """Of two alerts of a group that are no more, the first goes on leading."""
    made = groups((B, fired("b1", 6)), (C, fired("c1", 20)), (("d",), fired("d1", 41)))
    made.update(A, fired("a1", 5), fired("a2", 40))
    assert [made.leader(name) for name in ("a1", "a2", "b1", "c1", "d1")] == [None, None, "a1", None, "a2"]
    made.update(A)
    assert [made.leader(name) for name in ("b1", "c1", "d1")] == [None, None, None]


def test_an_alert_moves_in_the_order() -> None:
    """An alert that a late record lets fire earlier stays where it was among the others."""
    made = groups((A, fired("a1", 5)), (B, fired("b1", 8)))
    made.update(B, fired("b1", 2))
    made.leader("b1")
    assert (made.leader("a1"), made.leader("b1")) == ("b1", None)


def test_what_changes_no_more_stays() -> None:
    """An alert that is settled, and not among those that can change, leads nobody any more."""
    first = fired("a1", 5)
    made = groups((A, first), (B, fired("b1", 6)))
    made.merger.settle(A, first)
    made.update(A, fired("a2", 40))
    assert made.leader("b1") == "a1"
    made.update(A)  # what can change, and is not found any more, is no more
    made.update(B, fired("b1", 6), fired("b2", 45))
    assert made.leader("b2") is None


def test_what_people_know_already_is_what_its_leader_is_told_as() -> None:
    """An alert that comes to lead others opens again, though people know one of those."""
    made = groups((B, fired("b1", 8)), (C, fired("c1", 9)))
    made.known["c1"].is_reported = True
    made.update(A, fired("a1", 5))
    assert made.leader("a1") == "c1"
    assert made.leader("b1") == "a1"
    assert made.merger.shared_with(told("unknown", 5)) is None
    alone = groups((A, fired("a1", 5)))
    alone.known["a1"].is_reported = True
    assert alone.leader("a1") is None


# -- after a restart


def test_what_is_remembered_leads() -> None:
    """After a restart what fires within `realert` of a known alert opens another one."""
    made = Groups(SharedAlerts(FIRING))
    made.merger.restore(A, [told("a1", 5)])
    made.update(B, fired("b1", 15), fired("b2", 15.5))
    assert (made.leader("b1"), made.leader("b2")) == ("a1", None)


def test_what_is_remembered_as_missing_is_missing() -> None:
    """After a restart what was missing counts as back, or what was back as missing."""
    made = Groups(SharedAlerts(ABSENCE))
    made.merger.restore(A, [told("a1", 5, back=20), told("a2", 50)])
    made.update(B, missing("b1", 10, back=15), missing("b2", 60, back=70))
    assert (made.leader("b1"), made.leader("b2")) == ("a1", "a2")
    assert made.over("b1") == (20, ["a1", "b1"])
    assert made.over("b2") is None


# -- what waits


def test_what_is_not_judged_holds_what_fired_later() -> None:
    """An alert is told before one that may come to lead it, or waits when that is judged."""
    made = groups((A, fired("a1", 5, judged=30)), (B, fired("b1", 6)), verified=10)
    assert (made.merger.is_held(fired("b1", 6)), made.merger.is_held(fired("c1", 4))) == (True, False)
    assert not made.merger.is_settled(fired("b1", 6))
    made.update(A, fired("a1", 5, judged=30), verified=30)
    assert not made.merger.is_held(fired("b1", 6))
    assert made.merger.is_settled(fired("b1", 6))


def test_what_falls_away_or_is_dropped_holds_nobody() -> None:
    """An alert waits for ever for one that is no more."""
    for drop in (True, False):
        made = groups((A, fired("a1", 5, judged=30)), (B, fired("b1", 6)), verified=10)
        if drop:
            made.merger.drop(A)
        else:
            made.update(A, verified=10)
        assert not made.merger.is_held(fired("b1", 6))


def test_an_end_settles_once_it_is_verified() -> None:
    """An absence that is back counts as settled before it is verified that others are."""
    made = groups((A, missing("a1", 5, back=20)), rule=ABSENCE, verified=19)
    assert not made.merger.is_settled(missing("a1", 5, back=20))
    assert made.merger.is_settled(missing("a1", 5))
    made.update(A, missing("a1", 5, back=20), verified=20)
    assert made.merger.is_settled(missing("a1", 5, back=20))
    assert not SharedAlerts(ABSENCE).is_verified(at(0))


def test_what_is_held_is_looked_at_again() -> None:
    """A group that waits for another is forgotten, or looked at for ever."""
    merger = SharedAlerts(FIRING)
    merger.hold(A, is_held=True)
    merger.hold(B, is_held=True)
    merger.hold(A, is_held=False)
    assert list(merger.held) == [B]
    merger.drop(B)
    assert list(merger.held) == []


# -- when all is over


def test_all_must_be_back() -> None:
    """One alert for several groups resolves while something is missing, or not when the last is back."""
    made = groups((A, missing("a1", 10, back=30)), (B, missing("b1", 20)), rule=ABSENCE)
    assert made.over("a1") is None
    made.update(B, missing("b1", 20, back=40))
    made.leader("b1")
    assert made.over("a1") == made.over("b1") == (40, ["a1", "b1"])
    made.update(C, missing("c1", 35, back=50), missing("c2", 50, back=60))
    assert (made.leader("c1"), made.leader("c2")) == ("a1", None)
    assert made.over("a1") == (50, ["a1", "b1", "c1"])
    assert made.merger.end_of(told("unknown", 5)) is None
    made.update(("d",), missing("d1", 45, back=48))  # not told yet: nothing is to be resolved
    assert made.over("a1") == (50, ["a1", "b1", "c1"])


def test_what_is_not_verified_is_not_back() -> None:
    """What came back after verified time counts as back: another that is missing meanwhile opens by itself."""
    made = groups((A, missing("a1", 10, back=30)), rule=ABSENCE, verified=25)
    made.update(B, missing("b1", 40), verified=25)
    assert made.over("a1") is None
    made.update(C, missing("c1", 20), verified=20)
    assert made.leader("c1") == "a1"


def test_what_is_not_judged_is_not_missing() -> None:
    """An absence that is still to be verified leads one that is."""
    made = groups((A, missing("a1", 10)), rule=ABSENCE, verified=9)
    made.update(B, missing("b1", 12), verified=12)
    assert made.leader("b1") is None


def test_an_alert_is_open_while_one_of_its_groups_is() -> None:
    """An alert counts as over while something is missing in it, or as open because another alert is."""
    made = groups((A, missing("a1", 10)), (B, missing("b1", 20)), rule=ABSENCE)
    made.update(C, missing("c1", 30))  # not told yet
    made.known["b1"].reported_as = "a1"
    assert not made.merger.is_open("a1")
    made.known["b1"].is_open = True
    assert made.merger.is_open("a1")
    assert not made.merger.is_open("b1")


# -- forgetting


def test_runs_are_forgotten_as_a_whole() -> None:
    """A run that is over is kept for ever, or its leader goes before those it leads."""
    made = groups((A, fired("a1", 0)), (B, fired("b1", 9)), (C, fired("a2", 30)), (("d",), fired("c1", 60)))
    made.merger.forget(at(15))
    assert (made.leader("b1"), made.leader("a2")) == ("a1", None)
    made.merger.forget(at(20))  # it is over, and the next one is not: it stays, with its leader
    made.update(("e",), fired("e1", 8))
    assert (made.leader("e1"), made.leader("b1")) == ("a1", "a1")
    made.merger.forget(at(45))  # the run of a2 may still be joined by what fired at the very end of it
    assert made.merger.shared_with(made.known["b1"]) is None
    assert not made.merger.end_of(made.known["a1"])
    made.update(B, fired("b2", 40))
    assert made.leader("b2") == "a2"
    made.update(A, fired("a3", 7))
    assert made.leader("a3") is None


def test_what_may_still_be_joined_is_not_forgotten() -> None:
    """An alert is forgotten at the last instant at which others join it."""
    made = groups((A, fired("a1", 0)), (B, fired("b1", 20)))
    for minute in (10, 30):
        made.merger.forget(at(minute))
    made.update(C, fired("c1", 30))
    assert made.leader("c1") == "b1"


def test_a_merger_is_left_when_no_group_is() -> None:
    """What holds groups together is dropped with the first of them, or stays when all are gone."""
    for order in permutations([A, B, C]):
        made = groups((A, fired("a1", 0)), (B, fired("b1", 5)))
        made.merger.restore(C, [])
        assert [made.merger.drop(group) for group in order] == [False, False, True]
