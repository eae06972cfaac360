"""A window of hits is a list of which the oldest leave, however many leave at once, and however many are packed."""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.folds.saved import HitReader, HitWriter, SavedFold, SavedHit, SavedRecord
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Hit, RecordRef
from actionwatch.instaclustr.identity import organisation_hash, record_key, twin_key
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.model import Correlation, CorrelationType, Pattern, Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, make, objects_held, record_at

STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.booleans()), max_size=60)
PACKED = "actionwatch.rules.correlations.folds.hit_list._PACKED"
FEW = "actionwatch.rules.correlations.folds.hit_list._FEW"


def stored_hit(minute: int, number: int, *, step: int = 0, value: Any = None, is_backlog: bool = False) -> Hit:
    """Make the hit of a stored record."""
    moment = at(minute)
    key = record_key(to_micros(moment), str(number).encode(), organisation_hash("o"))
    return Hit(moment, step, key, (RecordRef(key, number + 1, moment, is_backlog),), value)


def other_hit(minute: int, number: int) -> Hit:
    """Make a hit that cannot be packed: of no record, of two, of a whole one, of a twin, or at another time than its record."""
    usual = stored_hit(minute, number)
    (record,) = usual.records
    twin = twin_key(usual.key, 1)
    return (
        Hit(usual.at, 0, str(number), ()),
        Hit(usual.at, 0, usual.key, (record, record)),
        Hit(usual.at, 1, usual.key, (record_at(minute, key=usual.key, id=number + 1),)),
        Hit(usual.at, 0, twin, (RecordRef(twin, number + 1, usual.at, False),)),
        Hit(usual.at + MINUTE / 2, 0, usual.key, (record,)),
        Hit(usual.at, 0, usual.key[:-1] + "G", (RecordRef(usual.key[:-1] + "G", 1, usual.at, False),)),
    )[number % 6]


