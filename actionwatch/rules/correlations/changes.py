"""Compare what folds find with what people know: which alerts open, are joined, or resolve. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from actionwatch.base.model import AlertChange, ChangeKind, CorrelatedAlert, Group, KeptRecord
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.sharing import Sharing
from actionwatch.rules.model import NEVER, Correlation


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a fold in one group: its judged alerts, in order, and the known ones that `turned`.

    `known` are its alerts, by id. `last_at` is the time of its newest hit, where an absence is no longer found.
    """

    rule: Correlation
    group: Group
    known: dict[str, CorrelatedAlert]
    last_at: datetime | None
    judged: Sequence[FoundAlert]
    turned: Sequence[CorrelatedAlert]


class FoundChange(NamedTuple):
    """A change of a known alert, as it is without its records and texts, and the alert that the fold found, if it still does.

    `records` are those that the alert may not have held before, in event order.
    """

    change: AlertChange
    found: FoundAlert | None
    records: tuple[KeptRecord, ...]

    @property
    def described_by(self) -> tuple[KeptRecord, ...]:
        """The records that the texts are made from: the new ones or, for an absence, the newest before it, if there is one."""
        if self.found is None or self.found.last_seen is None or self.change.kind is ChangeKind.RESOLVE:
            return self.records
        return (self.found.last_seen,)


def compare(
    evaluations: Sequence[Evaluation], may_open: Callable[[FoundAlert, Group], bool], shared: Sharing | None = None
) -> Iterator[FoundChange]:
    """Compare what the folds find with what people know. The alerts that `turned` are no longer found, or are found again.

    There is one evaluation or, with `shared`, one for each of the groups that share an alert.
    """
    orphans = [
        (evaluation, known)
        for evaluation in evaluations
        for known in evaluation.turned
        if known.is_reported and not known.is_current
    ]
    for evaluation in evaluations:
        for known in evaluation.turned:
            if known.is_current:
                _take_back(known, orphans)
    ended: list[CorrelatedAlert] = []
    for evaluation, found in _in_order(evaluations, shared):
        known = evaluation.known[found.id]
        if not known.is_noted:
            yield from _note(evaluation, found, known, orphans, shared)
        yield from _report(evaluation.rule, known, found, may_open, shared, ended)
    if shared is not None:
        yield from _resolve_shared(ended, shared)
    for evaluation, known in orphans:
        if known.is_open:
            known.is_open, known.resolved_at = False, evaluation.last_at
            known.until = max(known.first_at, evaluation.last_at or known.first_at)
            if shared is None or not shared.is_open(known.alert_id):
                yield _change(ChangeKind.RESOLVE, evaluation.rule, known, None, (), known.resolved_at)


def _in_order(evaluations: Sequence[Evaluation], shared: Sharing | None) -> Iterator[tuple[Evaluation, FoundAlert]]:
    """Return the alerts in the order in which they are reported: a leading one before those that share it."""
    pairs = [(evaluation, found) for evaluation in evaluations for found in evaluation.judged]
    if shared is None:
        return iter(pairs)
    return (pair for pair in sorted(pairs, key=lambda pair: pair[1].firing_order) if not shared.is_held(pair[1]))


def _note(
    evaluation: Evaluation,
    found: FoundAlert,
    known: CorrelatedAlert,
    orphans: list[tuple[Evaluation, CorrelatedAlert]],
    shared: Sharing | None,
) -> Iterator[FoundChange]:
    """Note an alert that is judged for the first time. It replaces one that is no longer found where the two overlap."""
    replaced = _replaced(evaluation, found, orphans)
    if replaced is not None:
        orphans.remove(replaced)
        known.report_as(replaced[1].alert_id)
        _hand_over(replaced[1], known)
    other = shared.shared_with(known) if shared is not None else None
    if other is not None and _share(known, other, evaluation.rule) and evaluation.rule.is_absence:
        yield _change(ChangeKind.JOIN, evaluation.rule, known, found)
    known.is_noted = True


