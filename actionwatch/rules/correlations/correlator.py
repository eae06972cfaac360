"""Correlate: hits of records become alerts.

A hit is a row, and so is an alert: everything that is known of a group is read from there. Nothing depends on the order in
which records arrive, or on how they are divided into batches. Pure: `Rows` remembers, and the caller reports the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice

from actionwatch.base.model import AlertChange, ChangeKind, Group, KeptRecord, Record
from actionwatch.rules.correlations.batch import Batch
from actionwatch.rules.correlations.changes import FoundChange
from actionwatch.rules.correlations.context import StreamBounds, contexts_of
from actionwatch.rules.correlations.description import describe
from actionwatch.rules.correlations.evaluate import AFTER_ALL, BEFORE_ALL, Span
from actionwatch.rules.correlations.feed import Feed, GroupedHits
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.order import running
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.correlations.sources import Verified
from actionwatch.rules.engine import Failures, RuleFailure
from actionwatch.rules.model import Correlation, Rule


class Correlator:
    """The correlations that run: a rule is known by its number in `rules`."""

    def __init__(
        self,
        rules: Sequence[Rule],
        bounds: StreamBounds,
        keep: Callable[[Record], KeptRecord] = lambda record: record,
        cache: FoldCache | None = None,
    ) -> None:
        """`keep`: what hits keep of a record."""
        self.rules = running(rules)
        self.contexts = list(contexts_of(self.rules, bounds))
        self.too_early: dict[int, datetime] = {}
        """By the number of a rule, the time of the oldest hit of the last batch for which it must read older records."""
        self._all_rules = rules
        self._keep = keep
        self._feed = Feed(rules, self.rules, keep)
        self._cache = cache if cache is not None else FoldCache()
        self._failures = Failures()

    def hits(self, records: Iterable[Record]) -> GroupedHits:
        """Return the hits of records."""
        return self._feed.hits(records)

    def feed_of(self, numbers: Collection[int]) -> Feed:
        """Return what makes hits for some of the rules only."""
        return Feed(self._all_rules, self.rules, self._keep, numbers)

    def take_hits(
        self, rows: Rows, hits: GroupedHits, verified: Verified, later: Collection[int] = ()
    ) -> list[AlertChange]:
        """Add hits, and return what becomes of alerts as of verified times.

        `later` are the rules that are not evaluated yet: where they were touched is remembered.
        """
        batch = self._batch(rows, verified, later)
        batch.add(hits)
        batch.look_at_due()
        return self._changes(batch, rows)

    def take_again(
        self,
        rows: Rows,
        number: int,
        spans: Mapping[Group, Span],
        verified: Verified,
        later: Collection[int] = (),
    ) -> list[AlertChange]:
        """Evaluate groups of one rule that were touched before, and return what becomes of alerts."""
        batch = self._batch(rows, verified, later)
        batch.touch(number, spans)
        return self._changes(batch, rows)

    def begin(self) -> dict[int, dict[Group, Span]]:
        """Return, by the number of a rule, which groups it expects: a new rule evaluates them although they have no hit."""
        return {
            number: {group: Span(AFTER_ALL, BEFORE_ALL) for group in rule.expected}
            for number, rule in enumerate(self.rules)
            if rule.expected
        }

    def forget(self) -> None:
        """Forget what is cached: what it was cached for was not committed, or another process has continued."""
        self._cache.clear()

    def take_failures(self) -> list[RuleFailure]:
        """Return what went wrong with rules since the last call."""
        return [*self._feed.take_failures(), *self._failures.take_all()]

    def _batch(self, rows: Rows, verified: Verified, later: Collection[int]) -> Batch:
        return Batch(self.contexts, self._cache, rows, verified, later)

    def _changes(self, batch: Batch, rows: Rows) -> list[AlertChange]:
        found = list(_without_held(batch.run(), rows))
        self.too_early = batch.too_early
        return self._described(found, rows)

    def _described(self, changes: Sequence[tuple[Correlation, FoundChange]], rows: Rows) -> list[AlertChange]:
        """Return changes with their records and texts. The records of all are read at once."""
        needed = [made.described_by for _, made in changes]
        records = iter(rows.records.whole(list(chain.from_iterable(needed))))
        described = []
        for (rule, made), kept in zip(changes, needed, strict=True):
            its = [record for record in islice(records, len(kept)) if record is not None]
            described.append(describe(rule, made, its, self._failures.add))
        return described


def _without_held(
    changes: Sequence[tuple[Correlation, FoundChange]], rows: Rows
) -> Iterable[tuple[Correlation, FoundChange]]:
    """Leave out the records that an alert holds already: each counts once in it."""
    keys = {record.key for _, made in changes for record in made.records}
    held = rows.records.held(keys) if keys else set()
    for rule, made in changes:
        alert_id = made.change.known.alert_id
        new = tuple(record for record in made.records if (alert_id, record.key) not in held)
        held.update((alert_id, record.key) for record in new)
        if new or made.change.kind is not ChangeKind.JOIN or rule.is_absence:
            yield rule, made._replace(records=new)
