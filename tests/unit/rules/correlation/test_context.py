"""Which alerts of a rule may open: not those of backlog, of records older than the rule, or of a past that is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from actionwatch.base.model import Hit, RuleName
from actionwatch.rules.correlations.context import StreamBounds, contexts_of
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import NEVER, Correlation, Threshold
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import MINUTE, at, hit, make

ABSENCE = make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE)
COUNT = make(threshold=Threshold("gte", 2))
FLOOR = 7


def numbered(number: int, *, is_backlog: bool = False) -> Hit:
    """Make the hit of a record with a local id."""
    plain = hit(20)
    records = tuple(structs.replace(each, id=number, is_backlog=is_backlog) for each in plain.records)
    return structs.replace(plain, records=records)


NEW, OLD, BACKLOG = numbered(FLOOR + 1), numbered(FLOOR), numbered(FLOOR + 1, is_backlog=True)


@pytest.mark.parametrize(
    ("hits", "may_open"),
    [([OLD, NEW], True), ([OLD], False), ([BACKLOG], False), ([BACKLOG, OLD], False)],
)
def test_an_alert_opens_with_a_new_record(hits: list[Hit], may_open: bool) -> None:
    """An alert opens if at least one of its records is new."""
    (context,) = contexts_of([COUNT], StreamBounds(begin=lambda *_: at(0), floor=lambda _: FLOOR))
    found = FoundAlert("a", at(20), at(20), at(30), HitWindow(hits))
    assert context.may_open(found, (), None) is may_open
    assert not context.may_open(replace(found, is_quiet=True), (), None)


@in_one_test(
    ("back", "verified", "alerts_from", "may_open"),
    [
        (None, 15, None, True),
        (None, None, None, True),
        (None, None, 15, False),
        (None, 14, 15, False),
        (None, 15, 15, True),
        # What ended it is verified: then its record decides.
        (NEW, 20, 30, True),
        (OLD, 20, None, False),
        (BACKLOG, 20, None, False),
        # What ended it is not verified yet: the group still counts as missing.
        (BACKLOG, 19, None, True),
        (BACKLOG, None, None, True),
    ],
)
def test_an_absence_opens_while_it_lasts(
    back: Hit | None, verified: float | None, alerts_from: float | None, may_open: bool
) -> None:
    """An absence opens while it lasts, once its time may alert; after its end, only if a new record ended it."""
    start = None if alerts_from is None else at(alerts_from)
    bounds = StreamBounds(begin=lambda *_: at(0), floor=lambda _: FLOOR, alerts_from=lambda *_: start)
    (context,) = contexts_of([ABSENCE], bounds)
    end = None if back is None else back.at
    found = FoundAlert("a", at(10), at(10), NEVER, HitWindow(), resolved_at=end, resolved_by=back)
    assert context.may_open(found, (), None if verified is None else at(verified)) is may_open


def test_an_absence_that_ended_without_a_match_opens_as_if_it_lasted() -> None:
    """If no record ended an absence, the time from which it may alert decides."""
    for start, may_open in ((15, True), (25, False)):
        bounds = StreamBounds(begin=lambda *_: at(0), alerts_from=lambda *_, start=start: at(start))
        (context,) = contexts_of([ABSENCE], bounds)
        found = FoundAlert("a", at(10), at(10), NEVER, HitWindow(), resolved_at=at(15))
        assert context.may_open(found, (), at(20)) is may_open


def test_hits_are_complete_once_a_rule_has_looked_far_enough_back() -> None:
    """A rule that reads records from a time on knows all hits that matter after what it needs."""
    other = replace(COUNT, name=RuleName("other", "other", "Other"))
    bounds = StreamBounds(begin=lambda *_: at(0), since=lambda rule: at(100) if rule.name.id == "other" else None)
    contexts = list(contexts_of([COUNT, other], bounds))
    assert [each.complete_from for each in contexts] == [None, at(110)]


@in_one_test(
    ("rule", "found", "verified", "alerts_from", "pending"),
    [
        (COUNT, {}, None, None, None),
        (COUNT, {}, None, 50, None),  # only what is missing waits for the time from which on it may alert
        (COUNT, {"judged_at": 20}, None, None, 20),
        (COUNT, {"judged_at": 20}, 19, None, 20),
        (COUNT, {"judged_at": 20}, 20, None, None),
        (ABSENCE, {"judged_at": 60}, None, 50, 50),
        (ABSENCE, {"judged_at": 20}, 19, 50, 20),
        (ABSENCE, {"judged_at": 20}, 20, 50, 50),
        (ABSENCE, {"judged_at": 20}, 50, 50, None),
        (ABSENCE, {"judged_at": 20, "resolved_at": 30}, 20, 50, None),  # its end decides whether it opens
    ],
)
def test_when_an_alert_must_be_looked_at_again(
    rule: Correlation, found: dict[str, float], verified: float | None, alerts_from: float | None, pending: float | None
) -> None:
    """An alert must be looked at again once its firing, its end, or the time from which on it may alert is verified."""
    start = None if alerts_from is None else at(alerts_from)
    (context,) = contexts_of([rule], StreamBounds(begin=lambda *_: at(0), alerts_from=lambda *_: start))
    times = {name: at(minute) for name, minute in found.items()}
    alert = FoundAlert("a", at(10), at(10), NEVER, HitWindow(), times.get("judged_at"), times.get("resolved_at"))
    expected = None if pending is None else at(pending)
    assert context.pending_at(alert, (), None if verified is None else at(verified)) == expected
