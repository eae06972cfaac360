"""Which alerts of a rule may open: not those of backlog, of records older than the rule, or of a past that is not known."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from actionwatch.rules.correlations.live.context import StreamBounds, contexts_of
from actionwatch.rules.model import NEVER, FoundAlert, Hit, Threshold
from tests.unit.rules.correlation.kit import MINUTE, at, hit, make

ABSENCE = make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE)
COUNT = make(threshold=Threshold("gte", 2))
FLOOR = 7


def numbered(number: int, *, is_backlog: bool = False) -> Hit:
    """Make the hit of a record with a local id."""
    plain = hit(20)
    records = tuple(msgspec.structs.replace(each, id=number, is_backlog=is_backlog) for each in plain.records)
    return replace(plain, records=records)


NEW, OLD, BACKLOG = numbered(FLOOR + 1), numbered(FLOOR), numbered(FLOOR + 1, is_backlog=True)
INNER = replace(NEW, records=())


@pytest.mark.parametrize(
    ("hits", "may_open"),
    [([OLD, NEW], True), ([OLD], False), ([BACKLOG], False), ([BACKLOG, OLD], False), ([OLD, INNER], True)],
)
def test_an_alert_opens_with_a_new_record(hits: list[Hit], may_open: bool) -> None:
    """An alert opens if at least one of its records is new, or if it counts an alert without records."""
    (context,) = contexts_of([COUNT], StreamBounds(begin=lambda _: at(0), floors=lambda _: FLOOR))
    found = FoundAlert("a", at(20), at(20), at(30), hits)
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
    found = FoundAlert("a", at(10), at(10), NEVER, [], resolved_at=end, resolved_by=back)
    assert context.may_open(found, None if verified is None else at(verified)) is may_open
