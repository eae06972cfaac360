"""The cache of folds: bounded, the least recently used go first, and nothing of it is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.fold_cache import CachedFold, FoldCache
from actionwatch.rules.correlations.folds import new_fold
from actionwatch.rules.model import Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, hit, loaded, make, record_at
from tests.unit.rules.correlation.live import ABOVE, ALL, BY, FEED, Service

RULE = make(threshold=Threshold("gte", 1_000))


def cached(count: int = 1) -> CachedFold:
    """Make a fold that has taken some hits; its size is their number and six."""
    fold = new_fold(RULE, START)
    for minute in range(count):
        fold.push(hit(minute / 100))
    return CachedFold(fold, hit((count - 1) / 100).order, {}, frozenset())


def left(cache: FoldCache, *names: str) -> list[str]:
    """Return which groups have a fold; all of them leave the cache."""
    return [name for name in names if cache.take_fold(0, (name,)) is not None]


def test_a_fold_is_taken_out_and_put_back() -> None:
    """Whoever takes a fold owns it: it is no longer in the cache until it is put back."""
    cache, fold = FoldCache(), cached()
    cache.put(0, ("a",), fold)
    assert cache.take_fold(1, ("a",)) is None
    assert cache.take_fold(0, ("b",)) is None
    assert cache.take_fold(0, ("a",)) is fold
    assert cache.take_fold(0, ("a",)) is None


def test_the_least_recently_used_leave_first() -> None:
    """What was put back is the newest; the sizes of all together stay within the limit."""
    cache = FoldCache(most=28)  # four folds of seven
    for name in "abcd":
        cache.put(0, (name,), cached())
    again = cache.take_fold(0, ("a",))
    assert again is not None
    cache.put(0, ("a",), again)
    cache.put(0, ("e",), cached())
    assert left(cache, *"abcde") == ["a", "c", "d", "e"]
    for name in "abcd":
        cache.put(0, (name,), cached())
    cache.put(0, ("large",), cached(15))  # as much as three of the others
    assert left(cache, *"abcd", "large") == ["d", "large"]


def test_room_that_is_free_is_used_again() -> None:
    """A fold that was taken out takes no room."""
    cache = FoldCache(most=28)
    for _ in range(10):
        for name in "abcd":
            taken = cache.take_fold(0, (name,)) or cached()
            cache.put(0, (name,), taken)
    assert left(cache, *"abcd") == [*"abcd"]


def test_a_fold_that_is_too_large_is_not_kept() -> None:
    """A fold beyond the limit takes the place of no other."""
    cache = FoldCache(most=28)
    cache.put(0, ("a",), cached())
    cache.put(0, ("large",), cached(100))
    assert left(cache, "a", "large") == ["a"]
    assert left(FoldCache(0), "a") == []
    cache.put(0, ("whole",), cached(22))  # as large as the limit
    assert left(cache, "whole") == ["whole"]


def test_a_fold_that_is_put_twice_takes_its_room_once() -> None:
    """The newer one takes the place of the older one."""
    cache = FoldCache(most=28)
    for name in "aaaabcd":
        cache.put(0, (name,), cached())
    assert left(cache, *"abcd") == [*"abcd"]


def test_a_window_has_a_small_part_of_the_cache() -> None:
    """No group that counts many hits takes the room of all others."""
    assert FoldCache(300).most_of_window == 5


def test_a_cleared_cache_is_empty_and_has_all_its_room() -> None:
    """After it was cleared, a cache holds as much as before."""
    cache = FoldCache(most=28)
    for name in "abcd":
        cache.put(0, (name,), cached())
    cache.clear()
    assert left(cache, *"abcd") == []
    for name in "abcd":
        cache.put(0, (name,), cached())
    assert left(cache, *"abcd") == [*"abcd"]


def test_alerts_take_room() -> None:
    """Folds with many alerts are larger than those without."""
    fold = cached(3)
    known = {name: CorrelatedAlert(name, "id", (), name, at(0), at(0), at(9)) for name in "ab"}
    assert (fold.size(), replace(fold, known=known).size()) == (9, 21)


@pytest.mark.parametrize("most", [0, 300])
def test_a_correlator_holds_no_more_than_its_cache(most: int) -> None:
    """However many groups and hits there are, what a correlator holds is bounded by the cache."""
    text = f"type: event_count, rules: a, {BY}: 1d, condition: {{gte: 1000}}"
    rules = loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("many", text))
    service = Service(rules, cached=most)
    for number in range(2_000):
        service.take([record_at(number / 10, user=f"u{number % 500}", key=f"{number:04}")], at(number / 10))
    cache = service.correlator._cache
    assert cache._size <= most
    assert len(cache._folds) <= most / 7


def test_no_group_is_forgotten() -> None:
    """A group that was used long ago, with many others since, still counts its hits."""
    text = f"type: event_count, rules: a, {BY}: 1d, condition: {{gte: 2}}"
    service = Service(loaded(FEED.format("a", "BACKUP") + "---\n" + ABOVE.format("many", text)), cached=100)
    for turn in (0, 600):
        service.take(
            [record_at(turn + n / 100, user=f"u{n}", key=f"{turn}{n:05}") for n in range(5_000)], at(turn + 50)
        )
    assert len(service.opened) == 5_000


def test_what_was_not_committed_is_forgotten() -> None:
    """After `forget`, a correlator continues from the rows alone: hits that only its folds have do not count."""
    service = Service(ALL)
    service.take([record_at(minute, key=f"{minute:02}") for minute in range(3)], at(2))
    lost = [record_at(3, key="03"), record_at(3.5, key="035")]
    before = len(service.opened)
    service.take(lost, at(4), is_interrupted=True)
    service.take(lost, at(4))
    service.take([record_at(4, key="04")], at(4) + MINUTE)
    again = Service(ALL, cached=0)
    again.take([record_at(minute, key=f"{minute:02}") for minute in range(3)], at(2))
    again.take(lost, at(4))
    again.take([record_at(4, key="04")], at(5))
    assert (service.opened, service.held) == (again.opened, again.held)
    assert len(service.opened) >= before
