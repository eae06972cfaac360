"""A correlator with its rows, for the tests of what it makes of batches and of what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from actionwatch.base.model import AlertChange, Group, Hit, Record
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.fold_cache import MOST, FoldCache
from actionwatch.rules.correlations.memory_rows import MemoryHits, MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import Rule
from tests.unit.rules.correlation.kit import START, at, loaded, record_at
from tests.unit.rules.correlation.live import ABOVE, FEED

COUNTED = "group-by: [userName], timespan: 5m, condition: {gte: 2}"
TWO = loaded(
    "---\n".join(
        [
            FEED.format("a", "BACKUP"),
            FEED.format("b", "CREATE_CLUSTER"),
            ABOVE.format("backups", f"type: event_count, rules: a, {COUNTED}"),
            ABOVE.format("creates", f"type: event_count, rules: b, {COUNTED}"),
        ]
    )
)


class CountingHits(MemoryHits):
    """Hits that count how many are read."""

    read_count = 0

    def since(self, number: int, group: Group, at: datetime) -> Iterator[Hit]:
        for each in super().since(number, group, at):
            self.read_count += 1
            yield each


class Run:
    """A correlator, and what it was given."""

    def __init__(self, rules: Sequence[Rule] = TWO, bounds: StreamBounds | None = None, cached: int = MOST) -> None:
        self.cache = FoldCache(cached)
        self.correlator = Correlator(rules, bounds or StreamBounds(begin=lambda *_: START), cache=self.cache)
        self.rows = MemoryRows(self.correlator.rules)
        self.hits = self.rows.hits = CountingHits(self.correlator.rules)

    def take(self, *records: Record, verified: float | None = 10_000, later: Sequence[int] = ()) -> list[AlertChange]:
        """Take records, and report what becomes of alerts."""
        hits = self.correlator.hits(records)
        made = self.correlator.take_hits(
            self.rows, hits, VerifiedTime(None if verified is None else at(verified)), later
        )
        self.rows.records.hold(made)
        return made


def backups(*minutes: float) -> list[Record]:
    return [record_at(minute, key=f"{minute:07.1f}") for minute in minutes]


def keys(change: AlertChange) -> list[str]:
    return [record.key for record in change.records]
