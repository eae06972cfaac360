"""Which alerts of a rule may open: not those of backlog, of records older than the rule, or of a past that is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.live.context import StreamBounds, contexts_of
from msgspec import structs

from actionwatch.base.model import CorrelatedAlert, Hit, RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import NEVER, Step, Threshold
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
INNER = structs.replace(NEW, records=())


@pytest.mark.parametrize(
    ("hits", "may_open"),
    [([OLD, NEW], True), ([OLD], False), ([BACKLOG], False), ([BACKLOG, OLD], False), ([OLD, INNER], True)],
)
def test_an_alert_opens_with_a_new_record(hits: list[Hit], may_open: bool) -> None:
    """An alert opens if at least one of its records is new, or if it counts an alert without records."""
    (context,) = contexts_of([COUNT], StreamBounds(begin=lambda _: at(0), floors=lambda _: FLOOR))
    found = FoundAlert("a", at(20), at(20), at(30), HitList(hits))
    assert context.may_open(found, None) is may_open
    assert not context.may_open(replace(found, is_quiet=True), None)
    (silent,) = contexts_of([replace(COUNT, is_silent=True)], StreamBounds(begin=lambda _: at(0)))
    assert not silent.may_open(found, None)


@pytest.mark.parametrize(
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
    bounds = StreamBounds(begin=lambda _: at(0), floors=lambda _: FLOOR, alerts_from=start)
    (context,) = contexts_of([ABSENCE], bounds)
    end = None if back is None else back.at
    found = FoundAlert("a", at(10), at(10), NEVER, HitList(), resolved_at=end, resolved_by=back)
    assert context.may_open(found, None if verified is None else at(verified)) is may_open


def test_an_absence_that_ended_without_a_match_opens_as_if_it_lasted() -> None:
    """If no record ended an absence, the time from which it may alert decides."""
    for start, may_open in ((15, True), (25, False)):
        bounds = StreamBounds(begin=lambda _: at(0), alerts_from=at(start))
        (context,) = contexts_of([ABSENCE], bounds)
        found = FoundAlert("a", at(10), at(10), NEVER, HitList(), resolved_at=at(15))
        assert context.may_open(found, at(20)) is may_open


@pytest.mark.parametrize(
    ("known", "hits", "is_over"),
    [
        ({"is_current": False}, [OLD], False),
        ({"is_open": True}, [OLD], False),
        ({}, [OLD], True),  # it was never reported, and cannot open: its records are older than the rule
        ({}, [NEW], False),
        ({"is_reported": True}, [NEW], False),
        ({"is_reported": True, "keys": {NEW.records[0].key}}, [NEW], True),
        ({"is_reported": True, "keys": {NEW.records[0].key}}, [NEW, hit(21)], False),
    ],
)
def test_an_alert_is_over_if_nothing_of_it_can_be_reported(
    known: dict[str, Any], hits: list[Hit], is_over: bool
) -> None:
    """An alert with a record that people did not see, or one that is open or lost, is not over."""
    (context,) = contexts_of([COUNT], StreamBounds(begin=lambda _: at(0), floors=lambda _: FLOOR))
    alert = CorrelatedAlert("a", "id", (), "a", at(20), at(20), at(30))
    for name, value in known.items():
        setattr(alert, name, value)
    assert context.is_over(FoundAlert("a", at(20), at(20), at(30), HitList(hits)), alert) is is_over


def test_what_rules_are_to_each_other() -> None:
    """A rule is final if no rule counts it and its groups share no alert, direct if it counts records only."""
    fed = make(name=RuleName("fed", "fed", "Fed"), threshold=Threshold("gte", 2))
    merging = make(
        name=RuleName("merging", "merging", "M"),
        threshold=Threshold("gte", 2),
        group_by=("userName",),
        alert=AlertBlock(group_by=()),
    )
    outer = replace(fed, name=RuleName("outer", "outer", "Outer"), steps=(Step("fed"),))
    bounds = StreamBounds(begin=lambda _: at(0))
    contexts = list(contexts_of([fed, merging, outer], bounds, is_thinned=True))
    assert [each.is_final for each in contexts] == [False, False, True]
    assert [each.above for each in contexts] == [("outer",), (), ()]
    assert [each.is_direct for each in contexts] == [True, True, False]
    assert [each.is_thinned for each in contexts] == [True, True, False]
    assert not any(each.is_thinned for each in contexts_of([fed, merging, outer], bounds))
