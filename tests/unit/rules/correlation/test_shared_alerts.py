"""The alerts that several groups share: which alert leads, which join, when all is over, and what is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.live.shared_alerts import SharedAlerts, _Member

from actionwatch.base.model import CorrelatedAlert, Group
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import NEVER, Correlation, Threshold
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
    """Make an alert that fired at a minute; `judged` is the verified time that it waits for."""
    one = hit(minute)
    waits = None if judged is None else at(judged)
    return FoundAlert(name, one.at, one.at, at(minute + 10), HitList([one]), waits, firing=one, id=name)


def missing(name: str, since: float, *, back: float | None = None) -> FoundAlert:
    """Make an alert of absence."""
    end = None if back is None else at(back)
    return FoundAlert(name, at(since), at(since), NEVER, HitList(), at(since), resolved_at=end, id=name)


def reported(name: str, minute: float, *, back: float | None = None, **more: object) -> CorrelatedAlert:
    """Make a reported alert."""
    end = None if back is None else at(back)
    known = CorrelatedAlert(name, FIRING.name.id, (), name, at(minute), at(minute), end or NEVER, True, resolved_at=end)
    for field, value in more.items():
        setattr(known, field, value)
    return known


class Groups:
    """Shared alerts, and the known alerts of each group."""

    def __init__(self, shared: SharedAlerts) -> None:
        self.shared = shared
        self.known: dict[str, CorrelatedAlert] = {}

    def update(
        self, group: Group, *alerts: FoundAlert, turned: Sequence[CorrelatedAlert] = (), verified: float | None = LATE
    ) -> None:
        """Update the alerts of a group, and report those that are new."""
        self.shared.update(group, alerts, self.known, turned, None if verified is None else at(verified))
        for found in alerts:
            self.known.setdefault(
                found.id,
                CorrelatedAlert(found.id, "", group, found.origin, found.first_at, found.fired_at, found.until),
            )

    def leader(self, name: str) -> str | None:
        """Return the alert that reports one, None for itself."""
        known = self.shared.shared_with(self.known[name])
        return None if known is None else known.id

    def over(self, name: str) -> tuple[float, list[str]] | None:
        """Return the minute from which no group was missing, and the alerts."""
        self.shared.shared_with(self.known[name])
        found = self.shared.end_of(self.known[name])
        return None if found is None else ((found[0] - at(0)) / MINUTE, [each.id for each in found[1]])


def groups(*alerts: tuple[Group, FoundAlert], rule: object = None, verified: float | None = LATE) -> Groups:
    """Make the shared alerts of alerts that came in this order."""
    made = Groups(SharedAlerts(ABSENCE if rule is ABSENCE else FIRING))
    for group, found in alerts:
        made.update(group, found, verified=verified)
        made.leader(found.id)
    return made


# -- leaders


@pytest.mark.parametrize(("minute", "leader"), [(5, "a1"), (15, "a1"), (15.1, None)])
def test_an_alert_joins_within_realert(minute: float, leader: str | None) -> None:
    """An alert joins another that fired at most `realert` earlier."""
    made = groups((A, fired("a1", 5)), (B, fired("b1", minute)))
    assert made.leader("b1") == leader


def test_a_late_alert_leads_those_that_fired_after_it() -> None:
    """The order of firing decides who leads, not the order in which groups are evaluated."""
    made = groups((B, fired("b1", 8)), (C, fired("c1", 17)), (A, fired("a1", 5)))
    assert (made.leader("b1"), made.leader("c1")) == ("a1", None)


def test_a_quiet_alert_leads_no_other() -> None:
    """An alert that fired while its rule was learning leads no other."""
    quiet = fired("a1", 5)
    quiet.is_quiet = True
    made = groups((A, quiet), (B, fired("b1", 6)))
    assert made.leader("b1") is None


def test_a_lost_alert_leads_no_other() -> None:
    """A lost alert leads no other; one that is found again does."""
    for first in (fired("a1", 5), fired("a1", 5)):
        made = groups((A, first), (B, fired("b1", 6)), (C, fired("c1", 7)))
        gone = made.known["a1"]
        gone.is_current = False
        made.shared.settle(A, first)
        made.update(A, turned=[gone])
        assert (made.leader("b1"), made.leader("c1")) == (None, "b1")
        gone.is_current = True
        made.update(A, first, turned=[gone])
        assert (made.leader("b1"), made.leader("c1")) == ("a1", "a1")


def test_several_lost_alerts_lead_no_other() -> None:
    """Of several lost alerts of a group, none leads."""
    made = groups((B, fired("b1", 6)), (C, fired("c1", 20)), (("d",), fired("d1", 41)))
    made.update(A, fired("a1", 5), fired("a2", 40))
    assert [made.leader(name) for name in ("a1", "a2", "b1", "c1", "d1")] == [None, None, "a1", None, "a2"]
    made.update(A)
    assert [made.leader(name) for name in ("b1", "c1", "d1")] == [None, None, None]


def test_an_alert_moves_in_the_order() -> None:
    """An alert that fires earlier because of a late record moves in the order."""
    made = groups((A, fired("a1", 5)), (B, fired("b1", 8)))
    made.update(B, fired("b1", 2))
    made.leader("b1")
    assert (made.leader("a1"), made.leader("b1")) == ("b1", None)


def test_a_settled_alert_stays() -> None:
    """A settled alert stays, though later updates do not contain it."""
    first = fired("a1", 5)
    made = groups((A, first), (B, fired("b1", 6)))
    made.shared.settle(A, first)
    made.update(A, fired("a2", 40))
    assert made.leader("b1") == "a1"
    made.update(A)  # an alert that is not settled, and no longer found, is removed
    made.update(B, fired("b1", 6), fired("b2", 45))
    assert made.leader("b2") is None


def test_new_leader_joins_the_reported_alert() -> None:
    """An alert that becomes the leader of others joins the one of them that was reported."""
    made = groups((B, fired("b1", 8)), (C, fired("c1", 9)))
    made.known["c1"].is_reported = True
    made.update(A, fired("a1", 5))
    assert made.leader("a1") == "c1"
    assert made.leader("b1") == "a1"
    assert made.shared.shared_with(reported("unknown", 5)) is None
    alone = groups((A, fired("a1", 5)))
    alone.known["a1"].is_reported = True
    assert alone.leader("a1") is None


# -- after a restart


def test_a_restored_alert_leads() -> None:
    """After a restart, an alert joins a known one that fired within `realert` before it."""
    made = Groups(SharedAlerts(FIRING))
    made.shared.restore(A, [reported("a1", 5)])
    made.shared.finish_restore()
    made.update(B, fired("b1", 15), fired("b2", 15.5))
    assert (made.leader("b1"), made.leader("b2")) == ("a1", None)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The alerts that were compared with a leader."""
    names = list[str]()

    def joins(shared: SharedAlerts, member: _Member, leader: _Member) -> bool:
        names.append(member.order[3])
        return plain(shared, member, leader)

    plain = SharedAlerts._joins
    monkeypatch.setattr(SharedAlerts, "_joins", joins)
    return names