def _replaced(
    evaluation: Evaluation, found: FoundAlert, orphans: Sequence[tuple[Evaluation, CorrelatedAlert]]
) -> tuple[Evaluation, CorrelatedAlert] | None:
    """Return the alert that `found` replaces: of its group, or of another group whose new alerts do not replace it."""

    def replaces(pair: tuple[Evaluation, CorrelatedAlert]) -> bool:
        owner, orphan = pair
        if not _overlap(orphan, found):
            return False
        own = (each for each in owner.judged if not owner.known[each.id].is_noted)
        return owner is evaluation or not any(_overlap(orphan, each) for each in own)

    return min(filter(replaces, orphans), key=lambda pair: pair[0] is not evaluation, default=None)


def _take_back(known: CorrelatedAlert, orphans: list[tuple[Evaluation, CorrelatedAlert]]) -> None:
    """Let an alert that is found again replace the one that was reported instead of it."""
    substitute = next((pair for pair in orphans if pair[1].alert_id == known.alert_id), None)
    if substitute is not None:
        orphans.remove(substitute)
        _hand_over(substitute[1], known)


def _hand_over(before: CorrelatedAlert, known: CorrelatedAlert) -> None:
    """Let one alert take over what people know of another."""
    known.is_reported, known.is_open, known.resolved_at = True, before.is_open, before.resolved_at
    before.is_open = False
    if before.until == NEVER:  # it lasts; retention deletes the row that is no longer found
        known.until, before.until = NEVER, max(before.first_at, known.first_at)


def _share(known: CorrelatedAlert, other: CorrelatedAlert, rule: Correlation) -> bool:
    """Report an alert as another one, unless people know it already. Return whether it joins what they know."""
    if known.is_reported:
        return False
    known.report_as(other.alert_id)
    known.is_reported = other.is_reported
    known.is_open = known.is_reported and rule.is_absence
    return known.is_reported


def _report(
    rule: Correlation,
    known: CorrelatedAlert,
    found: FoundAlert,
    may_open: Callable[[FoundAlert, Group], bool],
    shared: Sharing | None,
    ended: list[CorrelatedAlert],
) -> Iterator[FoundChange]:
    """Report what is new about an alert. Those of groups that share an alert do not resolve: they are added to `ended`."""
    if not known.is_reported and may_open(found, known.group):
        known.is_reported, known.is_open = True, rule.is_absence
        yield _change(ChangeKind.OPEN, rule, known, found, _records_of(found))
    elif known.is_reported and (records := _records_of(found)):
        yield _change(ChangeKind.JOIN, rule, known, found, records)
    end, was_open = found.resolved_at, known.is_open
    if end is None or (shared is not None and not shared.is_verified(end)):
        return
    known.is_open = False
    known.resolved_at = known.until = end  # of one that was over, a late record changes the end
    if was_open and shared is None:
        yield _change(ChangeKind.RESOLVE, rule, known, found, (), end)
    elif was_open:
        ended.append(known)


def _resolve_shared(ended: Iterable[CorrelatedAlert], shared: Sharing) -> Iterator[FoundChange]:
    """Resolve the shared alerts in which nothing is missing any longer, with each alert that people know once."""
    resolved: set[str] = set()
    for known in ended:
        if known.id in resolved or (end := shared.end_of(known)) is None:
            continue
        at, together = end
        resolved.update(each.id for each in together)
        for each in together:
            if each.is_noted:
                yield FoundChange(AlertChange(ChangeKind.RESOLVE, each, at, is_absence=True), None, ())


def _change(
    kind: ChangeKind,
    rule: Correlation,
    known: CorrelatedAlert,
    found: FoundAlert | None,
    records: tuple[KeptRecord, ...] = (),
    at: datetime | None = None,
) -> FoundChange:
    return FoundChange(AlertChange(kind, known, at or known.first_at, rule.is_absence), found, records)


def _records_of(found: FoundAlert) -> tuple[KeptRecord, ...]:
    """Return the records of an alert's hits, each once, in event order."""
    records = {record.key: record for hit in found.hits for record in hit.records}
    return tuple(sorted(records.values(), key=lambda record: (record.occurred_at, record.key)))


def _overlap(known: CorrelatedAlert, found: FoundAlert) -> bool:
    return found.first_at <= known.until and known.first_at <= found.until
