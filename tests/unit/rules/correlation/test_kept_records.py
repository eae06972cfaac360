"""What a window keeps of records, what it reads when an alert needs them, and what a hit takes in memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

import pytest
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.kept_records import KeptRecords
from actionwatch.rules.correlations.live.saved import decode, encode

from actionwatch.base.clock import to_micros
from actionwatch.base.model import AlertChange, ChangeKind, Record
from tests.unit.rules.correlation.kit import MINUTE, START, at, loaded, record_at
from tests.unit.rules.correlation.live import ABOVE, FEED

COUNT = "type: event_count, rules: a, group-by: [userName], timespan: 5h, condition: {gte: 3}"
TITLED = "alert: {title: '{{ raw.who }} at {{ raw.place }}'}\n"
RAW_BYTES = 2000


class Store:
    """Records by id, and which of them were read."""

    def __init__(self, *records: Record) -> None:
        self.records = {record.id: record for record in records}
        self.asked: list[set[int]] = []

    def __call__(self, ids: Collection[int]) -> dict[int, Record]:
        """Return those that there are."""
        self.asked.append(set(ids))
        return {each: self.records[each] for each in ids if each in self.records}


def stored(number: int, **more: str) -> Record:
    """Make a stored record, in its minute."""
    raw = f'{{"who": "w{number}", "place": "p{number}"}}'
    return record_at(number, key=f"k{number:07}", id=number, **{"raw": raw, **more})  # type: ignore[arg-type]


def correlator_over(text: str, store: Store) -> Correlator:
    """Make the correlator of rules that count the matches of `a`, and have a store behind them."""
    rules = loaded(FEED.format("a", "BACKUP") + "---\n" + text)
    return Correlator(rules, StreamBounds(begin=lambda _: START), keep=5 * MINUTE, read=store)


def reported(changes: Iterable[AlertChange]) -> list[AlertChange]:
    """Return the changes that people learn of."""
    return [change for change in changes if change.kind is not None]


def test_an_alert_has_whole_records() -> None:
    """An alert that opens reads those of its records that are not in the newest batch, all at once, and none twice."""
    first, second, third, fourth = map(stored, range(1, 5))
    store = Store(first, second)
    correlator = correlator_over(ABOVE.format("b", COUNT) + TITLED, store)
    correlator.take([first, second])
    assert correlator.changes(at(2)) == []
    correlator.take([third])
    (opened,) = reported(correlator.changes(at(3)))
    assert (opened.kind, opened.records) == (ChangeKind.OPEN, (first, second, third))
    assert opened.match is not None
    assert opened.match.title == "w3 at p3"
    assert store.asked == [{1, 2}]
    correlator.take([fourth])
    (joined,) = reported(correlator.changes(at(4)))
    assert (joined.kind, joined.records) == (ChangeKind.JOIN, (fourth,))
    assert store.asked == [{1, 2}], "a record that has just come is not read"


def test_a_record_that_is_gone_means_a_rebuild() -> None:
    """An alert is not opened with fewer records than it counted."""
    correlator = correlator_over(ABOVE.format("b", COUNT), Store(stored(1)))
    correlator.take([stored(1), stored(2)])
    correlator.changes(at(2))
    correlator.take([stored(3)])
    with pytest.raises(DoesNotFit, match="the id 2, which is no longer in the store"):
        correlator.changes(at(3))


def test_an_inner_alert_reads_the_record_that_it_fired_with() -> None:
    """A rule over a rule groups by the newest record of the inner alert, which may have come long before."""
    inner = "type: temporal_ordered, rules: [a, b], group-by: [userName], timespan: 5m, condition: a and not b"
    outer = "type: value_count, rules: inner, timespan: 1h, condition: {gte: 1, field: raw.who}, generate: true"
    text = "---\n".join(
        [FEED.format("b", "CREATE_CLUSTER"), ABOVE.format("inner", inner), ABOVE.format("outer", outer)]
    )
    first, later = stored(1), stored(30)
    store = Store(first, later)
    correlator = correlator_over(text, store)
    correlator.take([first])
    correlator.changes(at(1))
    correlator.take([later])
    opened = reported(correlator.changes(at(30)))
    assert [change.records for change in opened] == [(first,), (first,)], "by the inner rule, and by the outer one"
    assert store.asked[0] == {1}


def test_without_a_store_the_records_are_kept() -> None:
    """A test of a rule and a backtest have no store to read from; a record that is not stored cannot be read."""
    for kept, record in ((KeptRecords(), stored(1)), (KeptRecords(Store()), stored(0))):
        kept.hold([record])
        assert kept.keep(record) is record
        assert kept.whole([record]) == [record]


def records_of(count: int) -> Iterator[Record]:
    """Yield records a tenth of a second apart, as the store returns them: no two share a text."""
    for number in range(1, count + 1):
        text = "x" * RAW_BYTES + str(number)
        key = f"{to_micros(at(number / 600)):016x}-{number:020x}"
        yield record_at(number / 600, key=key, id=number, raw=text, user=f"user {number % 7}", description=text)


@pytest.mark.parametrize(
    ("rules", "most"),
    [
        ([COUNT.replace("gte: 3", "gte: 100000")] * 5, 60),
        (["type: value_count, rules: a, timespan: 5h, condition: {gte: 100, field: userName}"] * 5, 60),
        (["type: temporal, rules: [a, b], timespan: 5h, condition: a and b"], 600),
    ],
    ids=["counts", "values", "sequence"],
)
def test_a_hit_takes_little_memory(rules: list[str], most: int) -> None:
    """A hit in an open window takes a fraction of its record, of which a window needs no text. Measured: 28, 14, 356 bytes."""
    count = 3000
    bodies = [ABOVE.format(f"rule{number}", text) for number, text in enumerate(rules)]
    correlator = correlator_over("---\n".join([FEED.format("b", "CREATE_CLUSTER"), *bodies]), Store())
    correlator.take(records_of(10))
    gc.collect()
    tracemalloc.start()
    try:
        batch = list(records_of(count))
        correlator.take(batch)
        correlator.changes(at(count / 600))
        del batch
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert correlator.count_hits() == count * len(rules)
    assert held / correlator.count_hits() < most


@pytest.mark.parametrize("number_of_rules", [1, 8])
def test_a_saved_hit_takes_few_bytes(number_of_rules: int) -> None:
    """The hits of stored records are saved as they are packed, without an object for each."""
    bodies = [ABOVE.format(f"rule{n}", COUNT.replace("gte: 3", "gte: 9999")) for n in range(number_of_rules)]
    correlator = correlator_over("---\n".join(bodies), Store())
    correlator.take(records_of(500))
    correlator.changes(START + timedelta(minutes=1))
    body = b"".join(encode(correlator.save()))
    groups = [group for rule in decode(body).rules for group in rule.groups]
    assert {(len(group.records), len(group.numbered)) for group in groups} == {(0, 0)}
    assert sum(len(hits) for group in groups for hits in (group.hits, *group.base.windows)) == 500 * number_of_rules
    assert len(body) < 28 * 500 * number_of_rules
