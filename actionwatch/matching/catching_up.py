"""Feed rules that are new or have changed with older records, then evaluate their groups: in portions, beside normal work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import chain

from sqlalchemy import Connection

from actionwatch.base.model import AlertChange, Group, Hit
from actionwatch.matching.portion_size import PortionSize
from actionwatch.matching.rule_feeding import RuleFeeding
from actionwatch.matching.stored_rows import StoredRows, span_of
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import Feed
from actionwatch.rules.correlations.folding import too_early
from actionwatch.rules.correlations.sources import Verified
from actionwatch.store import hits, records

FED_AT_ONCE = 2000  # records that rules are fed in one transaction, at most
JUDGED_AT_ONCE = 250  # groups, as many as one statement takes, at most: all their hits are in memory
_LEAST_FED = 100
_FIRST_JUDGED = 10
_SECONDS = 0.05  # for one transaction
DELETED_AT_ONCE = 5000  # hits


class CatchUp:
    """The rest that rules need, in portions: older records, the evaluation of groups, the deletion of old hits."""

    def __init__(self, correlator: Correlator, feeding: RuleFeeding, elapsed: Callable[[], float]) -> None:
        self._correlator = correlator
        self._feeding = feeding
        self._feeds: dict[frozenset[int], Feed] = {}
        self._fed = PortionSize(FED_AT_ONCE, _SECONDS, elapsed, first=_LEAST_FED, least=_LEAST_FED)
        self._judged = PortionSize(JUDGED_AT_ONCE, _SECONDS, elapsed, first=_FIRST_JUDGED)
        self._has_garbage = True  # hits of rules that were fed again, or do not run

    def is_due(self, *, can_judge: bool) -> bool:
        """Return whether there is anything to do now; `can_judge`: whether groups may be evaluated."""
        return self._has_garbage or bool(self._feeding.feeding) or (can_judge and bool(self._feeding.judging))

    def run(
        self, connection: Connection, rows: StoredRows, position: int, verified: Verified, *, can_judge: bool
    ) -> list[AlertChange]:
        """Do a part of it. Return what becomes of alerts."""
        if self._feeding.feeding:
            with self._fed.measured(self._fed.count):
                self._feed(connection, rows, position)
        elif can_judge and (number := self._feeding.to_judge()) is not None:
            with self._judged.measured(self._judged.count):
                return self._judge(connection, rows, number, verified)
        elif self._has_garbage:
            self._has_garbage = hits.delete_others(connection, self._feeding.numbers, DELETED_AT_ONCE) > 0
        return []

    def _feed(self, connection: Connection, rows: StoredRows, position: int) -> None:
        """Feed the next records to the rules that are furthest behind."""
        places, after, others = self._feeding.to_feed()
        portion = records.read_unmatched(connection, after, self._fed.count)
        through = min(portion.through, position, others if others is not None else position)
        batch = [record for record in portion.records if record.id <= through]
        key = frozenset(places)
        if key not in self._feeds:
            self._feeds[key] = self._correlator.feed_of(key)
        found, early = dict[int, dict[Group, list[Hit]]](), dict[int, datetime]()
        for number, groups in self._feeds[key].hits(batch).items():
            since = self._feeding.versions[number].fed_from
            at = too_early(self._correlator.contexts[number], chain.from_iterable(groups.values()))
            early |= {} if at is None else {number: at}
            kept = {group: [hit for hit in its if since is None or hit.at >= since] for group, its in groups.items()}
            found[number] = {group: its for group, its in kept.items() if its}
        rows.hits.add(found)
        for number, its in found.items():
            rows.hits.postpone(number, {group: Span(some[0].order, some[-1].order) for group, some in its.items()})
        is_done = through >= position or portion.through == after
        self._feeding.note_fed(connection, places, None if is_done else through, len(batch))
        self._feeding.note_too_early(connection, early)

    def _judge(self, connection: Connection, rows: StoredRows, number: int, verified: Verified) -> list[AlertChange]:
        """Evaluate some of the groups of a rule that were touched."""
        place = self._feeding.numbers[number]
        touched = hits.read_touched(connection, place, self._judged.count)
        if len(touched) < self._judged.count:
            self._feeding.judging.discard(number)
        hits.forget_touched(connection, place, [row.group_id for row in touched])
        spans = {row.group_values: span_of(row.first_at, row.last_at) for row in touched}
        later = self._feeding.later() - {number}
        changes = self._correlator.take_again(rows, number, spans, verified, later)
        self._feeding.note_too_early(connection, self._correlator.too_early)
        return changes
