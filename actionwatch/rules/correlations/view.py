"""Show what a correlation made of a record: what its groups counted before it, and the resulting alert. For explanations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from operator import attrgetter

from msgspec import structs

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import CorrelatedAlert, Group, Hit, KeptRecord, Record, RecordRef
from actionwatch.rules.correlations.batch import Batch
from actionwatch.rules.correlations.context import Beginning, RuleContext, StreamBounds, contexts_of
from actionwatch.rules.correlations.evaluate import AFTER_ALL, BEFORE_ALL, Span, evaluate
from actionwatch.rules.correlations.feed import Feed, GroupedHits, grouping_attributes, in_order, keep_reference
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.folds.counting import MEASURES
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.memory_rows import MemoryRecords, MemoryRows
from actionwatch.rules.correlations.order import in_feeding_order, needs, running
from actionwatch.rules.correlations.relevance import RelevantGroups, involved_in
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import Correlation, CorrelationType, Rule

MOST_SHOWN = 10  # hits of a window: the newest
_SPANS = 2  # times what a rule needs: the second span completes the alert that holds the record

ReadStored = Callable[[Collection[int]], Mapping[int, Record]]
"""Returns those of the records that are stored, by id."""


@dataclass(frozen=True, slots=True)
class View:
    """One group that counts a record: the hits `counted` before it, its `own` hits, and the alert that holds them, if any."""

    group: Group
    counted: tuple[Hit, ...]
    own: tuple[Hit, ...]
    found: FoundAlert | None
    is_opened: bool


def lookback_of(rule: Correlation, rules: Sequence[Rule]) -> timedelta:
    """Return how far back the records for `views_of` must reach."""
    correlations = in_feeding_order([each.correlation for each in rules if each.correlation is not None])
    return (needs(correlations)[rule.name.id] + rule.realert) * _SPANS


def before(record: Record, records: Iterable[Record]) -> Iterator[Record]:
    """Return the records before one, of records in event order."""
    end = _place(record)
    return takewhile(lambda each: _place(each) < end, records)


def _place(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key


class Viewer:
    """Shows the groups of one rule that count some records. The records before them are read once.

    It runs only this rule and those that feed it, and keeps only hits in groups that can matter: memory does not grow with the
    hits of other groups.
    """

    def __init__(
        self, rule: Rule, rules: Sequence[Rule], records: Sequence[Record], read: ReadStored | None = None
    ) -> None:
        """`read`: reads the records of the hits that are shown, so that hits keep references (None: they keep the records)."""
        self._rule_id = rule.name.id
        self._read = read
        involved = involved_in(rule, rules)
        self.correlations = running(involved)
        """The rule and the correlations that feed it, without those that are off."""
        keep: Callable[[Record], KeptRecord] = keep_reference if read is not None else lambda record: record
        self._feed = Feed(involved, self.correlations, keep)
        self._relevant = RelevantGroups(rule.name.id, self.correlations, self._feed.hits(records))
        self._hits: GroupedHits = {}

    @property
    def has_groups(self) -> bool:
        """Whether any of the records can count in a group."""
        return bool(self._relevant)

    def needed_values(self) -> Mapping[str, set[str | None]]:
        """Return attributes of records, with the values in NFC of which each record that can matter has one.

        There are none for a rule that counts alerts, because records of other groups may make these.
        """
        if [each.name.id for each in self.correlations] != [self._rule_id]:
            return {}
        named = grouping_attributes(self.correlations[0])
        return {attribute: self._relevant.values_of(self._rule_id, name) for name, attribute in named.items()}

    def take_history(self, history: Iterable[Record]) -> None:
        """Take the records before the newest of those that are shown, in event order. What cannot matter may be left out."""
        self._hits = {
            number: {group: its for group, its in groups.items() if self._relevant.has_at(number, group)}
            for number, groups in self._feed.hits(history).items()
        }

    def views(
        self,
        record: Record,
        begin: Beginning,
        *,
        since: datetime | None = None,
        known: Collection[CorrelatedAlert] = (),
    ) -> list[View]:
        """Return the groups that count one of the records, after the records before it.

        If the records do not reach back to the beginning but only to `since`, `known` are the stored alerts from then on: which
        record a window begins with depends on the alert before it, which depends on the one before that, and so on.
        """
        contexts = self._contexts(begin, since)
        rows = MemoryRows(self.correlations, _ViewedRecords(self._read))
        for number, context in enumerate(contexts):
            rows.alerts.put(number, self._begun(context, known))
        own = self._feed.hits([record])
        batch = Batch(contexts, self._feed, FoldCache(), rows, VerifiedTime(record.occurred_at), ())
        batch.add(_up_to(record, self._hits, own))
        for number, rule in enumerate(self.correlations):
            batch.touch(number, {group: Span(AFTER_ALL, BEFORE_ALL) for group in rule.expected or ()})
        batch.run()
        return views_in(contexts, rows, self._rule_id, record, own)

    def views_in(self, rows: Rows, record: Record, begin: Beginning, since: datetime) -> list[View]:
        """Return the groups that count one of the records, from rows that have all hits since a time, and all alerts."""
        return views_in(self._contexts(begin, since), rows, self._rule_id, record, self._feed.hits([record]))

    def _contexts(self, begin: Beginning, since: datetime | None) -> list[RuleContext]:
        return list(contexts_of(self.correlations, StreamBounds(begin=begin, since=lambda _: since)))

    def _begun(self, context: RuleContext, known: Iterable[CorrelatedAlert]) -> Iterator[CorrelatedAlert]:
        """Yield copies of the alerts that groups of a rule may continue from: they fired before all hits are known."""
        for each in known:
            is_early = context.complete_from is not None and each.fired_at < context.complete_from
            if is_early and each.rule_id == context.rule.name.id and self._relevant.has(each.rule_id, each.group):
                yield replace(each)


class _ViewedRecords(MemoryRecords):
    """If hits hold references, `whole` reads the records."""

    def __init__(self, read: ReadStored | None) -> None:
        super().__init__()
        self._read = read

    def whole(self, kept: Sequence[KeptRecord]) -> Sequence[Record | None]:
        """Return records, in the same order; None for those that are no longer stored."""
        absent = {each.id for each in kept if isinstance(each, RecordRef)}
        read = self._read(absent) if absent and self._read is not None else {}
        return [each if isinstance(each, Record) else read.get(each.id) for each in kept]


def _up_to(record: Record, history: GroupedHits, own: GroupedHits) -> GroupedHits:
    """Return the hits before a record, and its own."""
    found: dict[int, dict[Group, list[Hit]]] = {}
    for number, groups in history.items():
        for group, hits in groups.items():
            if its := [hit for hit in hits if (hit.at, hit.key) < _place(record)]:
                found.setdefault(number, {})[group] = its
    for number, groups in own.items():
        for group, hits in groups.items():
            its = found.setdefault(number, {}).setdefault(group, [])
            its[:] = in_order([*its, *hits])
    return found


def views_in(
    contexts: Sequence[RuleContext], rows: Rows, rule_id: str, record: Record, hits: GroupedHits
) -> list[View]:
    """Return the groups of a rule that count a record. `rows` have the `hits` of the record, and all that was before it."""
    return [
        _view(context, rows, number, group, own)
        for number, (context, groups) in enumerate(zip(contexts, _own_hits(contexts, rows, record, hits), strict=True))
        if context.rule.name.id == rule_id
        for group, own in groups.items()
    ]


def views_of(
    rule: Rule, rules: Sequence[Rule], history: Iterable[Record], record: Record, begin: datetime | None
) -> list[View]:
    """Return the groups that count a record, after all records before it, which come in event order."""
    viewer = Viewer(rule, rules, [record])
    if not viewer.has_groups:
        return []
    viewer.take_history(history)
    return viewer.views(record, lambda *_: begin)


def measured(rule: Correlation, hits: Sequence[Hit]) -> object:
    """Return the value that the window of a `value_*` rule measures; 0 if it holds nothing."""
    if not hits:
        return 0
    measure = MEASURES[rule.type](rule)
    for hit in hits:
        measure.add(hit.value)
    value = measure.value()
    return value if isinstance(value, int) else round(float(value), 3)


def _own_hits(
    contexts: Sequence[RuleContext], rows: Rows, record: Record, hits: GroupedHits
) -> list[dict[Group, list[Hit]]]:
    """Return for each rule the hits of a record, and those of the alerts that it completes, in order, by group."""
    found: list[dict[Group, list[Hit]]] = [{} for _ in contexts]
    numbers = {context.rule.name.id: number for number, context in enumerate(contexts)}
    for number, its in hits.items():
        found[number] = {group: list(own) for group, own in its.items()}
    for number, groups in enumerate(found):  # inner rules first
        for group, own in groups.items():
            own.sort(key=attrgetter("order"))
            for known in rows.alerts.since(number, group, record.occurred_at):
                for above in known.above:
                    if above.rule_id not in numbers or above.at > record.occurred_at:
                        continue
                    outer = numbers[above.rule_id]
                    made = rows.hits.at(outer, above.group, (above.at, above.step, known.id))
                    if made is not None and any(each.key == record.key for each in made.records):
                        found[outer].setdefault(above.group, []).append(made)
    return found


def _view(context: RuleContext, rows: Rows, number: int, group: Group, own: Sequence[Hit]) -> View:
    rule, at = context.rule, own[-1].at
    start = ALWAYS if context.complete_from is None else context.complete_from - rule.reach
    earlier = list(takewhile(lambda hit: hit.order < own[0].order, rows.hits.since(number, group, start)))
    first = (earlier or own)[0].order if context.complete_from is None else (context.complete_from, -1, "")
    alerts = [each for each in rows.alerts.since(number, group, first[0]) if each.is_current and each.place < first]
    begun = max(alerts, key=attrgetter("place"), default=None)
    fold = evaluate(rule, context.new_fold(group), begun, earlier, Span(first, AFTER_ALL), ()).fold
    known = len(fold.found)
    last = fold.found[-1] if fold.found and not rule.is_absence else None
    if last is not None and at <= last.until:
        counted = tuple(last.hits)
    else:
        spent = {hit.key for hit in last.hits} if last is not None and rule.type is not CorrelationType.SPIKE else set()
        since = at - (rule.history if rule.type is CorrelationType.NEW_TERM else rule.timespan)
        counted = tuple(hit for hit in earlier if hit.at >= since and hit.key not in spent)
    for hit in own:
        fold.push(hit)
    found = _holding(fold.alerts(), own)
    is_opened = found is not None and not any(each is found for each in fold.found[:known])
    return View(group, _with_records(rows, counted), _with_records(rows, own), found, is_opened)


def _holding(alerts: Iterable[FoundAlert], own: Sequence[Hit]) -> FoundAlert | None:
    """Return the first alert that holds any of these hits or, for absence, that they end."""
    return next((found for found in alerts if any(hit in own for hit in (*found.hits, found.resolved_by))), None)


def _with_records(rows: Rows, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Return hits, of which the newest have their newest record whole. One record may be several hits."""
    keys = [*dict.fromkeys(hit.key for hit in reversed(hits))][:MOST_SHOWN]
    shown = [hit for hit in hits if hit.records and hit.key in keys]
    whole = zip(shown, rows.records.whole([hit.records[-1] for hit in shown]), strict=True)
    by_order = {hit.order: structs.replace(hit, records=(record,)) for hit, record in whole if record is not None}
    return tuple(by_order.get(hit.order, hit) for hit in hits)