@pytest.mark.parametrize("minutes", [range(100), range(99, -1, -1)])
def test_restored_alerts_are_compared_once(compared: list[str], minutes: Sequence[int]) -> None:
    """Who leads does not depend on the order in which groups are restored, and neither does the work."""
    made = Groups(SharedAlerts(FIRING))
    for minute in minutes:
        made.shared.restore((str(minute),), [reported(f"{minute:02}", minute)])
    made.shared.finish_restore()
    made.known = {each.id: each for each in (reported(f"{minute:02}", minute) for minute in minutes)}
    leaders = [made.leader(f"{minute:02}") for minute in range(12, 33) if minute != 22]
    assert leaders == ["11"] * 10 + ["22"] * 10
    assert len(compared) == 99


@pytest.mark.parametrize("rule", [FIRING, ABSENCE])
def test_alerts_of_many_groups_are_compared_once(compared: list[str], rule: Correlation) -> None:
    """However many groups are due, who leads is decided once for all of them, and once more after one has changed."""
    made = Groups(SharedAlerts(rule))
    for number in reversed(range(100)):
        name, minute = f"{number:02}", number / 100
        made.update((name,), missing(name, minute) if rule is ABSENCE else fired(name, minute))
    assert {made.leader(f"{number:02}") for number in range(1, 100)} == {None}, "the leader is not reported yet"
    made.leader("00")
    assert {made.leader(f"{number:02}") for number in range(1, 100)} == {"00"}
    assert len(compared) == 99
    made.update(("last",), missing("last", 1) if rule is ABSENCE else fired("last", 1))
    assert made.leader("last") == "00"
    assert len(compared) == 99 + 100


def test_a_restored_absence_is_missing_or_over() -> None:
    """After a restart, a group is missing exactly if it was missing before."""
    made = Groups(SharedAlerts(ABSENCE))
    made.shared.restore(A, [reported("a1", 5, back=20), reported("a2", 50)])
    made.shared.finish_restore()
    made.update(B, missing("b1", 10, back=15), missing("b2", 60, back=70))
    assert (made.leader("b1"), made.leader("b2")) == ("a1", "a2")
    assert made.over("b1") == (20, ["a1", "b1"])
    assert made.over("b2") is None


# -- waiting


def test_an_unjudged_alert_holds_later_ones() -> None:
    """An alert waits for an earlier one that is not judged yet, and no longer."""
    made = groups((A, fired("a1", 5, judged=30)), (B, fired("b1", 6)), verified=10)
    assert (made.shared.is_held(fired("b1", 6)), made.shared.is_held(fired("c1", 4))) == (True, False)
    assert not made.shared.is_settled(fired("b1", 6))
    made.update(A, fired("a1", 5, judged=30), verified=30)
    assert not made.shared.is_held(fired("b1", 6))
    assert made.shared.is_settled(fired("b1", 6))


