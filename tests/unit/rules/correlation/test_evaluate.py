"""A group is folded again from where its hits have changed: the same alerts as from all of its hits, and few hits are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from hypothesis import given, settings
from hypothesis import strategies as st

from actionwatch.base.model import CorrelatedAlert, Hit, HitOrder
from actionwatch.rules.correlations.evaluate import AFTER_ALL, Evaluated, Span, begins_at, evaluate
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import BASELINE, NEVER, Correlation, CorrelationType, Pattern, Threshold
from tests.cases import in_one_test
from tests.unit.rules.correlation.cases import any_case
from tests.unit.rules.correlation.kit import MINUTE, START, at, hit, make

MANY = settings(max_examples=400 if settings.get_current_profile_name() == "suite" else 10_000)
Shape = tuple[object, ...]


def folded(rule: Correlation, hits: Iterable[Hit]) -> list[FoundAlert]:
    """Fold all hits of a group."""
    fold = new_fold(rule, START)
    for each in sorted(hits, key=attrgetter("order")):
        fold.push(each)
    alerts = fold.alerts()
    for found in alerts:
        found.id = found.origin
    return alerts


def stored(found: FoundAlert) -> CorrelatedAlert:
    """Make the row of an alert: all that a later fold knows of it."""
    return CorrelatedAlert(
        found.origin,
        "id",
        (),
        found.origin,
        found.first_at,
        found.fired_at,
        found.until,
        firing=None if found.firing is None else found.firing.order,
        has_waited=found.has_waited,
        is_quiet=found.is_quiet,
        back_at=found.resolved_at,
    )


def shape(found: FoundAlert | CorrelatedAlert) -> Shape:
    """Return what a row has of an alert."""
    known = stored(found) if isinstance(found, FoundAlert) else found
    return known.origin, known.first_at, known.fired_at, known.until, known.place, known.is_quiet, known.back_at


def again(
    rule: Correlation, known: Sequence[CorrelatedAlert], hits: Sequence[Hit], span: Span
) -> tuple[list[CorrelatedAlert], Evaluated, list[Hit]]:
    """Fold a group again, as `Batch` does. Return the alerts that stay before, the result, and the hits that were read."""
    first = span.first
    before = _before(rule, hits, first)
    earlier = [each for each in known if each.place < (first if before is None else before.order)]
    last = earlier.pop() if earlier and before is None else None
    read = list[Hit]()

    def given_hits() -> Iterator[Hit]:
        begin = begins_at(rule, last, first)
        if begin is None and before is not None:
            yield before
        for each in hits:
            if each.order >= first if begin is None else each.at >= begin:
                read.append(each)
                yield each

    return earlier, evaluate(rule, new_fold(rule, START), last, given_hits(), span, known), read


def _before(rule: Correlation, hits: Sequence[Hit], first: HitOrder) -> Hit | None:
    """Return the hit that is remembered: of an absence the last one, of a new term the last that makes it known."""
    if not rule.is_absence and rule.type is not CorrelationType.NEW_TERM:
        return None
    earlier = (each for each in reversed(hits) if each.order < first and (rule.is_absence or each.step == BASELINE))
    return next(earlier, None)


@MANY
@given(any_case(), st.data())
def test_a_fold_from_where_hits_have_changed_finds_what_all_hits_make(
    case: tuple[Correlation, list[Hit]], data: st.DataObject
) -> None:
    """Whatever hits are added and removed: the last alert before, and the hits that `begins_at` asks for, are enough."""
    rule, drawn = case
    hits = sorted(drawn, key=attrgetter("order"))
    places = st.sets(st.integers(0, max(len(hits) - 1, 0)), max_size=3)
    added = data.draw(places) if hits else set()
    removed = (data.draw(places) if hits else set()) - added
    changed = [hits[place].order for place in sorted(added | removed)]
    if not changed:
        changed = [data.draw(st.sampled_from([each.order for each in hits] or [(at(5), 0, "")]))]
    known = [stored(found) for found in folded(rule, (each for n, each in enumerate(hits) if n not in added))]
    now = [each for n, each in enumerate(hits) if n not in removed]
    earlier, result, _ = again(rule, known, now, Span(changed[0], changed[-1]))
    behind = [] if result.stopped is None else [each for each in known if each.place >= result.stopped]
    behind = [each for each in behind if each.id not in {found.origin for found in result.alerts}]
    whole = folded(rule, now)
    assert [*map(shape, earlier), *map(shape, result.alerts), *map(shape, behind)] == [shape(each) for each in whole]
    by_origin = {each.origin: each for each in whole}
    for found in result.alerts:
        its = [each.order for each in by_origin[found.origin].hits]
        held = [each.order for each in found.hits]
        if result.stopped is not None:
            its = [order for order in its if order < result.stopped]
        assert held == ([order for order in its if order >= changed[0]] if found.is_partial else its)


COUNT = make(threshold=Threshold("gte", 3))
TYPES = {
    "count": COUNT,
    "spike": make(CorrelationType.SPIKE, windows=2, factor=1.0, minimum=3),
    "set": make(CorrelationType.TEMPORAL, steps=2, patterns=(Pattern((0, 1)),)),
    "sequence": make(CorrelationType.TEMPORAL_ORDERED, steps=2, patterns=(Pattern((0,), (1,)),)),
    "absence": make(threshold=Threshold("lt", 1), expected=((),), realert=0 * MINUTE),
    "term": make(
        CorrelationType.NEW_TERM,
        steps=2,
        timespan=0 * MINUTE,
        realert=0 * MINUTE,
        history=20 * MINUTE,
        is_learning=False,
    ),
}


@in_one_test("name", TYPES)
@in_one_test("late", [500.5, 5_000.5, 9_000.5])
def test_a_late_hit_in_a_long_group_reads_few_hits(name: str, late: float) -> None:
    """A fold ends where the state is what it was: a late hit reads the hits around it, and not all later ones."""
    rule = TYPES[name]
    minutes = [minute for minute in range(10_000) if minute % 60 < 30]  # pauses, because some states end only in one
    steps = len(rule.steps)
    hits = [hit(minute, minute % steps, f"{minute:05}") for minute in minutes]
    known = [stored(found) for found in folded(rule, hits)]
    new = hit(late, 0, "late")
    now = sorted([*hits, new], key=attrgetter("order"))
    _, result, read = again(rule, known, now, Span(new.order, new.order))
    assert result.stopped is not None
    assert len(read) < 150


def test_a_fold_reads_on_while_the_alerts_are_others() -> None:
    """A fold does not end before the alerts are again those that were known, however many change."""
    minutes = range(0, 300, 5)
    known = [stored(found) for found in folded(COUNT, (hit(minute) for minute in minutes))]
    late = hit(2)
    now = sorted([*map(hit, minutes), late, *map(hit, (350, 351, 352, 400, 450))], key=attrgetter("order"))
    known += [stored(found) for found in folded(COUNT, map(hit, (350, 351, 352, 400, 450)))]
    earlier, result, read = again(COUNT, known, now, Span(late.order, late.order))
    assert [*map(shape, earlier), *map(shape, result.alerts)] == [
        shape(each) for each in folded(COUNT, now) if result.stopped is None or each.place < result.stopped
    ]
    assert len(read) > len(minutes)


def test_a_late_alert_in_a_long_group_reads_few_hits() -> None:
    """Where a late hit makes an alert, no other of the group depends on it once it is over for as long as hits count."""
    hits = [hit(minute, key=f"{minute:05}") for minute in range(0, 10_000, 7)]  # three in no window of ten minutes
    late = hit(20, key="late"), hit(22, key="later")
    now = sorted([*hits, *late], key=attrgetter("order"))
    _, result, read = again(COUNT, [], now, Span(late[0].order, late[1].order))
    assert [each.fired_at for each in result.alerts] == [each.fired_at for each in folded(COUNT, now)] == [at(21)]
    assert len(read) < 20


@in_one_test(
    ("name", "read_count"),
    [("count", 21), ("spike", 67), ("set", 49), ("sequence", 42), ("absence", 3), ("term", 3)],
)
def test_how_many_hits_a_late_one_reads(name: str, read_count: int) -> None:
    """A fold of a group without pauses begins with the first hit that matters, and ends with the first that no longer does."""
    rule = TYPES[name]
    hits = [hit(minute, minute % len(rule.steps), f"{minute:05}") for minute in range(1_000)]
    known = [stored(found) for found in folded(rule, hits)]
    late = hit(500.5, 0, "late")
    now = sorted([*hits, late], key=attrgetter("order"))
    assert len(again(rule, known, now, Span(late.order, late.order))[2]) == read_count


DENSE = [hit(minute) for minute in (8, 9, 10, 20, 25, 30, 60, 61, 62, *range(100, 1_000, 7))]


@in_one_test("is_added", [True, False])
def test_an_alert_matters_until_no_hit_that_it_took_is_in_a_window(is_added: bool) -> None:
    """An alert that is open to minute 20 has the hit of that minute, which a window of ten minutes holds until minute 30."""
    others = [each for each in DENSE if each.at >= at(20)]
    before, now = (others, DENSE) if is_added else (DENSE, others)
    known = [stored(found) for found in folded(COUNT, before)]
    earlier, result, read = again(COUNT, known, now, Span(DENSE[0].order, DENSE[2].order))
    assert not earlier
    whole = folded(COUNT, now)
    assert [each.fired_at for each in whole] == ([at(10), at(62)] if is_added else [at(30), at(62)])
    assert result.stopped is not None
    behind = [each for each in known if each.place >= result.stopped]
    assert [*map(shape, result.alerts), *map(shape, behind)] == [shape(each) for each in whole]
    assert len(read) < 12


def test_what_waits_elsewhere_does_not_keep_a_fold_reading() -> None:
    """A fold ends although some pattern always waits, if none of them began before what has changed."""
    patterns = Pattern((0,), (2,)), Pattern((1,), (3,))
    rule = make(CorrelationType.TEMPORAL_ORDERED, steps=4, patterns=patterns)
    hits = [hit(0, 0), hit(1, 1), *(hit(minute, (2, 0, 3, 1)[minute % 4]) for minute in range(2, 1_000))]
    late = hit(500.5, 2, "late")
    now = sorted([*hits, late], key=attrgetter("order"))
    assert len(again(rule, [], now, Span(late.order, late.order))[2]) < 60
    assert folded(rule, now)[:-1] == []


def test_an_old_alert_of_a_long_group_is_not_read_from_its_end() -> None:
    """A late hit reads one window before it, though the last alert before was over long ago."""
    hits = [hit(minute, key=f"{minute:05}") for minute in (1, 2, 3, *range(20, 1_000, 7))]
    known = [stored(found) for found in folded(COUNT, hits)]
    late = hit(900.5, key="late")
    now = sorted([*hits, late], key=attrgetter("order"))
    assert [each.fired_at for each in known] == [at(3)]
    assert len(again(COUNT, known, now, Span(late.order, late.order))[2]) <= 6


@in_one_test(
    ("name", "minutes", "late"),
    [
        ("count", [1, 2, 3, 20, 24], 22),  # the first hit after an alert counts with the late one
        ("count", [5, 10], 0),  # the last hit of the window of the late one
        ("sequence", [5], 12),  # what waited before the late one still waits
    ],
)
def test_a_late_hit_finds_what_the_hits_around_it_make(name: str, minutes: Sequence[int], late: int) -> None:
    """The hits before and after it that matter are folded, and those that waited fire."""
    hits = [hit(minute) for minute in minutes]
    known = [stored(found) for found in folded(TYPES[name], hits)]
    now = sorted([*hits, hit(late)], key=attrgetter("order"))
    earlier, result, _ = again(TYPES[name], known, now, Span(hit(late).order, hit(late).order))
    found = [*map(shape, earlier), *map(shape, result.alerts)]
    assert found == [shape(each) for each in folded(TYPES[name], now)]


@in_one_test("name", TYPES)
def test_what_is_only_due_reads_no_hit(name: str) -> None:
    """A group of which no hit has changed, as of an expected group that is new, is folded without hits."""
    rule = TYPES[name]
    assert begins_at(rule, None, AFTER_ALL) == (None if name in ("absence", "term") else NEVER)
    found = evaluate(rule, new_fold(rule, START), None, [], Span(AFTER_ALL, AFTER_ALL), ()).alerts
    assert [each.fired_at for each in found] == ([at(10)] if rule.is_absence else [])
