"""Show what a correlation made of a record: what its groups counted before it, and the resulting alert. For explanations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile

from msgspec import structs

from actionwatch.base.model import CorrelatedAlert, Group, Hit, Record
from actionwatch.rules.correlations.changes import OuterHit
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.feed import Feed, grouping_attributes
from actionwatch.rules.correlations.folds.counting import MEASURES
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.kept_records import KeptRecords, ReadStored
from actionwatch.rules.correlations.live.relevance import RelevantGroups, involved_in
from actionwatch.rules.correlations.order import in_feeding_order, needs, running
from actionwatch.rules.model import Correlation, CorrelationType, Rule

MOST_SHOWN = 10  # hits of a window: the newest
_SPANS = 2  # times what a rule needs: the second span completes the alert that holds the record


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
        self._rules = involved_in(rule, rules)
        self._read = read
        self.correlations = running(self._rules)
        """The rule and the correlations that feed it, without those that are off."""
        self._feed = Feed(self._rules, self.correlations, KeptRecords(read))
        self._relevant = RelevantGroups(rule.name.id, self.correlations, self._feed.hits(records))
        self._hits: list[OuterHit] = []

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

    def take(self, history: Iterable[Record]) -> None:
        """Take the records before the newest of those that are shown, in event order. What cannot matter may be left out."""
        self._hits = [each for each in self._feed.hits(history) if self._relevant.has_at(*each[:2])]

    def views(
        self,
        record: Record,
        begin: datetime | None,
        *,
        since: datetime | None = None,
        known: Iterable[CorrelatedAlert] = (),
    ) -> list[View]:
        """Return the groups that count one of the records, after the records before it.

        If the records do not reach back to the beginning but only to `since`, `known` are the alerts from then on: which record
        a window begins with depends on the alert before it, which depends on the one before that, and so on.
        """
        correlator = Correlator(
            self._rules, StreamBounds(begin=lambda _: begin, since=lambda _: since), read=self._read
        )
        own = (replace(each, keys=set()) for each in known if self._relevant.has(each.rule_id, each.group))
        correlator.restore_hits(own, takewhile(lambda each: (each[2].at, each[2].key) < _place(record), self._hits))
        correlator.take([record])
        correlator.judge(record.occurred_at)
        return [self._shown(view) for view in views_in(correlator, self._rule_id, record)]

    def _shown(self, view: View) -> View:
        """Return a view that has the records that are shown."""
        return replace(view, counted=self._with_records(view.counted), own=self._with_records(view.own))

    def _with_records(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """Return hits, of which the newest have their newest record whole. One record may be several hits."""
        keys = [*dict.fromkeys(hit.key for hit in reversed(hits))][:MOST_SHOWN]
        shown = [hit for hit in hits if hit.records and hit.key in keys]
        whole = iter(KeptRecords(self._read).whole([hit.records[-1] for hit in shown]))
        by_order = {hit.order: structs.replace(hit, records=(*hit.records[:-1], next(whole))) for hit in shown}
        return tuple(by_order.get(hit.order, hit) for hit in hits)


def views_in(correlator: Correlator, rule_id: str, record: Record) -> list[View]:
    """Return the groups of a rule that count a record, which a correlator took after all before it."""
    rules = [each for each in correlator.rules if each.name.id == rule_id]
    return [_view(rule, *each) for rule in rules for each in correlator.hits_around(rule_id, record)]


def views_of(
    rule: Rule, rules: Sequence[Rule], history: Iterable[Record], record: Record, begin: datetime | None
) -> list[View]:
    """Return the groups that count a record, after all records before it, which come in event order."""
    viewer = Viewer(rule, rules, [record])
    if not viewer.has_groups:
        return []
    viewer.take(history)
    return viewer.views(record, begin)


def measured(rule: Correlation, hits: Sequence[Hit]) -> object:
    """Return the value that the window of a `value_*` rule measures; 0 if it holds nothing."""
    if not hits:
        return 0
    measure = MEASURES[rule.type](rule)
    for hit in hits:
        measure.add(hit)
    value = measure.value()
    return value if isinstance(value, int) else round(float(value), 3)


def _view(rule: Correlation, group: Group, state: Fold, earlier: Sequence[Hit], own: Sequence[Hit]) -> View:
    for hit in earlier:
        state.push(hit)
    known = len(state.found)
    at = own[-1].at
    last = state.found[-1] if state.found and not rule.is_absence else None
    if last is not None and at <= last.until:
        counted = tuple(last.hits)
    else:
        spent = {hit.key for hit in last.hits} if last is not None and rule.type is not CorrelationType.SPIKE else set()
        since = at - (rule.history if rule.type is CorrelationType.NEW_TERM else rule.timespan)
        counted = tuple(hit for hit in earlier if hit.at >= since and hit.key not in spent)
    for hit in own:
        state.push(hit)
    found = _holding(state.alerts(), own)
    is_opened = found is not None and not any(each is found for each in state.found[:known])
    return View(group, counted, tuple(own), found, is_opened)


def _holding(alerts: Iterable[FoundAlert], own: Sequence[Hit]) -> FoundAlert | None:
    """Return the first alert that holds any of these hits or, for absence, that they end."""
    return next((found for found in alerts if any(hit in own for hit in (*found.hits, found.resolved_by))), None)
