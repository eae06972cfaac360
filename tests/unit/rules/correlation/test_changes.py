"""The alerts of a fold compared with the reported ones: which alerts open, join, resolve, or replace one that is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import pytest
from msgspec import structs

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert, Group
from actionwatch.rules.correlations.changes import Evaluation, FoundChange, compare
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import NEVER, Correlation, Threshold
from tests.unit.rules.correlation.kit import MINUTE, at, hit, make

COUNT = make(threshold=Threshold("gte", 2))
ABSENCE = make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE)


def found(name: str, start: float, *minutes: float, until: float | None = None) -> FoundAlert:
    """Make an alert that begins at a minute, with hits, open for ten minutes."""
    hits = [hit(minute) for minute in (start, *minutes)]
    end = at(start + 10 if until is None else until)
    return FoundAlert(name, at(start), hits[-1].at, end, HitWindow(hits), id=name, firing=hits[-1])


def missing(name: str, since: float, *, back: float | None = None) -> FoundAlert:
    """Make an alert of absence."""
    end = None if back is None else at(back)
    return FoundAlert(name, at(since), at(since), NEVER, HitWindow(), at(since), resolved_at=end, id=name)


def reported(
    name: str, start: float, *, until: float | datetime = NEVER, is_reported: bool = True, **more: object
) -> CorrelatedAlert:
    """Make the row of an alert that people know."""
    end = until if isinstance(until, datetime) else at(until)
    known = CorrelatedAlert(name, COUNT.name.id, (), name, at(start), at(start), end, is_reported)
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
    """Make the evaluation of a group in which all alerts are judged. Those that are not `known` are new."""
    by_id = {each.id: each for each in known}
    for each in alerts:
        row = by_id.get(each.id)
        if row is None:
            row = by_id[each.id] = CorrelatedAlert(
                each.id, rule.name.id, group, each.origin, each.first_at, each.fired_at, each.until, is_noted=False
            )
        row.firing = None if each.firing is None else each.firing.order
        row.back_at = each.resolved_at
    return Evaluation(rule, group, by_id, None if last is None else at(last), alerts, turned)


def yes(_: FoundAlert, _group: Group) -> bool:
    return True


def no(_: FoundAlert, _group: Group) -> bool:
    return False


def changes(evaluation: Evaluation, may_open: Callable[[FoundAlert, Group], bool] = yes) -> list[tuple[str, str]]:
    """Return what happens to which alert, by its reported id."""
    return [(change.kind or "", change.known.alert_id) for change in all_changes(evaluation, may_open)]


def all_changes(evaluation: Evaluation, may_open: Callable[[FoundAlert, Group], bool] = yes) -> list[AlertChange]:
    return [each.change for each in compare(evaluation, may_open)]


# -- an alert is lost


def test_an_alert_replaces_one_that_is_lost() -> None:
    """An alert that replaces a lost one joins the reported alert."""
    gone = reported("old", 5, until=15, is_current=False)
    place = evaluated(COUNT, [found("new", 1, 5, 6)], [gone], [gone])
    assert changes(place) == [("join", "old")]
    assert (place.known["new"].is_reported, place.known["new"].reported_as) == (True, "old")


def test_an_unreported_alert_is_not_replaced() -> None:
    """An alert opens if the one that it replaces was never reported."""
    gone = reported("old", 5, until=15, is_reported=False, is_current=False)
    assert changes(evaluated(COUNT, [found("new", 1, 5, 6)], [gone], [gone])) == [("open", "new")]


def test_an_alert_that_is_found_again_keeps_its_id() -> None:
    """An alert that is found again keeps its id; another one at that time opens."""
    back = reported("old", 5, until=15)
    alerts = [found("old", 5, 6), found("new", 14, 15)]
    assert changes(evaluated(COUNT, alerts, [back], [back])) == [("join", "old"), ("open", "new")]


def test_only_one_overlapping_alert_replaces_a_lost_one() -> None:
    """Only the first alert that overlaps a lost one replaces it."""
    gone = reported("old", 5, until=15, is_current=False)
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
    assert (heir.until, gone.until) == (NEVER, at(30))  # retention deletes the one that is no longer found
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
    again = reported("old", 30, until=30, is_current=True, is_open=False)
    meanwhile = reported("new", 25, is_open=True, reported_as="old", is_current=False)
    other = reported("other", 20, is_open=True, is_current=False)
    place = evaluated(ABSENCE, [missing("old", 30)], [again, meanwhile, other], [other, again, meanwhile], 22)
    assert changes(place) == [("resolve", "other")]
    assert (again.is_open, meanwhile.is_open) == (True, False)
    assert (again.until, meanwhile.until) == (NEVER, at(30))
    assert changes(evaluated(ABSENCE, [missing("old", 30, back=60)], [again])) == [("resolve", "old")]


def test_an_alert_that_is_found_again_is_not_reported_as_its_substitute() -> None:
    """Records that come after that join the alert that is found again; what follows opens."""
    again = reported("old", 5, until=15)
    meanwhile = reported("new", 1, until=11, reported_as="old", is_current=False)
    place = evaluated(COUNT, [found("old", 5, 6, 7), found("next", 11, 12)], [again, meanwhile], [again, meanwhile])
    assert changes(place) == [("join", "old"), ("open", "next")]
    assert again.reported_as is None


# -- what is reported of an alert


def test_an_alert_opens_once_and_is_joined() -> None:
    """An alert opens once; whatever of it is folded again joins it, and who reports it leaves out what it holds."""
    place = evaluated(COUNT, [found("a", 1, 2)])
    assert changes(place) == [("open", "a")]
    assert changes(place) == [("join", "a")]
    reduced = found("a", 1)
    reduced.hits.clear()
    assert changes(evaluated(COUNT, [reduced], list(place.known.values()))) == []


def test_the_end_of_an_unreported_absence_is_noted() -> None:
    """The end of an absence that may not open is noted, and reported to nobody."""
    place = evaluated(ABSENCE, [missing("a", 10, back=30)])
    assert changes(place, may_open=no) == []
    (known,) = place.known.values()
    assert (known.is_noted, known.is_reported, known.resolved_at, known.until) == (True, False, at(30), at(30))
    place = evaluated(ABSENCE, [missing("a", 10)])
    assert changes(place, may_open=no) == []
    (known,) = place.known.values()
    assert (known.is_noted, known.resolved_at, known.until) == (True, None, NEVER)


def test_an_alert_that_may_open_later_opens_then() -> None:
    """An alert of backlog opens with its first record that may alert, and not before."""
    place = evaluated(COUNT, [found("a", 1, 2)])
    assert changes(place, may_open=no) == []
    assert changes(place, may_open=no) == []
    assert changes(place) == [("open", "a")]


def test_records_come_in_event_order() -> None:
    """The records of an alert come in event order, each once."""
    alert = found("a", 1)
    alert.hits = HitWindow(
        [hit(9), structs.replace(hit(9.5), records=(*hit(8).records, *hit(3).records, *hit(9).records))]
    )
    (made,) = compare(evaluated(COUNT, [alert]), yes)
    assert [record.occurred_at for record in made.records] == [at(3), at(8), at(9)]
    assert made.described_by == made.records


def test_an_absence_is_described_by_the_last_match_before_it() -> None:
    """The texts of an absence are made from the newest match before it; its end is described by none."""
    alert = missing("a", 10, back=30)
    (last,) = hit(5).records
    alert.last_seen = last
    opened, resolved = compare(evaluated(ABSENCE, [alert]), yes)
    assert (opened.described_by, resolved.described_by) == ((last,), ())
    assert FoundChange(opened.change, None, ()).described_by == ()


@pytest.mark.parametrize(
    ("known", "back", "expected"),
    [
        (reported("a", 10, until=30, resolved_at=at(30)), 20.0, (at(20), at(20))),  # over: it follows a late record
        (reported("a", 10, until=30, resolved_at=at(30)), None, (at(30), at(30))),  # a reported end stays
        (reported("a", 10, is_open=True), None, (None, NEVER)),
    ],
)
def test_which_end_follows_a_late_record(
    known: CorrelatedAlert, back: float | None, expected: tuple[datetime | None, datetime]
) -> None:
    """An end that was reported stays; only an end that is over follows a late record. Nobody is notified again."""
    assert changes(evaluated(ABSENCE, [missing("a", 10, back=back)], [known])) == []
    assert (known.resolved_at, known.until) == expected