@given(STEPS, st.integers(1, 3), st.sampled_from([2, 3, 1000]))
def test_a_window_has_the_hits_since_a_time(steps: list[tuple[int, int, bool]], packed: int, usual: int) -> None:
    """It returns what leaves, and has the others in order, from both ends, also after it was cleared or copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PACKED, packed)
        window, plain, now = HitList(), deque[Hit](), 0
        for number, (pause, span, is_cleared) in enumerate(steps):
            now += pause
            left = []
            while plain and plain[0].at < at(now - span):
                left.append(plain.popleft())
            before = window
            window = window.copy()
            assert list(window.drop_before(at(now - span))) == left
            assert list(before) == [*left, *plain]
            if is_cleared and number % 7 == 0:
                window.clear()
                plain.clear()
            is_usual = number % usual
            hit = stored_hit(now, number, step=span, is_backlog=is_cleared) if is_usual else other_hit(now, number)
            window.append(hit)
            plain.append(hit)
            assert list(window) == list(plain)
            assert list(reversed(window)) == list(reversed(plain))
            assert (len(window), window.first) == (len(plain), plain[0])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.integers(0, 2), st.sampled_from(["keep", "remove", "replace", "take", "pack"])
        ),
        max_size=80,
    ),
    st.integers(1, 3),
    st.sampled_from([2, 1000]),
)
def test_hits_in_the_middle(steps: list[tuple[int, int, str]], packed: int, usual: int) -> None:
    """Hits are found by their order, inserted, replaced and removed anywhere, whether they are packed or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PACKED, packed)
        patch.setattr(FEW, packed)
        hits, plain = HitList(), list[Hit]()
        for number, (minute, step, what) in enumerate(steps):
            is_usual, is_backlog = number % usual, minute % 3 != 0
            hit = (
                stored_hit(minute, number, step=step, is_backlog=is_backlog) if is_usual else other_hit(minute, number)
            )
            place = bisect.bisect_left(plain, hit.order, key=lambda each: each.order)
            assert hits.place_of(hit.order) == place
            assert hits.count_before(hit.at) == bisect.bisect_left(plain, hit.at, key=lambda each: each.at)
            if what == "keep":
                hits.insert(place, hit)
                plain.insert(place, hit)
            elif what == "take":
                assert list(hits.take_first(step)) == plain[:step]
                del plain[:step]
            elif what == "pack":
                hits.pack_all()
            elif place < len(plain) and what == "remove":
                del hits[place]
                del plain[place]
            elif place < len(plain):
                same = structs.replace(plain[place], value=number)
                hits[place] = plain[place] = same
            assert (len(hits), list(hits)) == (len(plain), plain)
            assert list(hits.since(place)) == plain[place:]
            for floor in (-1, number // 2):
                assert hits.may_alert(floor) == any(each.may_alert(floor) for each in plain)
            first = hits.copy_first(place)
            first.append(hit)
            assert first == HitList([*plain[:place], hit])
            if plain:
                assert (hits.first, hits.newest, hits[-1], hits[len(plain) // 2]) == (
                    plain[0], plain[-1], plain[-1], plain[len(plain) // 2]
                )  # fmt: skip


TYPES = [
    make(threshold=Threshold("gte", 4)),
    make(CorrelationType.VALUE_COUNT, threshold=Threshold("gte", 3)),
    make(CorrelationType.VALUE_SUM, threshold=Threshold("gte", 9)),
    make(CorrelationType.SPIKE, windows=2, factor=2, minimum=3, realert=20 * MINUTE),
    make(CorrelationType.TEMPORAL, steps=2, patterns=(Pattern((0, 1)),)),
]


@given(
    st.sampled_from(TYPES),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=60),
    st.integers(0, 60),
    st.sampled_from([2, 3, 1000]),
)
def test_packing_changes_no_alert(rule: Correlation, steps: list[tuple[int, int]], cut: int, usual: int) -> None:
    """A fold finds the same alerts with the same hits, whether its window is packed or not, also if it is saved and loaded."""
    minutes = itertools.accumulate(pause for pause, _ in steps)
    hits = [
        stored_hit(minute, number, value=value, step=value % len(rule.steps))
        if number % usual
        else structs.replace(other_hit(minute, 602 + 6 * number), value=value)
        for number, (minute, (_, value)) in enumerate(zip(minutes, steps, strict=True))
    ]
    plain = new_fold(rule, START)
    for hit in hits:
        plain.push(hit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PACKED, 1)
        packed = new_fold(rule, START)
        for hit in hits[:cut]:
            packed.push(hit)
        packed = loaded(packed.copy(), rule)
        for hit in hits[cut:]:
            packed.push(hit)
    assert list(map(shape, packed.alerts())) == list(map(shape, plain.alerts()))


def shape(found: FoundAlert) -> tuple[FoundAlert, object]:
    """Return a found alert with the ids of its records: saved hits hold references instead of whole records."""
    hits = [(hit.order, hit.value, [record.id for record in hit.records]) for hit in found.hits]
    return replace(found, hits=HitList(), firing=None), hits


def loaded(state: Fold, rule: Correlation) -> Fold:
    """Return a fold that was saved as bytes and loaded."""
    writer, again = HitWriter(), new_fold(rule, START)
    body = msgspec.msgpack.encode((state.save(writer), writer.hits, writer.records))
    fold, hits, records = msgspec.msgpack.decode(body, type=tuple[SavedFold, list[SavedHit], list[SavedRecord]])
    again.load(fold, HitReader(hits, records))
    return again


def test_hits_of_stored_records_are_packed() -> None:
    """Of many hits of stored records, all but the newest are packed, and two lists of them share what is packed."""
    hits = [stored_hit(number, number, value="x") for number in range(1000)]
    live, base = HitList(hits), HitList(hits[:900])
    held = objects_held([live, base])
    assert held["PackedHits"] == held["bytes"] == 19  # of them 7 of 128 hits
    assert held["Hit"] < 2 * 32


def test_hits_that_left_are_gone_for_good() -> None:
    """Once all others are removed, no hit that left is the newest one, or in a place."""
    hits = HitList(stored_hit(number, number) for number in range(80))
    hits.take_first(9)
    with pytest.raises(IndexError):
        hits[-72]
    for _ in range(71):
        del hits[0]
    assert (len(hits), hits.newest, list(hits)) == (0, None, [])


def test_hits_of_no_store_are_not_packed() -> None:
    """A backtest has whole records, which a pack would only hold in another way."""
    hits = HitList(other_hit(number, 2 + 6 * number) for number in range(300))
    held = objects_held(hits)
    assert (held["PackedHits"], held["Hit"]) == (0, 300)


def test_hits_that_left_are_let_go() -> None:
    """At most one in eight of the hits that a window refers to has left it."""
    window = HitList()
    for number in range(1000):
        window.append(Hit(at(number), 0, str(number), ()))
        window.drop_before(at(number - 100))
        assert objects_held(window)["Hit"] <= len(window) * 8 / 7
    assert len(window) == 101
    window.drop_before(at(999))
    assert objects_held(window)["Hit"] == 1