def test_a_lost_or_dropped_alert_holds_no_other() -> None:
    """No alert waits for one that is lost or dropped."""
    for drop in (True, False):
        made = groups((A, fired("a1", 5, judged=30)), (B, fired("b1", 6)), verified=10)
        if drop:
            made.shared.drop(A)
        else:
            made.update(A, verified=10)
        assert not made.shared.is_held(fired("b1", 6))


def test_an_end_settles_once_it_is_verified() -> None:
    """The end of an absence is settled once it is verified whether other groups are missing."""
    made = groups((A, missing("a1", 5, back=20)), rule=ABSENCE, verified=19)
    assert not made.shared.is_settled(missing("a1", 5, back=20))
    assert made.shared.is_settled(missing("a1", 5))
    made.update(A, missing("a1", 5, back=20), verified=20)
    assert made.shared.is_settled(missing("a1", 5, back=20))
    assert not SharedAlerts(ABSENCE).is_verified(at(0))


def test_group_that_waits_is_evaluated_with_the_other() -> None:
    """A group that waits for another is judged with it, and forgotten with its state."""
    shared = SharedAlerts(FIRING)
    shared.hold(A, is_held=True)
    shared.hold(B, is_held=True)
    shared.hold(A, is_held=False)
    assert list(shared.held) == [B]
    shared.drop(B)
    assert list(shared.held) == []


# -- ends


def test_all_groups_must_be_back() -> None:
    """An alert for several groups resolves when the last of them is back, and not before."""
    made = groups((A, missing("a1", 10, back=30)), (B, missing("b1", 20)), rule=ABSENCE)
    assert made.over("a1") is None
    made.update(B, missing("b1", 20, back=40))
    made.leader("b1")
    assert made.over("a1") == made.over("b1") == (40, ["a1", "b1"])
    made.update(C, missing("c1", 35, back=50), missing("c2", 50, back=60))
    assert (made.leader("c1"), made.leader("c2")) == ("a1", None)
    assert made.over("a1") == (50, ["a1", "b1", "c1"])
    assert made.shared.end_of(reported("unknown", 5)) is None
    made.update(("d",), missing("d1", 45, back=48))  # not reported yet: nothing to resolve
    assert made.over("a1") == (50, ["a1", "b1", "c1"])


def test_an_unverified_end_is_no_end() -> None:
    """A group that came back after verified time still counts as missing."""
    made = groups((A, missing("a1", 10, back=30)), rule=ABSENCE, verified=25)
    made.update(B, missing("b1", 40), verified=25)
    assert made.over("a1") is None
    made.update(C, missing("c1", 20), verified=20)
    assert made.leader("c1") == "a1"


def test_an_unjudged_absence_leads_no_other() -> None:
    """An absence that is not judged yet leads no other."""
    made = groups((A, missing("a1", 10)), rule=ABSENCE, verified=9)
    made.update(B, missing("b1", 12), verified=12)
    assert made.leader("b1") is None


def test_an_alert_is_open_while_one_of_its_groups_is() -> None:
    """A shared alert is open exactly while one of its groups is missing."""
    made = groups((A, missing("a1", 10)), (B, missing("b1", 20)), rule=ABSENCE)
    made.update(C, missing("c1", 30))  # not reported yet
    made.known["b1"].reported_as = "a1"
    assert not made.shared.is_open("a1")
    made.known["b1"].is_open = True
    assert made.shared.is_open("a1")
    assert not made.shared.is_open("b1")


# -- forgetting


def test_runs_are_forgotten_as_a_whole() -> None:
    """A run is forgotten as a whole, once all of it is over."""
    made = groups((A, fired("a1", 0)), (B, fired("b1", 9)), (C, fired("a2", 30)), (("d",), fired("c1", 60)))
    made.shared.forget(at(15))
    assert (made.leader("b1"), made.leader("a2")) == ("a1", None)
    made.shared.forget(at(20))  # it is over, but the next one is not, so it stays with its leader
    made.update(("e",), fired("e1", 8))
    assert (made.leader("e1"), made.leader("b1")) == ("a1", "a1")
    made.shared.forget(at(45))  # an alert that fired at the end of the run of a2 can still join it
    assert made.shared.shared_with(made.known["b1"]) is None
    assert not made.shared.end_of(made.known["a1"])
    made.update(B, fired("b2", 40))
    assert made.leader("b2") == "a2"
    made.update(A, fired("a3", 7))
    assert made.leader("a3") is None


def test_an_alert_that_can_be_joined_is_kept() -> None:
    """An alert is kept up to the last instant at which others can join it."""
    made = groups((A, fired("a1", 0)), (B, fired("b1", 20)))
    for minute in (10, 30):
        made.shared.forget(at(minute))
    made.update(C, fired("c1", 30))
    assert made.leader("c1") == "b1"


def test_shared_alerts_are_dropped_with_their_last_group() -> None:
    """Shared alerts are dropped with the last of their groups."""
    for order in permutations([A, B, C]):
        made = groups((A, fired("a1", 0)), (B, fired("b1", 5)))
        made.shared.restore(C, [])
        assert [made.shared.drop(group) for group in order] == [False, False, True]
